/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The controllers of cgroup v2 as sets, and under which names of v1 clients know them: one row of
 * controllers.def each.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum controller_flags {
	CONTROLLER_ENABLED = 1 << 0,
	CONTROLLER_THREADED = 1 << 1,
	CONTROLLER_PROGRAM = 1 << 2,
};

struct controller {
	const char *name, *v1;
	unsigned flags;
};

/* NULL behind the last. The bit of a set is 1 << the index. */
const struct controller *controller_row(unsigned index);

/* The controllers that have to be enabled and are among the words of a text, which commas, blanks
 * or newlines divide: "memory,pids", or what cgroup.subtree_control holds. Other words count for
 * nothing. */
unsigned controllers_of(const char *text);

/* Of a set those that work beside processes and in threaded cgroups. */
unsigned controllers_threaded(unsigned set);

/* "+memory +pids", what cgroup.subtree_control takes; sign '+' or '-', or '\0' for "memory pids".
 * Cut to `size`, which 256 is enough for. */
void controllers_text(unsigned set, char sign, char *buf, size_t size);

/* The controller that a file belongs to, by the name before its first dot: 0 for cgroup.* and what
 * has no row. */
unsigned controller_of_file(const char *name);
