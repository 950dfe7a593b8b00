/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Numbers of processes as /proc has them, for pid namespaces in which a helper would not be safe.
 * In a container without a user namespace CAP_SYS_PTRACE is the host's: whoever has it there can
 * look into all that it sees, also into what is not dumpable, and through its /proc/PID/root,
 * /proc/PID/exe or its memory act as the host's root. A container as Docker makes them may have it,
 * for it is harmless where nothing of the host's is to be seen.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "inspect-core.h"
#include "inspect-helper.h"
#include "proc.h"

/* 65,536 groups of 11 bytes, and the rest */
#define STATUS_MAX ((size_t)1024 * 1024)
/* However many processes there are, others wait no longer for their answers. */
#define SCAN_TIMEOUT_MSEC 3000

struct scan {
	struct child *child;
	struct ns_id id; /* the namespace whose numbers are wanted */
	const struct inspect_request *request;
	int32_t *ret;
	uint64_t until; /* monotonic_msec() */
};

/* So many levels lies the process' namespace below the one that is wanted; -ENOENT: elsewhere. */
static int levels_below(const struct scan *s, int dir)
{
	_cleanup_close_ int at = -EBADF;
	struct ns_id id;
	struct stat st;

	if (fstatat(dir, "ns/pid", &st, 0) < 0)
		return -errno;
	id = (struct ns_id){.dev = st.st_dev, .ino = st.st_ino};
	for (int level = 0; level < NS_DEPTH; level++) {
		int parent, r;

		if (ns_same(&id, &s->id))
			return level;
		/* All that we see hangs below our own. */
		if (ns_same(&id, &s->child->pidns))
			break;
		if (at < 0)
			at = openat(dir, "ns/pid", O_RDONLY | O_CLOEXEC);
		parent = at < 0 ? -1 : ioctl(at, NS_GET_PARENT);
		if (parent < 0)
			return -errno;
		close_fd(&at);
		at = parent;
		r = ns_of_fd(at, &id);
		if (r < 0)
			return r;
	}
	return -ENOENT;
}

/* NSpid has the numbers from the outermost namespace to its own, the last. */
static int32_t number_parse(const char *text, int below)
{
	int32_t numbers[NS_DEPTH];
	const char *at = strstr(text, "\nNSpid:");
	int n = 0;

	if (!at)
		return 0;
	for (at += strlen("\nNSpid:"); n < NS_DEPTH && *at == '\t'; n++) {
		char *end;

		numbers[n] = (int32_t)strtol(at + 1, &end, 10);
		at = end;
	}
	return n > below ? numbers[n - 1 - below] : 0;
}

/* The number that a task has in the namespace; 0: none, or it has ended. */
static int32_t number_of(const struct scan *s, const char *name)
{
	_cleanup_close_ int dir = openat(s->child->proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	int below = dir < 0 ? -ESRCH : levels_below(s, dir);

	/* By the directory both are of the same task. */
	if (below < 0 || proc_read_heap(dir, "status", STATUS_MAX, &text) < 0)
		return 0;
	return number_parse(text, below);
}

static int scan_in(const struct scan *s)
{
	for (uint32_t i = 0; i < s->request->n; i++) {
		char name[16];

		if (monotonic_msec() >= s->until)
			return -ETIMEDOUT;
		snprintf(name, sizeof(name), "%d", s->request->pids[i]);
		s->ret[i] = s->request->pids[i] > 0 ? number_of(s, name) : 0;
	}
	return 0;
}

static int scan_from(const struct scan *s)
{
	int fd = openat(s->child->proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	int r = 0;
	DIR *dir;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		r = -errno;
		close(fd);
		return r;
	}
	while (r == 0 && (entry = readdir(dir))) {
		int32_t pid = atoi(entry->d_name),
			number = pid > 0 ? number_of(s, entry->d_name) : 0;

		for (uint32_t i = 0; number > 0 && i < s->request->n; i++)
			if (s->request->pids[i] == number)
				s->ret[i] = pid;
		if (monotonic_msec() >= s->until)
			r = -ETIMEDOUT;
	}
	closedir(dir);
	return r;
}

int answer_scan(
	struct child *c, const struct inspect_request *q, int pidns_fd, struct inspect_reply *reply)
{
	struct scan s = {.child = c,
		.request = q,
		.ret = reply->pids,
		.until = monotonic_msec() + SCAN_TIMEOUT_MSEC};
	int r = ns_of_fd(pidns_fd, &s.id);

	if (r < 0)
		return r;
	return q->op == INSPECT_PIDS_FROM ? scan_from(&s) : scan_in(&s);
}
