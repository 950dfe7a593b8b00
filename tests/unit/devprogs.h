/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A cgroup of v2, a bpffs and programs of devices in them, for the tests of daemon/devprog.h. */
#pragma once

#include <linux/limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../daemon/devprog.h"

/* How the policies are kept, and with or without pins. */
struct mode {
	enum devprog_kind kind;
	bool pins;
};

/* The tests' state: one of these. */
extern const struct mode modes[];
#define N_MODES 4

/* clang-format off: it takes the # of an argument for a directive */
#define IN(test, how, mode)                                                      \
	{                                                                        \
#		test "/" how, test, NULL, NULL, (void *)(uintptr_t)&modes[mode] \
	}
/* clang-format on */
#define PINNED(test) IN(test, "storage/pins", 0), IN(test, "programs/pins", 2)
#define DIRECT(test) IN(test, "storage", 1), IN(test, "programs", 3)
#define EACH(test) PINNED(test), DIRECT(test)

extern struct inspector *inspector;
extern char bpffs[];
extern int top; /* the cgroup in which all happens */

#define NULL_DEVICE 3
#define ZERO_DEVICE 5
#define FULL_DEVICE 7

struct report {
	_Atomic unsigned long rounds, null_refused, zero_allowed, full_refused;
	atomic_bool watch_full; /* full is to be denied too, at any moment */
};

struct opener {
	pid_t pid;
	struct report *report;
};

int setup(void **state);
int teardown(void **state);
/* The kernel may have none of it. */
struct devprog *start(const struct mode *mode);
/* What a test before has left when it failed goes. */
const struct mode *need(void **state);
int cgroup_new(int at, const char *path);
void cgroup_end(int at, int fd, const char *path);
void rule_add(struct device_rules *rules, bool allow, unsigned major, unsigned minor);
/* Denies one device of major 1 and allows the others; `more` rules of no effect make it larger. */
struct device_policy policy_make(const struct devprog *d, unsigned denied, unsigned more);
void set(struct devprog *d, int fd, unsigned denied, unsigned more);
void assert_policy(struct devprog *d, int fd, unsigned denied, unsigned more);
unsigned count_ours(struct devprog *d, int fd, unsigned *others);
/* A process in the cgroup that opens devices all the time. */
struct opener opener_start(int fd);
void wait_rounds(const struct report *r, unsigned long n);
void opener_end(struct opener *o);
/* From here on zero is to be denied, and null not, at every moment. */
void begin_watch(struct report *r);
void assert_no_wrong(const struct report *r);
/* Is it denied there? By a process of its own. */
bool denied_in(int fd, const char *path);
int program_new(const char *called, int32_t answer);
/* One that denies everything, and has a map in which this is. */
int program_with_map(const char *called, const uint32_t *words, size_t size);
unsigned pins_count(void);
/* The kernel lets go of what was removed when it gets to it. */
struct devprog *finish(struct devprog *d);
/* The link that is pinned for the cgroup, if there is one. */
bool pin_find(int fd, char path[PATH_MAX]);
/* As root can, beside the daemon's back. */
void detach_ours(const struct mode *mode, struct devprog *d, int fd);
