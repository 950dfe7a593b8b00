/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How many events there may be, and how many calls.
 *
 * Nobody is told when an event is closed, and it may be held where no list of fds shows it: on its
 * way over a socket, by io_uring. But an epoll instance forgets a file when its last reference is
 * gone, and holds none itself; what it still knows stands in its /proc/self/fdinfo. So a worker
 * adds each event that it opens to one, with the ledger's index beside it. What an earlier worker
 * opened is looked for among the fds of the tasks in the scope, which is slower.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../cleanup.h"
#include "../proc.h"
#include "worker-core.h"

#define PRUNE_MSEC 1000 /* after an event was opened; then twice that, and so on */
#define PRUNE_MSEC_MAX 16000
#define SCAN_MSEC 1000
#define FDINFO_LINE 128

/*
 * Calls a second.
 */

void bucket_init(struct worker_bucket *b, uint32_t rate, uint32_t burst, uint64_t now)
{
	*b = (struct worker_bucket){
		.rate = rate ? rate : 1,
		.burst = (int64_t)(burst ? burst : 1) * 1000,
		.msec = now,
	};
	b->level = b->burst;
}

int bucket_take(struct worker_bucket *b, uint64_t now)
{
	uint64_t gone = now > b->msec ? now - b->msec : 0;
	uint64_t missing = (uint64_t)(b->burst - b->level);

	/* In thousandths: `rate` of them are one millisecond's. */
	if (gone > missing / b->rate)
		b->level = b->burst;
	else
		b->level += (int64_t)(gone * b->rate);
	b->msec = now;
	if (b->level < 1000) {
		uint64_t wait = ((uint64_t)(1000 - b->level) + b->rate - 1) / b->rate;

		return wait < INT_MAX ? (int)wait : INT_MAX;
	}
	b->level -= 1000;
	return 0;
}

void bucket_charge(struct worker_bucket *b, unsigned calls)
{
	/* However deep the debt: a burst's worth is paid back some time. */
	b->level -= (int64_t)calls * 1000;
	if (b->level < -b->burst)
		b->level = -b->burst;
}

/*
 * Events that are watched.
 */

static bool index_next(const char **at, unsigned *ret)
{
	const char *line = strstr(*at, "\ntfd:"), *data = line ? strstr(line, " data:") : NULL;
	unsigned long long value;

	if (!data)
		return false;
	value = strtoull(data + strlen(" data:"), NULL, 16);
	*at = data;
	*ret = value < PERF_LEDGER_MAX ? (unsigned)value : PERF_LEDGER_MAX;
	return true;
}

/* Takes off what the epoll instance has forgotten; how many these were. */
static int watched_prune(struct worker *w)
{
	static bool known[PERF_LEDGER_MAX + 1];
	_cleanup_free_ char *text = NULL;
	unsigned used = atomic_load(&w->slot->n_ledger), index, left = 0;
	int dropped = 0;
	const char *at;
	char name[48];
	ssize_t n;

	snprintf(name, sizeof(name), "self/fdinfo/%d", w->watched);
	n = proc_read_heap(w->proc, name, (PERF_LEDGER_MAX + 8) * FDINFO_LINE, &text);
	if (n < 0)
		return (int)n;
	memset(known, 0, sizeof(known));
	for (at = text; index_next(&at, &index);)
		known[index] = true;
	for (unsigned i = 0; i < used && i < PERF_LEDGER_MAX; i++) {
		struct perf_entry *e = &w->slot->ledger[i];
		uint64_t id = atomic_load(&e->id);

		if (id == 0 || !atomic_load(&e->watched))
			continue;
		if (known[i]) {
			left++;
			continue;
		}
		perf_ledger_drop(w->registry, e, id);
		dropped++;
	}
	w->quota.watched = left;
	return dropped;
}

static void prune_later(struct worker *w, uint64_t msec)
{
	w->quota.prune_msec = msec < PRUNE_MSEC_MAX ? msec : PRUNE_MSEC_MAX;
	w->quota.prune_at = worker_msec() + w->quota.prune_msec;
}

