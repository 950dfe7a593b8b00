/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Raw messages, what rides on them, and how long to wait for what follows. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FRAME_MAX 256
#define FRAME_FDS_MAX 253

void put_u32(unsigned char *p, uint32_t v, bool big);
/* A method call without a body; how long it is. */
size_t make_call(unsigned char *p, uint32_t serial, bool big);
/* The same, little-endian, that says it carries `n_fds`. */
size_t make_call_fds(unsigned char *p, uint32_t serial, uint32_t n_fds);

/* sendmsg() with SCM_RIGHTS. */
ssize_t send_fds(int sock, const void *data, size_t size, const int *fds, size_t n_fds, int flags);

/* A TCP socket with unsent data that lingers: whoever closes it last waits for its peer. */
struct lingering {
	int ours, peer;
};
int lingering_open(struct lingering *ret);

/* The fds of this process. */
unsigned count_fds(void);

/*
 * A bound for one test: longer than anything that ends takes on a slow machine, and said when it is
 * reached. It comes as a signal, for what hangs here hangs in a system call: also a close that
 * waits for a lingering socket's peer is over then, and the test fails instead of standing still.
 */
void patience_begin(void);
bool patience_is_over(void);
/* Whether it was over. */
bool patience_end(void);

/* Runs the loop, whatever comes, until so. */
#define RUN_UNTIL(event, condition)                 \
	while (!(condition) && !patience_is_over()) \
	assert_true(sd_event_run(event, 100000) >= 0)
