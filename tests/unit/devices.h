/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A /proc, /sys and /dev as drivers would fill them, in a directory of its own, and what libdrm
 * would say. */
#pragma once

#include <stdbool.h>

#include "../../daemon/devname.h"

struct fake_card {
	const char *device; /* below /sys/devices: "pci0000:00/0000:00:02.0" */
	const char *driver; /* NULL: none is bound */
	const char *name;   /* "card0" */
	unsigned minor;
};

void devices_begin(void);
void devices_end(void);
/* Opened anew; the caller closes them. */
struct device_roots devices_roots(void);
/* Root may make nodes here. */
bool devices_nodes(void);

/* Below the directory: "proc/devices". */
void devices_file(const char *path, const char *text);
void devices_link(const char *path, const char *target);
void devices_node(const char *path, unsigned major, unsigned minor);
void devices_remove(const char *path);

/* A node of DRM with all that sysfs has of it, and its node in dev/dri. */
void devices_card(const struct fake_card *card);
/* It goes, with its node. */
void devices_card_gone(const struct fake_card *card);

/* libdrm finds this one: address "" is what is on no PCI bus. How often it was asked since
 * devices_begin(). */
void devices_drm(const char *address, const char *id, const char *node, const char *second);
void devices_drm_none(void);
unsigned devices_drm_asked(void);