int quota_prune(struct worker *w)
{
	uint64_t now;

	if (w->quota.watched == 0)
		return -1;
	now = worker_msec();
	if (now < w->quota.prune_at)
		return (int)(w->quota.prune_at - now);
	prune_later(w, watched_prune(w) > 0 ? PRUNE_MSEC : w->quota.prune_msec * 2);
	return w->quota.watched > 0 ? (int)w->quota.prune_msec : -1;
}

static void watch(struct worker *w, int event, unsigned index)
{
	struct epoll_event e = {.events = EPOLLET, .data.u64 = index};

	/* For want of watches: it is found by its fds then. */
	if (epoll_ctl(w->watched, EPOLL_CTL_ADD, event, &e) < 0)
		atomic_store(&w->slot->ledger[index].watched, 0);
	else
		w->quota.watched++;
}

/*
 * All of a scope's.
 */

struct held {
	uint64_t *ids;
	size_t n, size;
};

static int held_add(void *userdata, pid_t pid, int pidfd, int event, uint64_t id)
{
	struct held *held = userdata;

	(void)pid;
	(void)pidfd;
	if (event < 0)
		return -E2BIG;
	if (held->n == held->size) {
		size_t size = held->size * 2 + 64;
		uint64_t *bigger = realloc(held->ids, size * sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		held->ids = bigger;
		held->size = size;
	}
	held->ids[held->n++] = id;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The directory of all that count together. */
static int counted_open(const struct task *t)
{
	int fd = openat(t->scope_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (uint32_t i = 0; fd >= 0 && i < t->facts.up; i++) {
		int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		close(fd);
		fd = up;
	}
	return fd;
}

/* At most a tenth of the time. */
static void scope_scan(struct worker *w, const struct task *t)
{
	_cleanup_close_ int dir = -EBADF;
	struct held held = {0};
	uint64_t began = worker_msec(), took;

	if (began < w->quota.scan_at || !perf_ledger_strays(w->registry, t->facts.scope_id))
		return;
	dir = counted_open(t);
	/* What was not looked at to the end says nothing of what is gone. */
	if (dir >= 0 && scan_events(w, dir, held_add, &held) >= 0) {
		if (held.n > 0)
			qsort(held.ids, held.n, sizeof(*held.ids), by_number);
		perf_ledger_keep(w->registry, t->facts.scope_id, held.ids, held.n);
	}
	free(held.ids);
	took = worker_msec() - began;
	w->quota.scan_at = began + took + (took * 9 > SCAN_MSEC ? took * 9 : SCAN_MSEC);
}

static bool is_full(const struct worker *w, const struct task *t, unsigned cpu)
{
	unsigned max = w->serve.max_events * (cpu == PERF_CPUS_MAX ? PERF_TASK_EVENTS_FACTOR : 1);
	uint64_t scope = t->facts.scope_id;

	return perf_ledger_sum(w->registry, scope, cpu) >= max &&
	       perf_ledger_count(w->registry, scope, cpu) >= max;
}

int quota_check(struct worker *w, const struct task *t, unsigned cpu)
{
	if (!is_full(w, t, cpu))
		return 0;
	(void)watched_prune(w);
	if (!is_full(w, t, cpu))
		return 0;
	scope_scan(w, t);
	return is_full(w, t, cpu) ? -EMFILE : 0;
}

int quota_add(
	struct worker *w, const struct task *t, unsigned cpu, const struct perf_verdict *v, int fd)
{
	struct perf_entry e = {
		.scope_id = t->facts.scope_id,
		.config = v->attr.attr.config,
		.type = v->attr.attr.type,
		.cpu = (uint16_t)cpu,
		.by = (uint8_t)v->by,
	};
	uint64_t id;
	int index;

	if (ioctl(fd, PERF_EVENT_IOC_ID, &id) < 0)
		return -errno;
	atomic_store(&e.id, id);
	atomic_store(&e.watched, 1);
	index = perf_ledger_add(w->registry, w->slot, &e);
	if (index == -EDQUOT) {
		(void)watched_prune(w);
		index = perf_ledger_add(w->registry, w->slot, &e);
	}
	if (index < 0)
		return -EMFILE;
	watch(w, fd, (unsigned)index);
	prune_later(w, PRUNE_MSEC);
	return 0;
}
