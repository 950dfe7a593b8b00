/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A few threads for what may wait in the kernel: reclaim, rebuilding of domains, freezing, large
 * trees. The loop hands them a job and hears of its end through an eventfd. Threads start when
 * first needed.
 */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

#define WORKERS_MAX 8
/* ... of which one owner's jobs take at most so many, and of which so many may wait (each holds the
 * fds of its call) */
#define WORKERS_OWNER_MAX 2
#define WORKERS_OWNER_QUEUE_MAX 32
#define WORKERS_QUEUE_MAX 256
/* The last thread, and this many places in the queue, are for owner 0 alone. */
#define WORKERS_QUEUE_KEPT 32

struct workers;
struct job {
	struct job *next;
	uint64_t owner;		       /* whose threads and places in the queue it takes */
	void (*run)(struct job *job);  /* on a worker's thread; touches the job alone */
	void (*done)(struct job *job); /* on the loop's thread, afterwards */
};

int workers_new(sd_event *event, struct workers **ret);
/* Waits for running jobs at most `usec`; -ETIMEDOUT: some still wait in the kernel (the process may
 * end all the same). Their done() is not called. */
int workers_stop(struct workers *w, uint64_t usec);
/* After workers_stop(): done() of what is finished and of what was never run, so that nobody's jobs
 * are lost. */
void workers_finish(struct workers *w);
struct workers *workers_free(struct workers *w);

/* -EDQUOT: too many jobs wait, of this owner or in all. -EAGAIN: no thread could be started. The
 * job stays the caller's then. */
int workers_submit(struct workers *w, struct job *job);
