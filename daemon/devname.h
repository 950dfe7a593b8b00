/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What names of devices stand for now: /proc/devices, /dev, sysfs, libdrm (see
 * ../policy/devices.def for their forms). Nothing here judges who may know. Nothing opens a device:
 * that may wake a card.
 *
 * Answers are kept until devices come or go, which a netlink socket (NETLINK_KOBJECT_UEVENT) tells
 * the loop.
 */
#pragma once

#include <systemd/sd-event.h>

#include "../policy/device.h"

struct devnames;

/* A device that a name stands for, as ResolveDevice shows it. */
struct devname_entry {
	struct device_range range;
	char node[64]; /* "/dev/dri/renderD128" or "" where it has none or stands for many */
};

/* `changed` is called on the loop some 100 ms after the last of a burst of uevents of devices.
 * Without a netlink socket names are looked up at each use. */
int devnames_new(
	sd_event *event, void (*changed)(void *userdata), void *userdata, struct devnames **ret);
struct devnames *devnames_free(struct devnames *d);

/* Any thread. Appends to *ret (heap), adds to *n. -ENOENT: the kernel has nothing by that name
 * (a path that is no node, a card that is not there); -ENOTSUP: a path through a symlink, or on a
 * file system that a user namespace owns or that is not devtmpfs or the host's own /dev; -ENXIO:
 * the path is no device node; -EINVAL: no such form of name. */
int devname_resolve(struct devnames *d, const char *name, struct devname_entry **ret, unsigned *n);
/* As that, for device_rules_resolve(): userdata is the devnames. */
int devname_ranges(void *userdata, const char *name, struct device_range **ret, unsigned *n);
