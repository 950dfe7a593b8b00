/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devices.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#define DRM_MAJOR 226

static char top[64];
static int top_fd = -EBADF;
static struct gpu_card known[16];
static unsigned n_known;
static _Atomic unsigned asked;

static int cards(struct gpu_card **ret, unsigned *ret_n)
{
	asked++;
	*ret = NULL;
	*ret_n = n_known;
	if (n_known == 0)
		return 0;
	*ret = malloc(sizeof(known));
	assert_non_null(*ret);
	memcpy(*ret, known, sizeof(known));
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void devices_begin(void)
{
	strcpy(top, "/tmp/cgmd-test-devices-XXXXXX");
	assert_non_null(mkdtemp(top));
	top_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(top_fd >= 0);
	assert_int_equal(mkdirat(top_fd, "proc", 0755), 0);
	assert_int_equal(mkdirat(top_fd, "sys", 0755), 0);
	assert_int_equal(mkdirat(top_fd, "dev", 0755), 0);
	n_known = 0;
	asked = 0;
}

void devices_end(void)
{
	close(top_fd);
	assert_int_equal(nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static int root(const char *name)
{
	int fd = openat(top_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

struct device_roots devices_roots(void)
{
	return (struct device_roots){root("proc"), root("sys"), root("dev"), cards};
}

/* The directories above a path. */
static void make_above(const char *path)
{
	char dir[512];

	for (const char *at = path; (at = strchr(at, '/')); at++) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(at - path), path);
		assert_true(mkdirat(top_fd, dir, 0755) == 0 || errno == EEXIST);
	}
}

void devices_file(const char *path, const char *text)
{
	int fd;

	make_above(path);
	fd = openat(top_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

void devices_link(const char *path, const char *target)
{
	make_above(path);
	(void)unlinkat(top_fd, path, 0);
	assert_int_equal(symlinkat(target, top_fd, path), 0);
}

bool devices_nodes(void)
{
	static int can = -1;

	if (can < 0) {
		can = mknodat(top_fd, "probe", S_IFCHR | 0600, makedev(1, 3)) == 0;
		(void)unlinkat(top_fd, "probe", 0);
	}
	return can;
}

void devices_node(const char *path, unsigned major, unsigned minor)
{
	if (!devices_nodes())
		return;
	make_above(path);
	(void)unlinkat(top_fd, path, 0);
	assert_int_equal(mknodat(top_fd, path, S_IFCHR | 0600, makedev(major, minor)), 0);
}

void devices_remove(const char *path)
{
	assert_true(unlinkat(top_fd, path, 0) == 0 || unlinkat(top_fd, path, AT_REMOVEDIR) == 0);
}

void devices_card(const struct fake_card *card)
{
	char path[256], target[256], text[256];
	const char *device = strrchr(card->device, '/');

	snprintf(path, sizeof(path), "sys/devices/%s/drm/%s/dev", card->device, card->name);
	snprintf(text, sizeof(text), "%d:%u\n", DRM_MAJOR, card->minor);
	devices_file(path, text);
	snprintf(path, sizeof(path), "sys/devices/%s/drm/%s/uevent", card->device, card->name);
	snprintf(text, sizeof(text), "MAJOR=%d\nMINOR=%u\nDEVNAME=dri/%s\nDEVTYPE=drm_minor\n",
		DRM_MAJOR, card->minor, card->name);
	devices_file(path, text);
	snprintf(path, sizeof(path), "sys/devices/%s/drm/%s/device", card->device, card->name);
	snprintf(target, sizeof(target), "../../../%s", device ? device + 1 : card->device);
	devices_link(path, target);
	snprintf(target, sizeof(target), "../../devices/%s/drm/%s", card->device, card->name);
	snprintf(path, sizeof(path), "sys/class/drm/%s", card->name);
	devices_link(path, target);
	snprintf(path, sizeof(path), "sys/dev/char/%d:%u", DRM_MAJOR, card->minor);
	devices_link(path, target);
	if (card->driver) {
		snprintf(path, sizeof(path), "sys/devices/%s/driver", card->device);
		snprintf(target, sizeof(target), "../../../bus/any/drivers/%s", card->driver);
		devices_link(path, target);
	}
	snprintf(path, sizeof(path), "dev/dri/%s", card->name);
	devices_node(path, DRM_MAJOR, card->minor);
}

void devices_card_gone(const struct fake_card *card)
{
	char path[256];

	snprintf(path, sizeof(path), "sys/class/drm/%s", card->name);
	devices_remove(path);
	snprintf(path, sizeof(path), "sys/dev/char/%d:%u", DRM_MAJOR, card->minor);
	devices_remove(path);
	snprintf(path, sizeof(path), "sys/devices/%s/drm/%s/dev", card->device, card->name);
	devices_remove(path);
	snprintf(path, sizeof(path), "dev/dri/%s", card->name);
	if (devices_nodes())
		devices_remove(path);
}

void devices_drm(const char *address, const char *id, const char *node, const char *second)
{
	struct gpu_card *c = &known[n_known++];

	*c = (struct gpu_card){.n_nodes = second ? 2 : 1};
	strcpy(c->address, address);
	strcpy(c->id, id);
	strcpy(c->node[0], node);
	if (second)
		strcpy(c->node[1], second);
}

void devices_drm_none(void)
{
	n_known = 0;
}

unsigned devices_drm_asked(void)
{
	return asked;
}
