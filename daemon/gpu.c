/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gpu.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "proc.h"

#define CLASS "class/drm"
#define GPUS_MAX 512

struct gpus {
	struct gpu *list;
	unsigned n;
};

static void gpus_done(struct gpus *all)
{
	free(all->list);
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static struct gpu *gpu_add(struct gpus *all)
{
	struct gpu *grown =
		all->n < GPUS_MAX ? realloc(all->list, (all->n + 1) * sizeof(*grown)) : NULL;

	if (!grown)
		return NULL;
	all->list = grown;
	grown += all->n++;
	*grown = (struct gpu){0};
	return grown;
}

static struct gpu *gpu_of(const struct gpus *all, const char *address)
{
	for (unsigned i = 0; i < all->n; i++)
		if (strcmp(all->list[i].address, address) == 0)
			return &all->list[i];
	return NULL;
}

static bool has_node(const struct gpu *g, uint32_t major, uint32_t minor)
{
	for (unsigned i = 0; i < g->n_nodes; i++)
		if (g->node[i].major == major && g->node[i].minor == minor)
			return true;
	return false;
}

static void node_add(struct gpu *g, const struct gpu_node *node)
{
	if (g->n_nodes < GPU_NODES_MAX && !has_node(g, node->major, node->minor))
		g->node[g->n_nodes++] = *node;
}

/* "0000:03:00.0"; a domain may have more digits (of a VMD, for one). */
static bool is_pci(const char *name)
{
	unsigned domain, bus, device, function;
	int n = 0;

	return sscanf(name, "%x:%2x:%2x.%1x%n", &domain, &bus, &device, &function, &n) == 4 &&
	       name[n] == '\0';
}

/* The number behind the prefix, or -1. */
static int name_index(const char *name, const char *prefix)
{
	size_t len = strlen(prefix);
	int index, n = 0;

	if (strncmp(name, prefix, len) != 0 || !isdigit((unsigned char)name[len]) ||
		sscanf(name + len, "%8d%n", &index, &n) != 1 || name[len + n])
		return -1;
	return index;
}

static bool is_render(const char *name)
{
	return name_index(name, "renderD") >= 0;
}

/* ---- sysfs */

static int node_number(const struct device_roots *roots, const char *name, struct gpu_node *ret)
{
	char path[64], text[32];

	snprintf(path, sizeof(path), CLASS "/%s/dev", name);
	if (device_line(roots->sys, path, text, sizeof(text)) < 0 ||
		sscanf(text, "%" SCNu32 ":%" SCNu32, &ret->major, &ret->minor) != 2)
		return -ENOENT;
	return 0;
}

static void card_node(const struct device_roots *roots, const char *name, struct gpu *g)
{
	struct gpu_node node = {.render = is_render(name)};

	/* One that goes meanwhile is no longer there. */
	if (node_number(roots, name, &node) < 0)
		return;
	device_node(roots, DEVICE_CHAR, node.major, node.minor, node.path, sizeof(node.path));
	node_add(g, &node);
}

/* The device that a DRM node belongs to, from where its link in the class leads:
 * "../../devices/pci0000:00/0000:00:03.0/virtio1/drm/card0". A virtio device is known by what it
 * sits on, as libdrm does. */
static int node_device(const struct device_roots *roots, const char *name, char *buf, size_t size)
{
	char path[64], link[PATH_MAX], *end, *device;
	ssize_t n;

	snprintf(path, sizeof(path), CLASS "/%s", name);
	n = readlinkat(roots->sys, path, link, sizeof(link) - 1);
	if (n < 0)
		return -errno;
	link[n] = '\0';
	end = strstr(link, "/drm/");
	if (!end)
		return -ENOENT;
	*end = '\0';
	device = strrchr(link, '/');
	if (device && strncmp(device + 1, "virtio", 6) == 0) {
		*device = '\0';
		end = strrchr(link, '/');
		if (end && is_pci(end + 1))
			device = end;
		else
			*device = '/';
	}
	device = device ? device + 1 : link;
	return (size_t)snprintf(buf, size, "%s", device) < size ? 0 : -ENAMETOOLONG;
}

/* The last part of where a link leads, or "". */
static void link_name(int dirfd, const char *path, char *buf, size_t size)
{
	char link[PATH_MAX];
	const char *slash;
	ssize_t n = readlinkat(dirfd, path, link, sizeof(link) - 1);

	link[n < 0 ? 0 : n] = '\0';
	slash = strrchr(link, '/');
	snprintf(buf, size, "%.*s", (int)size - 1, slash ? slash + 1 : link);
}

/* What drives the device that stands on a virtio transport: virtio-gpu names the PCI device as its
 * own where there is one, and that one's driver is the transport's. */
static void virtio_driver(int device_fd, char *buf, size_t size)
{
	int fd = openat(device_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	__attribute__((cleanup(closedirp))) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	char path[300];

	if (!dir) {
		close_fd(&fd);
		return;
	}
	while ((entry = readdir(dir)))
		if (name_index(entry->d_name, "virtio") >= 0) {
			snprintf(path, sizeof(path), "%s/driver", entry->d_name);
			link_name(fd, path, buf, size);
			return;
		}
}

/* Not by asking the driver, for which the device would have to be opened. */
static void set_driver(const struct device_roots *roots, struct gpu *g)
{
	_cleanup_close_ int device_fd = -EBADF;
	char path[64];

	snprintf(path, sizeof(path), "dev/char/%" PRIu32 ":%" PRIu32 "/device", g->node[0].major,
		g->node[0].minor);
	device_fd = openat(roots->sys, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (device_fd >= 0)
		link_name(device_fd, "driver", g->driver, sizeof(g->driver));
	if (strcmp(g->driver, "virtio-pci") == 0)
		virtio_driver(device_fd, g->driver, sizeof(g->driver));
	/* What stands for no hardware (vgem, vkms) has none, or since 6.14 the faux bus's. */
	if ((!g->driver[0] || strcmp(g->driver, "faux_driver") == 0) && !is_pci(g->address))
		memcpy(g->driver, g->address, sizeof(g->driver));
}

_Static_assert(sizeof(((struct gpu *)0)->driver) == sizeof(((struct gpu *)0)->address),
	"one is copied to the other");

/* "0x8086" twice */
static void set_id(const struct device_roots *roots, struct gpu *g)
{
	unsigned vendor, device;
	char path[96], text[32];

	snprintf(path, sizeof(path), "bus/pci/devices/%s/vendor", g->address);
	if (g->id[0] || device_line(roots->sys, path, text, sizeof(text)) < 0 ||
		sscanf(text, "%x", &vendor) != 1)
		return;
	snprintf(path, sizeof(path), "bus/pci/devices/%s/device", g->address);
	if (device_line(roots->sys, path, text, sizeof(text)) == 0 &&
		sscanf(text, "%x", &device) == 1)
		snprintf(g->id, sizeof(g->id), "%04x:%04x", vendor & 0xffff, device & 0xffff);
}

/* ---- where they come from: libdrm, the class in sysfs, NVIDIA's driver */

static int add_cards(const struct device_roots *roots, struct gpus *all)
{
	_cleanup_free_ struct gpu_card *cards = NULL;
	unsigned n;
	int r = roots->cards(&cards, &n);

	for (unsigned i = 0; r >= 0 && i < n; i++) {
		struct gpu *g = gpu_add(all);

		if (!g)
			return -ENOMEM;
		memcpy(g->address, cards[i].address, sizeof(g->address));
		memcpy(g->id, cards[i].id, sizeof(g->id));
		for (unsigned k = 0; k < cards[i].n_nodes; k++)
			card_node(roots, cards[i].node[k], g);
		if (!g->address[0] && cards[i].n_nodes > 0)
			(void)node_device(roots, cards[i].node[0], g->address, sizeof(g->address));
		if (g->n_nodes == 0 || !g->address[0])
			all->n--;
	}
	return r;
}

static bool is_known(const struct gpus *all, const struct gpu_node *node)
{
	for (unsigned i = 0; i < all->n; i++)
		if (has_node(&all->list[i], node->major, node->minor))
			return true;
	return false;
}

/* What libdrm passes over: what has no node in /dev, or is on a bus that it does not know (it began
 * to know the faux bus, where vgem is since 6.14, years after). */
static int add_rest(const struct device_roots *roots, struct gpus *all)
{
	int fd = openat(roots->sys, CLASS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	__attribute__((cleanup(closedirp))) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!dir) {
		close_fd(&fd);
		return 0;
	}
	while ((entry = readdir(dir))) {
		const char *name = entry->d_name;
		struct gpu_node node;
		char address[32];
		struct gpu *g;

		if ((name_index(name, "card") < 0 && !is_render(name)) ||
			node_number(roots, name, &node) < 0 || is_known(all, &node) ||
			node_device(roots, name, address, sizeof(address)) < 0)
			continue;
		g = gpu_of(all, address);
		if (!g)
			g = gpu_add(all);
		if (!g)
			return -ENOMEM;
		strcpy(g->address, address);
		card_node(roots, name, g);
	}
	return 0;
}

static int add_nvidia(const struct device_roots *roots, struct gpus *all)
{
	_cleanup_free_ struct nvidia_card *cards = NULL;
	struct gpu_node node, shared[NVIDIA_SHARED_MAX];
	unsigned n, n_shared;
	int r = nvidia_cards(roots, &cards, &n);

	if (r < 0 || n == 0)
		return r;
	n_shared = nvidia_shared(roots, shared);
	for (unsigned i = 0; i < n; i++) {
		struct gpu *g = gpu_of(all, cards[i].address);

		if (!g)
			g = gpu_add(all);
		if (!g)
			return -ENOMEM;
		strcpy(g->address, cards[i].address);
		strcpy(g->driver, "nvidia");
		nvidia_node(roots, &cards[i], &node);
		node_add(g, &node);
		for (unsigned k = 0; k < n_shared; k++)
			node_add(g, &shared[k]);
	}
	return 0;
}

/* ---- what else is known of one */

/* The compute interface of amdgpu is one device for all cards. */
static void add_kfd(const struct device_roots *roots, struct gpus *all)
{
	struct gpu_node kfd = {0};

	if (device_major_read(roots, DEVICE_CHAR, "kfd", 3, &kfd.major) < 0)
		return;
	device_node(roots, DEVICE_CHAR, kfd.major, 0, kfd.path, sizeof(kfd.path));
	for (unsigned i = 0; i < all->n; i++)
		if (strcmp(all->list[i].driver, "amdgpu") == 0)
			node_add(&all->list[i], &kfd);
}

/* The number in the name of its card node, or -1. */
static int card_index(const struct device_roots *roots, const struct gpu *g)
{
	char path[64], name[64];
	int index = -1;

	for (unsigned i = 0; index < 0 && i < g->n_nodes; i++) {
		snprintf(path, sizeof(path), "dev/char/%" PRIu32 ":%" PRIu32, g->node[i].major,
			g->node[i].minor);
		link_name(roots->sys, path, name, sizeof(name));
		index = name_index(name, "card");
	}
	return index;
}

/* As the drivers name it (i915_pmu.c, xe_pmu.c, amdgpu_pmu.c), where it is there. */
static void set_pmu(const struct device_roots *roots, struct gpu *g)
{
	char name[48], path[96];

	if (strcmp(g->driver, "i915") == 0 && strcmp(g->address, "0000:00:02.0") == 0)
		strcpy(name, "i915");
	else if (strcmp(g->driver, "i915") == 0 || strcmp(g->driver, "xe") == 0)
		snprintf(name, sizeof(name), "%.8s_%s", g->driver, g->address);
	else if (strcmp(g->driver, "amdgpu") == 0)
		snprintf(name, sizeof(name), "amdgpu_%d", card_index(roots, g));
	else
		return;
	for (char *at = name; (at = strchr(at, ':')); at++)
		*at = '_';
	snprintf(path, sizeof(path), "bus/event_source/devices/%s", name);
	if (faccessat(roots->sys, path, F_OK, 0) == 0)
		strcpy(g->pmu, name);
}

/* A card of several tiles has one for each; the first stands for it. */
static bool is_better(const char *region, size_t len, const char *than)
{
	const char *name = memrchr(region, '/', len), *other = strrchr(than, '/');
	bool vram = strncmp(name, "/vram", 5) == 0;

	if (!other || vram != (strncmp(other, "/vram", 5) == 0))
		return !other || vram;
	return strncmp(name, other, region + len - name) < 0;
}

/* "drm/0000:03:00.0/vram0 8514437120", from 6.14. */
static void set_region(const char *text, struct gpu *g)
{
	char prefix[48];
	size_t n = snprintf(prefix, sizeof(prefix), "drm/%s/", g->address), len;

	for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
		len = strcspn(text, " \n");
		if (strncmp(text, prefix, n) == 0 && len > n && len < sizeof(g->region) &&
			is_better(text, len, g->region))
			snprintf(g->region, sizeof(g->region), "%.*s", (int)len, text);
	}
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct gpu *)a)->address, ((const struct gpu *)b)->address);
}

