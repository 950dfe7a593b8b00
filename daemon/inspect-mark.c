/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the inspector keeps with a cgroup: marks and numbers, in trusted.* attributes. Each begins
 * with the cgroup's id, so one that was copied from another cgroup does not count. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "inspect-core.h"
#include "inspect.h"

/* Two numbers of 64 bits and what is between and behind them. */
#define VALUE_MAX 48

static const char *const mark_names[MARK_MAX] = {
	[MARK_RELEASE] = "trusted.cgmd.release",
	[MARK_LEAF] = "trusted.cgmd.leaf",
	[MARK_DENIES] = "trusted.cgmd.denies",
};

static const char *const note_names[NOTE_MAX] = {
	[NOTE_SHARES] = "trusted.cgmd.shares",
};

/* The attribute as text, "" where there is none or it is none of ours. */
static int value_read(int dirfd, const char *name, char ret[VALUE_MAX])
{
	ssize_t n = fgetxattr(dirfd, name, ret, VALUE_MAX - 1);

	if (n < 0 && errno != ENODATA && errno != ERANGE)
		return -errno;
	ret[n < 0 ? 0 : n] = '\0';
	return 0;
}

int answer_mark(const struct inspect_request *q, int dirfd)
{
	char id[24], value[VALUE_MAX];
	const char *name;
	struct stat st;
	int r;

	if (q->number >= MARK_MAX)
		return -EINVAL;
	if (dirfd < 0 || fstat(dirfd, &st) < 0)
		return -EBADF;
	name = mark_names[q->number];
	snprintf(id, sizeof(id), "%ju", (uintmax_t)st.st_ino);
	if (q->op == INSPECT_MARK_SET)
		return fsetxattr(dirfd, name, id, strlen(id), 0) < 0 ? -errno : 0;
	if (q->op == INSPECT_MARK_CLEAR)
		return fremovexattr(dirfd, name) < 0 && errno != ENODATA ? -errno : 0;
	r = value_read(dirfd, name, value);
	return r < 0 ? r : strcmp(value, id) == 0;
}

int answer_note(const struct inspect_request *q, int dirfd, struct inspect_reply *reply)
{
	char value[VALUE_MAX], again[VALUE_MAX];
	uint64_t number;
	struct stat st;
	int r;

	if (q->number >= NOTE_MAX)
		return -EINVAL;
	if (dirfd < 0 || fstat(dirfd, &st) < 0)
		return -EBADF;
	snprintf(value, sizeof(value), "%ju %" PRIu64, (uintmax_t)st.st_ino, q->value);
	if (q->op == INSPECT_NOTE_SET)
		return fsetxattr(dirfd, note_names[q->number], value, strlen(value), 0) < 0 ? -errno
											    : 0;
	r = value_read(dirfd, note_names[q->number], value);
	if (r < 0 || sscanf(value, "%*u %" SCNu64, &number) != 1)
		return r;
	/* Only what reads exactly as it would be written. */
	snprintf(again, sizeof(again), "%ju %" PRIu64, (uintmax_t)st.st_ino, number);
	if (strcmp(value, again) != 0)
		return 0;
	reply->number = number;
	return 1;
}

#define PERF_NAME "trusted.cgmd.perf"
/* The cgroup's id, a blank and the text. */
#define PERF_VALUE_MAX (24 + INSPECT_PERF_TEXT_MAX)

static int perf_set(int dirfd, const char *id, const struct wire_tail *tail)
{
	char value[PERF_VALUE_MAX + 1];
	size_t len = strlen(id);

	if (tail->size == 0)
		return fremovexattr(dirfd, PERF_NAME) < 0 && errno != ENODATA ? -errno : 0;
	if (tail->size > INSPECT_PERF_TEXT_MAX)
		return -E2BIG;
	memcpy(value, id, len);
	memcpy(value + len, tail->data, tail->size);
	return fsetxattr(dirfd, PERF_NAME, value, len + tail->size, 0) < 0 ? -errno : 0;
}

static int perf_get(int dirfd, const char *id, struct wire_tail *tail)
{
	char value[PERF_VALUE_MAX];
	ssize_t n = fgetxattr(dirfd, PERF_NAME, value, sizeof(value));
	size_t len = strlen(id);

	/* What is longer is none of ours; v1 may be mounted without attributes. */
	if (n < 0)
		return errno == ENODATA || errno == ERANGE || errno == EOPNOTSUPP ? 0 : -errno;
	if ((size_t)n <= len || (size_t)n - len > INSPECT_PERF_TEXT_MAX ||
		memcmp(value, id, len) != 0 || memchr(value, '\0', (size_t)n))
		return 0;
	tail->size = (size_t)n - len;
	memcpy(tail->data, value + len, tail->size);
	return 1;
}

int answer_perf(const struct inspect_request *q, int dirfd, struct wire_tail *tail)
{
	struct stat st;
	char id[24];

	if (dirfd < 0 || fstat(dirfd, &st) < 0)
		return -EBADF;
	snprintf(id, sizeof(id), "%ju ", (uintmax_t)st.st_ino);
	return q->op == INSPECT_PERF_SET ? perf_set(dirfd, id, tail) : perf_get(dirfd, id, tail);
}
