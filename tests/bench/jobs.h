/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What a worker can do, by name. */
#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

/* What the jobs of one worker work with. */
struct bench_client {
	sd_bus *bus;	     /* NULL: raw */
	const char *address; /* of the server, for jobs that connect */
	int dir;	     /* the worker's own memory cgroup */
	pid_t victim;	     /* a task in it that only waits */
	uid_t give;	     /* raw: whom new cgroups are given to; 0: nobody */
	uid_t chown_to;	     /* as the worker's namespace has it */
	char **files;	     /* raw: the names of the files of a new cgroup */
	int *held;	     /* connections */
	unsigned n_held;
};

struct job {
	bool method; /* one call; these come first */
	const char *name;
	/* Prepares what one block needs, unmeasured; either may be NULL. */
	void (*before)(struct bench_client *c, unsigned n);
	void (*once)(struct bench_client *c, unsigned i);
	void (*after)(struct bench_client *c, unsigned n);
};

/* NULL: there is none of that name. */
const struct job *job_find(const char *name);
const struct job *job_at(unsigned i);
/* MovePid of the victim in memory, by credentials. */
void move_scm(struct bench_client *c, const char *cgroup);
/* The raw cycle's names, and that it can be done at all. */
void jobs_prepare(struct bench_client *c);