static void complete(const struct device_roots *roots, struct gpus *all)
{
	char text[8192];

	if (proc_read(roots->sys, "fs/cgroup/dmem.capacity", text, sizeof(text)) < 0 &&
		proc_read(roots->sys, "fs/cgroup/unified/dmem.capacity", text, sizeof(text)) < 0)
		text[0] = '\0';
	for (unsigned i = 0; i < all->n; i++) {
		struct gpu *g = &all->list[i];

		set_pmu(roots, g);
		set_id(roots, g);
		set_region(text, g);
	}
	if (all->n > 0)
		qsort(all->list, all->n, sizeof(*all->list), compare);
}

int gpus_list_from(const struct device_roots *roots, struct gpu **ret, unsigned *ret_n)
{
	__attribute__((cleanup(gpus_done))) struct gpus all = {0};
	int r = add_cards(roots, &all);

	if (r >= 0)
		r = add_rest(roots, &all);
	for (unsigned i = 0; r >= 0 && i < all.n; i++)
		set_driver(roots, &all.list[i]);
	if (r >= 0)
		r = add_nvidia(roots, &all);
	if (r < 0)
		return r;
	add_kfd(roots, &all);
	complete(roots, &all);
	*ret = TAKE_PTR(all.list);
	*ret_n = all.n;
	return 0;
}

int gpus_list(struct gpu **ret, unsigned *ret_n)
{
	struct device_roots roots;
	int r = device_roots_open(&roots);

	if (r < 0)
		return r;
	r = gpus_list_from(&roots, ret, ret_n);
	device_roots_close(&roots);
	return r;
}
