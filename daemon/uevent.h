/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's messages that devices have come or gone (NETLINK_KOBJECT_UEVENT, group 1), without
 * udev. Only whether they may change what a name of a device, or a PMU, stands for is of interest.
 *
 * The kernel sends them into every network namespace of the initial user namespace (since 4.18).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct uevents;

/* `changed` is called on the loop some 100 ms after the last of a burst, and at least each second
 * while one lasts; it may be NULL. Before the core is confined, which keeps it from making the
 * socket. */
int uevents_new(
	sd_event *event, void (*changed)(void *userdata), void *userdata, struct uevents **ret);
struct uevents *uevents_free(struct uevents *u);

/* Any thread. As long as this answers the same, and not 0, no device has come or gone. 0: something
 * has been sent that the loop has not seen yet. 0 of NULL. */
uint64_t uevents_state(struct uevents *u);

/* One message of the kernel: does it change what names stand for? */
bool uevent_matters(const char *message, size_t size);
