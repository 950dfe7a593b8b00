/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cleanup.h"
#include "gpu.h"
#include "proc.h"

/* NVIDIA's driver registers no class, so sysfs has no nodes of it, and user space makes them. */
#define MAJOR_CARDS 195
#define MINOR_MODESET 254
#define MINOR_CONTROL 255
#define GPUS "driver/nvidia/gpus"
#define MINOR_LABEL "Device Minor:"
#define CARDS_MAX 256

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static void set_node(const struct device_roots *roots, const char *name, uint32_t major,
	uint32_t minor, struct gpu_node *ret)
{
	struct stat st;

	*ret = (struct gpu_node){.major = major, .minor = minor};
	if (fstatat(roots->dev, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) &&
		st.st_rdev == makedev(major, minor))
		snprintf(ret->path, sizeof(ret->path), "/dev/%s", name);
}

/* "Device Minor: \t 0" */
static int card_minor(const struct device_roots *roots, const char *address, uint32_t *ret)
{
	char path[320], text[4096];
	const char *at;

	snprintf(path, sizeof(path), GPUS "/%s/information", address);
	if (proc_read(roots->proc, path, text, sizeof(text)) < 0)
		return -ENOENT;
	at = strstr(text, MINOR_LABEL);
	return at && sscanf(at + strlen(MINOR_LABEL), "%u", ret) == 1 && *ret < MINOR_MODESET
		       ? 0
		       : -ENOENT;
}

int nvidia_cards(const struct device_roots *roots, struct nvidia_card **ret, unsigned *ret_n)
{
	int fd = openat(roots->proc, GPUS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	__attribute__((cleanup(closedirp))) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	_cleanup_free_ struct nvidia_card *cards = NULL;
	const struct dirent *entry;
	unsigned n = 0;

	*ret = NULL;
	*ret_n = 0;
	if (!dir) {
		close_fd(&fd);
		return 0;
	}
	while ((entry = readdir(dir)) && n < CARDS_MAX) {
		struct nvidia_card card = {0}, *grown;

		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= sizeof(card.address) ||
			card_minor(roots, entry->d_name, &card.minor) < 0)
			continue;
		strcpy(card.address, entry->d_name);
		grown = realloc(cards, (n + 1) * sizeof(*cards));
		if (!grown)
			return -ENOMEM;
		cards = grown;
		cards[n++] = card;
	}
	*ret = TAKE_PTR(cards);
	*ret_n = n;
	return 0;
}

void nvidia_node(
	const struct device_roots *roots, const struct nvidia_card *card, struct gpu_node *ret)
{
	char name[32];

	snprintf(name, sizeof(name), "nvidia%u", card->minor);
	set_node(roots, name, MAJOR_CARDS, card->minor, ret);
}

static bool major_of(const struct device_roots *roots, const char *driver, uint32_t *ret)
{
	return device_major_read(roots, DEVICE_CHAR, driver, strlen(driver), ret) == 0;
}

/* Until 470 or so the cards' major was registered by another name. */
static bool is_here(const struct device_roots *roots)
{
	uint32_t major;

	return (major_of(roots, "nvidia", &major) && major == MAJOR_CARDS) ||
	       (major_of(roots, "nvidia-frontend", &major) && major == MAJOR_CARDS);
}

unsigned nvidia_shared(const struct device_roots *roots, struct gpu_node ret[NVIDIA_SHARED_MAX])
{
	unsigned n = 0;
	uint32_t major;

	if (!is_here(roots))
		return 0;
	set_node(roots, "nvidia-modeset", MAJOR_CARDS, MINOR_MODESET, &ret[n++]);
	set_node(roots, "nvidiactl", MAJOR_CARDS, MINOR_CONTROL, &ret[n++]);
	if (major_of(roots, "nvidia-uvm", &major)) {
		set_node(roots, "nvidia-uvm", major, 0, &ret[n++]);
		set_node(roots, "nvidia-uvm-tools", major, 1, &ret[n++]);
	}
	return n;
}

bool nvidia_caps(const struct device_roots *roots, uint32_t *ret)
{
	return major_of(roots, "nvidia-caps", ret);
}
