/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /proc/PID/mountinfo (proc(5)), as far as cgroup file systems need it. A pure parser. */
#pragma once

#include <stdbool.h>

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
