/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../cleanup.h"
#include "../child.h"
#include "worker-core.h"

/* Linux 6.6: the two sides take turns on one CPU. */
#define SET_FLAGS SECCOMP_IOW(4, __u64)
#define FD_SYNC_WAKE_UP UINT64_C(1)

/* A worker that left so many fds open has met somebody who means it. */
#define STRANDED_MAX 256

uint64_t worker_msec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void worker_busy(struct worker *w)
{
	if (w->slot)
		atomic_store(&w->slot->busy, worker_msec());
}

void worker_idle(struct worker *w)
{
	if (w->slot)
		atomic_store(&w->slot->busy, 0);
}

_Noreturn void worker_done(struct worker *w)
{
	(void)worker_send(w, PERF_DONE, NULL, 0, -EBADF);
	_exit(0);
}

_Noreturn void worker_fail(struct worker *w)
{
	(void)w;
	_exit(1);
}

bool worker_is_anon(const struct worker *w, int fd)
{
	struct statx st;

	/* As it is known, without asking the file system. */
	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &st) == 0 &&
	       st.stx_ino == w->anon_ino && st.stx_dev_major == w->anon_major &&
	       st.stx_dev_minor == w->anon_minor;
}

void worker_strand(struct worker *w, int *fd)
{
	*fd = -EBADF;
	if (++w->stranded >= STRANDED_MAX)
		worker_fail(w);
}

/*
 * Waiting.
 */

static int sooner(int a, int b)
{
	return a < 0 ? b : b < 0 || a < b ? a : b;
}

static void dispatch_waiting(struct worker *w)
{
	while (w->waiting) {
		struct packet *p = w->waiting;

		w->waiting = p->next;
		worker_dispatch(w, p);
	}
}

static void core_serve(struct worker *w)
{
	struct packet *p = packet_take(w->core);

	if (!p)
		_exit(0);
	worker_dispatch(w, p);
}

int worker_wait(struct worker *w, int fd, short events, int msec)
{
	uint64_t end = msec < 0 ? 0 : worker_msec() + (unsigned)msec;
	struct pollfd p[] = {{.fd = w->core, .events = POLLIN}, {.fd = fd, .events = events}};
	int left = msec;

	for (;;) {
		int n;

		dispatch_waiting(w);
		n = poll(p, 2, sooner(left, w->slot ? quota_prune(w) : -1));
		if (n < 0)
			continue;
		if (p[0].revents)
			core_serve(w);
		if (p[1].revents)
			return p[1].revents;
		if (msec >= 0) {
			uint64_t now = worker_msec();

			if (now >= end)
				return 0;
			left = (int)(end - now);
		}
	}
}

void worker_pace(struct worker *w)
{
	int msec;

	while ((msec = bucket_take(&w->bucket, worker_msec())) > 0)
		(void)worker_wait(w, -1, 0, msec);
}

/*
 * Answers.
 */

int worker_refuse(int listener, uint64_t id, int err)
{
	struct seccomp_notif_resp resp = {.id = id, .error = err};

	return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp) < 0 ? -errno : 0;
}

static int addfd(int listener, const struct seccomp_notif_addfd *add)
{
	int r;

	do
		r = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, add);
	while (r < 0 && errno == EINTR);
	/* EINPROGRESS: it has its answer, or is not taken any more. */
	if (r < 0)
		return errno == EINPROGRESS ? -ENOENT : -errno;
	return r;
}

int worker_inject(int listener, uint64_t id, const struct worker_answer *answer, bool send)
{
	static bool apart; /* before 5.14 ADDFD does not send */
	struct seccomp_notif_addfd add = {
		.id = id,
		.srcfd = (uint32_t)answer->fd,
		.newfd_flags = answer->newfd_flags,
	};
	struct seccomp_notif_resp resp = {.id = id};
	int fd = -EINVAL;

	if (send && !apart) {
		add.flags = SECCOMP_ADDFD_FLAG_SEND;
		fd = addfd(listener, &add);
		if (fd != -EINVAL)
			return fd;
		apart = true;
		add.flags = 0;
	}
	fd = addfd(listener, &add);
	if (fd < 0 || !send)
		return fd;
	resp.val = fd;
	return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp) < 0 ? -errno : fd;
}

/*
 * A listener's notifications.
 */

static void notif_forget(struct worker *w)
{
	__atomic_store_n(&w->slot->notif_words[0], 0, __ATOMIC_SEQ_CST);
}

static void notif_answer(struct worker *w, uint64_t id, const struct worker_answer *answer)
{
	int r = answer->fd >= 0 ? worker_inject(w->channel, id, answer, true)
				: worker_refuse(w->channel, id, answer->err);

	if (r < 0 && r != -ENOENT && answer->fd >= 0)
		r = worker_refuse(w->channel, id, r);
	if (r == -ENOENT)
		atomic_fetch_add(&w->slot->dropped, 1);
}

/* What stands in the slot. */
static void notif_serve(struct worker *w)
{
	struct seccomp_notif notif;
	struct worker_answer answer;
	uint64_t id;

	memcpy(&notif, w->slot->notif, sizeof(notif));
	id = notif.id;
	if (worker_handle(w, w->channel, &notif, &answer) >= 0) {
		notif_answer(w, id, &answer);
		/* Before the next: what is closed here is not what counts for the time. */
		notif_forget(w);
		close_fd(&answer.fd);
	}
	notif_forget(w);
}

