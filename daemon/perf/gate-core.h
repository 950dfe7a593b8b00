/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#define GATE_CGROUPS_MAX 65536 /* as in perfgate.bpf.c */

struct gate_walk;

struct perf_gate {
	int map_fd;
	char path[PATH_MAX];
	char why[384];
	struct gate_walk *walk;
};

void gate_walk_free(struct gate_walk *w);
