/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lines on standard error. Never blocks: a line that cannot be written at once is dropped and
 * counted, and the next one that can be says how many were. With JOURNAL_STREAM set lines start
 * with <N>.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>
#include <syslog.h>

/* What is above `level` (LOG_ERR ... LOG_DEBUG) is not written. At first: LOG_INFO. */
void log_set_level(int level);

/* One line; longer text is cut, control characters are escaped. No newline is needed in `fmt`. */
void log_line(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct log_denial {
	const char *method, *cgroup, *reason; /* NULL: left out. From clients, so escaped and cut */
	pid_t pid;			      /* the requestor */
	uid_t uid;
	uint64_t account; /* as log_limited()'s */
};

/* One line that a client can cause at will: at most 10 in a second for one account (see
 * inspect_account()), so that none hides what another does, and 50 in all. A following line says
 * how many there were beyond. */
void log_limited(int level, uint64_t account, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* METHOD= CGROUP= REQUESTOR_PID= REQUESTOR_UID= REASON=, limited. Keeps errno. */
void log_denial(const struct log_denial *d);
