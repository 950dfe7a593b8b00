/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define LINE_MAX_BYTES 1024 /* below PIPE_BUF: a pipe that polls writable takes it whole */
#define FIELD_MAX 320
/* Of what clients can cause at will. */
#define LIMITED_A_SECOND 50
#define LIMITED_OF_ONE 10

_Static_assert(LINE_MAX_BYTES <= PIPE_BUF, "a line may block");

/* Of all that is below: workers log too. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int max_level = LOG_INFO;
static unsigned long dropped;

void log_set_level(int level)
{
	max_level = level;
}

static bool in_journal(void)
{
	static int known = -1;

	if (known < 0)
		known = getenv("JOURNAL_STREAM") != NULL;
	return known;
}

static bool write_now(const char *line, size_t length)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};

	/* POLLERR without a reader: write would raise SIGPIPE. */
	if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLOUT) || (p.revents & (POLLERR | POLLHUP)))
		return false;
	return write(STDERR_FILENO, line, length) == (ssize_t)length;
}

/* Appends with control characters and quotes (when quoted) as \xNN, as long as there is room. */
static size_t append_escaped(char *buf, size_t at, size_t size, const char *text, bool quoted)
{
	for (const unsigned char *p = (const unsigned char *)text; *p && at + 5 < size; p++) {
		if (*p < 0x20 || *p >= 0x7f || (quoted && (*p == '"' || *p == '\\')))
			at += snprintf(buf + at, size - at, "\\x%02x", *p);
		else
			buf[at++] = *p;
	}
	buf[at] = '\0';
	return at;
}

static bool put_line(int level, const char *text)
{
	char line[LINE_MAX_BYTES];
	size_t at = 0;

	if (in_journal())
		at = snprintf(line, sizeof(line), "<%d>", level);
	at = append_escaped(line, at, sizeof(line) - 1, text, false);
	line[at++] = '\n';
	return write_now(line, at);
}

static void put(int level, const char *text)
{
	char before[64];

	if (dropped > 0) {
		snprintf(before, sizeof(before), "%lu log lines could not be written", dropped);
		if (put_line(LOG_WARNING, before))
			dropped = 0;
	}
	if (!put_line(level, text))
		dropped++;
}

void log_line(int level, const char *fmt, ...)
{
	char text[LINE_MAX_BYTES];
	int saved = errno;
	va_list ap;

	if (level > max_level)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&lock);
	put(level, text);
	pthread_mutex_unlock(&lock);
	errno = saved;
}

static size_t append_field(char *buf, size_t at, size_t size, const char *name, const char *value)
{
	size_t end;

	if (!value)
		return at;
	at += snprintf(buf + at, size - at, " %s=\"", name);
	end = at + FIELD_MAX < size ? at + FIELD_MAX : size;
	at = append_escaped(buf, at, end - 1, value, true);
	buf[at++] = '"';
	buf[at] = '\0';
	return at;
}

/* Whose lines were written in this second: each has at least one of them, so there is room. */
static struct {
	uint64_t account;
	unsigned n;
} written[LIMITED_A_SECOND];
static unsigned n_written, n_lines, suppressed;

/* What was suppressed is reported when the next second begins. */
static void second_begin(void)
{
	static time_t second;
	struct timespec now;
	unsigned n = suppressed;
	char text[64];

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec == second)
		return;
	second = now.tv_sec;
	n_written = n_lines = suppressed = 0;
	snprintf(text, sizeof(text), "%u more denials and warnings were not logged", n);
	if (n > 0 && LOG_NOTICE <= max_level)
		put(LOG_NOTICE, text);
}

static bool limit_allows_locked(uint64_t account)
{
	unsigned i = 0;

	second_begin();
	while (i < n_written && written[i].account != account)
		i++;
	if (n_lines >= LIMITED_A_SECOND || (i < n_written && written[i].n >= LIMITED_OF_ONE)) {
		suppressed++;
		return false;
	}
	if (i == n_written) {
		written[n_written].account = account;
		written[n_written++].n = 0;
	}
	written[i].n++;
	n_lines++;
	return true;
}

static bool limit_allows(uint64_t account)
{
	bool allows;

	pthread_mutex_lock(&lock);
	allows = limit_allows_locked(account);
	pthread_mutex_unlock(&lock);
	return allows;
}

void log_limited(int level, uint64_t account, const char *fmt, ...)
{
	char text[LINE_MAX_BYTES];
	int saved = errno;
	va_list ap;

	if (level <= max_level && limit_allows(account)) {
		errno = saved; /* for %m */
		va_start(ap, fmt);
		vsnprintf(text, sizeof(text), fmt, ap);
		va_end(ap);
		log_line(level, "%s", text);
	}
	errno = saved;
}

void log_denial(const struct log_denial *d)
{
	/* Three fields of FIELD_MAX would exceed a line only when all are full: then the end is
	 * cut. */
	char text[3 * FIELD_MAX + 256];
	size_t at = 0;
	int saved = errno;

	if (LOG_NOTICE <= max_level && limit_allows(d->account)) {
		at = snprintf(text, sizeof(text), "denied");
		at = append_field(text, at, sizeof(text), "METHOD", d->method);
		at += snprintf(text + at, sizeof(text) - at, " REQUESTOR_PID=%d REQUESTOR_UID=%u",
			(int)d->pid, (unsigned)d->uid);
		at = append_field(text, at, sizeof(text), "REASON", d->reason);
		append_field(text, at, sizeof(text), "CGROUP", d->cgroup);
		log_line(LOG_NOTICE, "%s", text);
	}
	errno = saved;
}
