/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What names of devices stand for now: /proc/devices, /dev, sysfs, libdrm (see
 * ../policy/devices.def for their forms). Nothing here judges who may know. Nothing opens a device:
 * that may wake a card.
 *
 * The list of GPUs, which takes a look at all of DRM, is kept until devices come or go, which a
 * netlink socket (NETLINK_KOBJECT_UEVENT) tells, unless NVIDIA's driver is there; all else is
 * looked up at each use.
 */
#pragma once

#include <systemd/sd-event.h>

#include "../policy/device.h"
#include "devroots.h"
#include "gpu.h"

struct devnames;

/* A device that a name stands for, as ResolveDevice shows it. */
struct devname_entry {
	struct device_range range;
	char node[64]; /* "/dev/dri/renderD128" or "" where it has none or stands for many */
};

/* `changed` is called on the loop some 100 ms after the last of a burst of uevents of devices; it
 * may be NULL. Before the core is confined; without a netlink socket, which is logged, `changed` is
 * never called and GPUs are looked up at each use, too. */
int devnames_new(
	sd_event *event, void (*changed)(void *userdata), void *userdata, struct devnames **ret);
/* The same with other roots, which it takes over; without a loop as if without a socket. */
int devnames_new_at(const struct device_roots *roots, sd_event *event,
	void (*changed)(void *userdata), void *userdata, struct devnames **ret);
struct devnames *devnames_free(struct devnames *d);

/* Any thread. Appends to *ret (heap), adds to *n; nothing on failure. 0 with nothing added: the
 * name stands for none now (`gpu` on a host without one). -ENOENT: the kernel has nothing by that
 * name (a path that is not there, a card that is not there); -ENOTSUP: a path through a symlink or
 * '..', or on a file system that is not devtmpfs, devpts or the host's own /dev, or has nodev;
 * -ENXIO: the path is no device node; -EINVAL: no such form of name. */
int devname_resolve(struct devnames *d, const char *name, struct devname_entry **ret, unsigned *n);
/* As that, for device_rules_resolve(): userdata is the devnames. */
int devname_ranges(void *userdata, const char *name, struct device_range **ret, unsigned *n);

/* Any thread. As uevents_state(): as long as it is the same, and not 0, nothing that the kernel
 * tells of has come or gone. */
uint64_t devnames_state(struct devnames *d);

/* Any thread. As gpus_list(), from what is kept. */
int devname_gpus(struct devnames *d, struct gpu **ret, unsigned *ret_n);
