/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /proc/PID/mountinfo (proc(5)), as far as cgroup file systems need it, and the types of others.
 * Pure parsers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mountinfo {
	unsigned id;	       /* the mount, as statx(2) tells it of a file in it */
	unsigned major, minor; /* st_dev of the file system */
	char root[4096];       /* unescaped (\040 and friends) */
	char target[4096];
	char options[1024]; /* the file system's own: "rw,cpu,cpuacct"; still escaped */
	bool v2;
};

/* Reads the next cgroup or cgroup2 mount from *text and moves *text behind its line. 1: one was
 * found. 0: none is left. Lines that are not well-formed, or too long for the fields, are passed
 * over. */
int mountinfo_next(const char **text, struct mountinfo *ret);

/* The type of the file system of the mount with this id: "devtmpfs". False: no line has it. */
bool mountinfo_type(const char *text, uint64_t id, char *buf, size_t size);
