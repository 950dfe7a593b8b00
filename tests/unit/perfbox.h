/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Containers for tests of perf: their processes do what they are told over a socket, one after the
 * other. Needs root.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BOX_MAX 8
#define BOX_WAIT_MSEC 60000 /* for what has to happen: no test waits that long if it passes */

enum box_op {
	BOX_KILL,  /* pid, arg: the signal */
	BOX_SEIZE, /* pid: ptrace(2), and lets go again */
	BOX_READ,  /* pid: may it read it as ptrace has it? By kcmp(2) */
	BOX_BURN,  /* from now on */
	BOX_PERF,  /* perf_event_open(2): arg 0: a software event of itself; 1: system-wide */
};

/* One process; its number in the box is its index + 1: the first is the init. */
struct box_task {
	pid_t host;
	int sock;
};

struct box {
	unsigned n;
	struct box_task task[BOX_MAX];
};

/* What each further process is. */
struct box_who {
	uid_t uid; /* in the box */
	bool undumpable;
	bool thread; /* with a second one, whose number follows */
};

/* With a user namespace its ids are the host's from 100000 on; without, its capabilities are these
 * of the host. */
struct box *box_new(bool userns, uint64_t caps, const struct box_who *who, unsigned n);
void box_free(struct box *b);

/* 0, or a negative errno that it got. */
int box_do(struct box *b, unsigned at, enum box_op op, pid_t pid, int arg);

/* From now on we have no others. */
void box_caps(uint64_t caps);

/* The number that a process has inside; 0: it is in no other pid namespace. */
pid_t box_number(pid_t host);
