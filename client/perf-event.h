/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events by the names that perf(1) has for them, and what programs need.
 *
 *	cycles, cycles:u	the kernel's own; with :u the user side alone, with :k the kernel's
 *	msr/tsc/, power/config=2/	of a PMU, as sysfs describes it
 *	sched:sched_switch	a tracepoint
 *	gpu//			any event of the first PMU of a GPU
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define EVENT_NAME_MAX 95

enum event_kind {
	EVENT_KERNEL, /* `type` and `config` are known */
	EVENT_PMU,
	EVENT_TRACEPOINT,
};

struct event {
	enum event_kind kind;
	char pmu[EVENT_NAME_MAX + 1]; /* PMU: "i915", "" for a GPU's; TRACEPOINT: "sched" */
	char terms[EVENT_NAME_MAX +
		   1]; /* PMU: "tsc", "event=3,umask=1", ""; TRACEPOINT: its name */
	uint32_t type;
	uint64_t config;
	bool user, kernel; /* one side alone was asked for */
};

/* -EINVAL: no event is named so. */
int event_parse(const char *text, struct event *ret);

/* What is to be granted for it: "cpu", "kernel", "gpu", "power", "pmu:NAME",
 * "tracepoint:SYSTEM:NAME". */
#define EVENT_ITEM_MAX 208
void event_item(const struct event *event, char *ret);

/* Does it count for a whole CPU, whatever a process does? */
bool event_is_uncore(const struct event *event);

/*
 * Looks up type and config of a PMU's event or a tracepoint, below `sysfs` ("/sys") and `tracefs`,
 * and the first CPU that counts for others; -1: it has none. -ENOENT: there is no such PMU or
 * event; else why it cannot be read.
 */
int event_resolve(struct event *event, const char *sysfs, const char *tracefs, int *ret_cpu);

struct program {
	const char *name, *needs, *likes, *note;
};

/* The text of `cgm --events`: all that can be named without a look at the host, and the programs.
 */
void events_print_list(FILE *out);

const struct program *program_find(const char *path); /* by its last part; NULL: not known */
