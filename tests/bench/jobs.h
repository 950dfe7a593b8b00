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
	const char *place;   /* the name of the worker's own cgroup */
	int dir;	     /* this, where memory is */
	int v2_dir, v1_dir; /* where devices are governed; negative: in no hierarchy of that kind */
	pid_t victim;	    /* a task in it that only waits */
	pid_t *crowd;	    /* many such, of the jobs of jobs-v2.c */
	uid_t give;	    /* raw: whom new cgroups are given to; 0: nobody */
	uid_t chown_to;	    /* as the worker's namespace has it */
	char **files;	    /* raw: the names of the files of a new cgroup */
	int *held;	    /* connections */
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
/* Raw: a new cgroup is given to whom the worker gives it. */
void jobs_give(struct bench_client *c, int dirfd);

/* Of jobs-v2.c, which needs pure cgroup v2. */
void enable_before(struct bench_client *c, unsigned n);
void enable(struct bench_client *c, unsigned i);
void enable_raw(struct bench_client *c, unsigned i);
void enable_after(struct bench_client *c, unsigned n);
void evacuate_before(struct bench_client *c, unsigned n);
void evacuate(struct bench_client *c, unsigned i);
void evacuate_raw(struct bench_client *c, unsigned i);
void evacuate_after(struct bench_client *c, unsigned n);

/* Of jobs-devices.c: in a child cgroup with the rules that containers have, or with two. */
void governed_before(struct bench_client *c, unsigned n);
void governed_few_before(struct bench_client *c, unsigned n);
void governed_after(struct bench_client *c, unsigned n);
void rule_change(struct bench_client *c, unsigned i); /* allows and denies in turn */
void rules_set(struct bench_client *c, unsigned i);   /* one list and another in turn */
void rule_allow(struct bench_client *c, unsigned i);
void rule_deny(struct bench_client *c, unsigned i);
void rule_ask(struct bench_client *c, unsigned i);
void rules_list(struct bench_client *c, unsigned i);
/* SetDevices; 0 or a negative errno. */
int rules_give(sd_bus *bus, const char *cgroup, const char *const *rules);
/* What containers have, 15 rules. */
extern const char *const rules_usual[];

/* Of jobs-perf.c: perf_event_open; from perf_trap() on the daemon answers it. */
void perf_before(struct bench_client *c, unsigned n);
void perf_after(struct bench_client *c, unsigned n); /* closes them */
void perf_trap(struct bench_client *c, unsigned i);
void perf_count_all(struct bench_client *c, unsigned i);
void perf_count_own(struct bench_client *c, unsigned i);
void perf_sample_all(struct bench_client *c, unsigned i); /* with pids */
void perf_sample_own(struct bench_client *c, unsigned i);
void perf_flood(struct bench_client *c, unsigned i); /* by processes of its own */
void perf_flood_end(struct bench_client *c, unsigned i);
void call_other(struct bench_client *c, unsigned i);

/* Fails loudly: a refusal must not pass for a fast answer. */
#define CALL(c, member, reply, ...)                                                           \
	do {                                                                                  \
		sd_bus_error error_ = SD_BUS_ERROR_NULL;                                      \
		int r_ = sd_bus_call_method((c)->bus, NULL, "/org/linuxcontainers/cgmanager", \
			"org.linuxcontainers.cgmanager0_0", member, &error_, (reply),         \
			__VA_ARGS__);                                                         \
		if (r_ < 0)                                                                   \
			fprintf(stderr, "bench: %s\n", error_.message);                       \
		need(r_, member);                                                             \
	} while (0)