/* One that a worker took which is no more. */
static void notif_replay(struct worker *w)
{
	uint64_t id = __atomic_load_n(&w->slot->notif_words[0], __ATOMIC_SEQ_CST);

	if (id == 0)
		return;
	worker_busy(w);
	if (!worker_valid(w->channel, id))
		notif_forget(w);
	else if (atomic_load(&w->slot->condemned)) {
		(void)worker_refuse(w->channel, id, -EFAULT);
		notif_forget(w);
	} else
		notif_serve(w);
	worker_idle(w);
}

static void notif_take(struct worker *w)
{
	memset(w->slot->notif, 0, sizeof(w->slot->notif));
	worker_busy(w);
	if (ioctl(w->channel, SECCOMP_IOCTL_NOTIF_RECV, w->slot->notif) == 0)
		notif_serve(w);
	else if (errno != ENOENT && errno != EINTR)
		worker_fail(w);
	worker_idle(w);
}

_Noreturn void worker_notify(struct worker *w)
{
	uint64_t flags = FD_SYNC_WAKE_UP;

	(void)ioctl(w->channel, SET_FLAGS, flags);
	notif_replay(w);
	atomic_store(&w->slot->condemned, 0);
	for (;;) {
		int revents;

		worker_pace(w);
		revents = worker_wait(w, w->channel, POLLIN, -1);
		if (revents & POLLIN)
			notif_take(w);
		else
			worker_done(w);
	}
}

/*
 * The beginning.
 */

/* One slot has one worker: that of a daemon which was killed may still be at it, and would forget
 * what this one notes there. The lock is the process', and goes with it (fcntl(2)). */
static bool slot_lock(const struct worker *w, uint32_t slot)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = slot, .l_len = 1};
	int r;

	do
		r = fcntl(w->registry_fd, F_SETLKW, &lock);
	while (r < 0 && errno == EINTR);
	return r == 0;
}

static bool serve_take(struct worker *w, struct packet *p)
{
	uint32_t slot;

	if (p->size != sizeof(w->serve))
		return false;
	memcpy(&w->serve, p->data, sizeof(w->serve));
	w->serve.next[sizeof(w->serve.next) - 1] = '\0';
	slot = w->serve.slot;
	bucket_init(&w->bucket, w->serve.rate, w->serve.burst, worker_msec());
	if (w->serve.kind == PERF_SERVE_OCI)
		return true;
	if (slot >= PERF_SLOTS_MAX || !slot_lock(w, slot))
		return false;
	w->slot = &w->registry->slot[slot];
	perf_ledger_unwatch(w->slot);
	return true;
}

_Noreturn void worker_found(struct worker *w, int listener)
{
	struct packet *p;

	if (worker_send(w, PERF_FOUND, NULL, 0, listener) < 0)
		worker_fail(w);
	p = worker_await(w, PERF_SLOT_IS, sizeof(w->serve));
	if (!serve_take(w, p) || !w->slot)
		worker_fail(w);
	packet_free(p);
	close_fd(&w->channel);
	w->channel = listener;
	worker_notify(w);
}

static int own_files(struct worker *w)
{
	struct statx st;

	w->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	w->watched = epoll_create1(EPOLL_CLOEXEC);
	/* All anonymous files are one inode's. */
	if (w->proc < 0 || w->watched < 0 ||
		statx(w->watched, "", AT_EMPTY_PATH, STATX_INO, &st) < 0)
		return -errno;
	w->anon_ino = st.stx_ino;
	w->anon_major = st.stx_dev_major;
	w->anon_minor = st.stx_dev_minor;
	return 0;
}

/* REGISTRY, then SERVE. */
static bool begin(struct worker *w)
{
	struct packet *p = packet_take(w->core);
	bool good = p && p->type == PERF_REGISTRY && p->fd >= 0 &&
		    perf_registry_map(p->fd, &w->registry) >= 0;

	/* Never closed, for that would give up the lock. */
	if (good)
		w->registry_fd = TAKE_FD(p->fd);
	packet_free(p);
	if (!good || own_files(w) < 0)
		return false;
	p = packet_take(w->core);
	good = p && p->type == PERF_SERVE && serve_take(w, p);
	if (good)
		w->channel = TAKE_FD(p->fd);
	packet_free(p);
	return good;
}

_Noreturn void perf_worker_run(int core, int spawner, bool confine)
{
	static struct worker w;

	w.core = core;
	w.spawner = spawner;
	w.channel = -EBADF;
	for (unsigned i = 0; i < WORKER_OPENERS_MAX; i++)
		w.openers[i].channel = -EBADF;
	if (child_signals() < 0 || !begin(&w) ||
		(confine && worker_confine(w.serve.kind == PERF_SERVE_BROKER) < 0))
		worker_fail(&w);
	switch (w.serve.kind) {
	case PERF_SERVE_NOTIFY:
		worker_notify(&w);
	case PERF_SERVE_LXC:
		perf_worker_lxc(&w);
	case PERF_SERVE_OCI:
		perf_worker_oci(&w);
	case PERF_SERVE_BROKER:
		for (;;)
			(void)worker_wait(&w, -1, 0, -1);
	}
	worker_fail(&w);
}
