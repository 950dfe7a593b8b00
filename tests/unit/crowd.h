/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Many tasks in a pid namespace of their own, and their numbers as /proc has them. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CROWD_PROCESSES 150
#define CROWD_THREADS 10
#define CROWD_MAX (1 + CROWD_PROCESSES + CROWD_THREADS)

struct crowd {
	pid_t maker, init; /* init: as the host has it */
	int pidns_fd;
	size_t n; /* processes; behind them n_threads threads that are none */
	size_t n_threads;
	int32_t host[CROWD_MAX], inside[CROWD_MAX];
};

/* In a user namespace of their own. */
void crowd_make(struct crowd *c);
/* In ours. */
void crowd_make_bare(struct crowd *c);
/* Ends them, and waits until they have ended. */
void crowd_end(struct crowd *c);
