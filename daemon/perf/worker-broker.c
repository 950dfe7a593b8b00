/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* OpenPerfEvent: the same as a notification, but that the attr's bytes come with the question. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>

#include "../cleanup.h"
#include "worker-core.h"

#define THREAD_PIDFD O_EXCL /* 6.9 */

static int attr_take(const struct perf_open *asked, struct perf_attr *ret)
{
	uint32_t size;

	if (asked->size < PERF_ATTR_SIZE_VER0 || asked->size > PERF_ATTR_BYTES_MAX)
		return -E2BIG;
	memcpy(&size, asked->attr + offsetof(struct perf_event_attr, size), sizeof(size));
	if (size == 0)
		size = PERF_ATTR_SIZE_VER0;
	if (size > asked->size)
		return -E2BIG;
	return perf_attr_copy(asked->attr, size, ret);
}

/* The core holds the requestor while it waits, and sees whether it was there all the time. */
static int requestor_hold(pid_t tid)
{
	int fd = pidfd_open(tid, THREAD_PIDFD);

	if (fd < 0 && errno == EINVAL)
		fd = pidfd_open(tid, 0);
	return fd < 0 ? -errno : fd;
}

static int open_for(struct worker *w, struct packet *p, const struct perf_open *asked,
	struct worker_answer *ret)
{
	_cleanup_close_ int held = requestor_hold(asked->tid);
	struct worker_call call = {
		.tid = asked->tid,
		.pid = asked->pid,
		.cpu = asked->cpu,
		.group = asked->has_group ? 0 : -1,
		.flags = asked->flags,
		.group_fd = TAKE_FD(p->fd),
		.cgroup_fd = -EBADF,
		.listener = -EBADF,
		.held = held,
		.uid = asked->uid,
		.gid = asked->gid,
	};
	int r;

	if (held < 0 || (asked->has_group != 0) != (call.group_fd >= 0)) {
		close_fd(&call.group_fd);
		return held < 0 ? held : -EBADF;
	}
	r = attr_take(asked, &call.attr);
	if (r < 0) {
		ret->reason = REASON_PERF_ATTR;
		close_fd(&call.group_fd);
		return r;
	}
	r = call_make(w, &call, ret);
	if (r == 0 && !call_valid(&call))
		r = -ESTALE;
	if (r == -ESTALE)
		close_fd(&ret->fd);
	return r == -ESTALE ? -ESRCH : r;
}

void worker_broker_open(struct worker *w, struct packet *p)
{
	static struct perf_open asked;
	struct worker_answer answer = {.fd = -EBADF};
	struct perf_opened opened = {0};
	int r;

	memcpy(&asked, p->data, sizeof(asked));
	while ((r = bucket_take(&w->bucket, worker_msec())) > 0)
		(void)poll(NULL, 0, r);
	worker_busy(w);
	r = open_for(w, p, &asked, &answer);
	opened.cookie = asked.cookie;
	opened.result = r < 0 ? r : answer.err;
	opened.reason = answer.reason;
	worker_idle(w);
	r = worker_send(w, PERF_OPENED, &opened, sizeof(opened), answer.fd);
	close_fd(&answer.fd);
	if (r < 0)
		worker_fail(w);
}
