/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices and their nodes, as /proc/devices, sysfs and /dev have them. No node is ever opened but
 * as a path (O_PATH).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct gpu_card;

/* Where the kernel tells of devices; the tests have trees of their own. */
struct device_roots {
	int proc, sys, dev;				      /* O_PATH */
	int (*cards)(struct gpu_card **ret, unsigned *ret_n); /* see gpu.h */
};

/* The host's; the caller closes them. On failure nothing is open. */
int device_roots_open(struct device_roots *ret);
void device_roots_close(struct device_roots *r);

/* One line of a file, cut at its end. -ESRCH: there is none. */
int device_line(int dirfd, const char *path, char *buf, size_t size);

/* The major that a driver has in the text of /proc/devices. `len`: of its name. -ENOENT: none. */
int device_major(const char *text, uint8_t type, const char *driver, size_t len, uint32_t *ret);
/* As that, of /proc/devices as it is now. */
int device_major_read(
	const struct device_roots *r, uint8_t type, const char *driver, size_t len, uint32_t *ret);

/* Where the host's /dev has this device under the kernel's name for it: "/dev/dri/card0", or "". */
void device_node(const struct device_roots *r, uint8_t type, uint32_t major, uint32_t minor,
	char *buf, size_t size);

/* The device that a path below /dev ("/dev/fuse") stands for. No symlink is followed, and no file
 * system entered that others may speak for: but /dev's own only devtmpfs and devpts, bound in
 * anywhere. Errors as devname_resolve() has them. */
int device_node_resolve(const struct device_roots *r, const char *path, uint8_t *ret_type,
	uint32_t *ret_major, uint32_t *ret_minor);
