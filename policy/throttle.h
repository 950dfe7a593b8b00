/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * v1 blkio.throttle.*_device is not hierarchical: a child without a line of its own is not bound by
 * its parent's. So lines are copied downwards and may only be narrowed (DESIGN.md). A line is
 * "MAJOR:MINOR LIMIT"; 0, or no line, means no limit.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* 12 and 20 bits (include/linux/kdev_t.h). The kernel puts larger numbers over each other:
 * "0:8388608" is 8:0. */
#define DEVICE_MAJOR_MAX 4095
#define DEVICE_MINOR_MAX 1048575

struct throttle_line {
	unsigned major, minor;
	uint64_t limit;
};

/* Takes the next line from *text and moves *text behind it. 1, 0 at the end, -EINVAL: no such line.
 */
int throttle_next(const char **text, struct throttle_line *ret);

/* The narrowest limit for that device among `lines`, 0 if there is none. */
uint64_t throttle_limit(const char *lines, unsigned major, unsigned minor);

/* May `value`, one single line, be set where the ancestors have `lines`? -EINVAL: it is not one
 * line. */
int throttle_narrows(const char *lines, const char *value);
