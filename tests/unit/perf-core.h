/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Perf in the core, and around it what a test plays: the spawner, the keeper, a task's facts, and
 * every worker, which is a process to be killed and the test's end of its channel. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../daemon/manager.h"
#include "../../daemon/op.h"
#include "../../daemon/perf/perf-core.h"

/* Accounts. */
#define WORKERS_MAX_HERE 256
#define MINE 1000
#define OTHERS 2000

struct fixture {
	struct manager manager;
	struct options options;
	struct perf *perf;
	char dir[64], lxc[80], oci[80];
	unsigned fds_before;
};

/* A worker: its end of the channel, and a process to be killed. */
struct fake {
	int channel;
	pid_t pid;
};
extern struct fake workers[];
extern unsigned n_workers; /* started so far */
extern int spawn_error;	   /* no worker is to be had */

/* What the keeper holds. */
extern int kept[PERF_SLOTS_MAX], kept_registry;

/* The last task whose facts were looked up, and what is to come of it. */
extern pid_t asked_about;
extern int facts_error;

/* cmocka's. */
int setup(void **state);
int teardown(void **state);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Perf begins, with what the keeper holds: in setup(), and again when it was freed. */
void begin(struct fixture *f);
/* Ends all workers; the next has number 0. */
void fakes_end(void);
/* Whatever there is to do. */
void turn(struct fixture *f);

/*
 * A worker's part.
 */

/* What hear() heard. */
extern struct heard {
	struct perf_head head;
	union {
		struct perf_serve serve;
		struct perf_facts_are facts;
		struct perf_open open;
		struct perf_revoke revoke;
	};
} heard;

/* The next packet, of this size behind its head; the fd in it, -EBADF: none. */
int hear(unsigned w, size_t size);
/* The two first packets, of a listener: its slot. */
uint32_t hear_begin(unsigned w, enum perf_serve_kind kind);
void say(unsigned w, uint32_t type, const void *data, size_t size, int fd);
bool is_silent(unsigned w);
bool is_closed(unsigned w);
/* It ends, and the core does what it then does. */
void die(struct fixture *f, unsigned w);
/* Whether the core has ended it. */
bool was_killed(unsigned w);

/*
 * Listeners.
 */

/* A seccomp listener is to the core what can be polled: this one has users as long as `*ret_users`
 * is open. */
int listener_new(int *ret_users);
/* One more, with a worker that has heard of it: its slot. */
uint32_t attach(struct fixture *f, uint64_t account, int *ret_users);
/* Slots that are not free. */
unsigned n_slots(struct fixture *f);

/*
 * What is asked of a broker.
 */

/* An operation of process 4711: event 1, 2, 3 on cpu 3, flags 8. */
struct op *op_here(struct fixture *f, uint64_t account);
void op_gone(struct op *op);
/* Called when one is answered. */
void on_done(struct op *op);
extern unsigned n_done;
