/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A few threads for what may wait in the kernel: reclaim, rebuilding of domains, freezing, large
 * trees. The loop hands them a job and hears of its end through an eventfd. Threads start when
 * first needed.
 */
#pragma once

#include <systemd/sd-event.h>

#define WORKERS_MAX 4

struct workers;
struct job {
	struct job *next;
	void (*run)(struct job *job);  /* on a worker's thread; touches the job alone */
	void (*done)(struct job *job); /* on the loop's thread, afterwards */
};

int workers_new(sd_event *event, struct workers **ret);
/* Waits for running jobs at most `usec`; -ETIMEDOUT: some still wait in the kernel (the process may
 * end all the same). Their done() is not called. */
int workers_stop(struct workers *w, uint64_t usec);
struct workers *workers_free(struct workers *w);

/* -EAGAIN: no thread could be started and none runs; the caller may run the job by itself. */
int workers_submit(struct workers *w, struct job *job);
