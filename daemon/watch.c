/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../policy/path.h"
#include "cgroupfs.h"
#include "cleanup.h"
#include "empty.h"
#include "leaf.h"
#include "tally.h"

#define WATCHED_MAX 65536
#define WATCHED_OF_ONE 4096
/* Of inotify, for host root's limit is others' too, and may be 8,192. */
#define ARMED_MAX 4096
#define BUCKETS 1024

/* One turn of the loop looks at that many; a look takes some 5 µs, one of the scan's 30. */
#define SLICE 64
#define SLICE_SCAN 16

/* Polling: the more there are the rarer, so that it takes a tenth of a processor at most. */
#define POLL_USEC 400000
#define POLL_EACH_USEC 50
/* What the kernel tells of is looked at too, for what was removed by others is not told. */
#define SWEEP_USEC 30000000

struct watched {
	LIST_ENTRY(watched) by_id, by_wd;
	TAILQ_ENTRY(watched) queue;
	uint64_t id;
	const struct hierarchy *h;
	struct holder *holder;
	unsigned index; /* in the list */
	int wd;		/* of inotify; -1: none */
	bool populated; /* has had a task since it was marked, so that it goes when it is empty */
	bool frozen;	/* as cgroup.events said last */
	bool polled;
	bool queued;
	bool told; /* queued because cgroup.events changed */
	char path[];
};

LIST_HEAD(bucket, watched);

/* A directory that the scan has yet to look at. */
struct pending {
	struct pending *next;
	const struct hierarchy *h;
	char path[];
};

struct watch {
	struct inspector *inspector;
	const struct hierarchies *hierarchies;
	sd_event *event;
	sd_event_source *io, *timer, *defer;
	int inotify_fd;
	/* A pass goes from the list's end to its begin, so that what is moved from the end into a
	 * gap was looked at. */
	struct watched **list;
	unsigned n, size, n_polled, n_armed;
	unsigned cursor; /* that many are left in this pass */
	bool sweep;	 /* and it looks at all */
	uint64_t sweep_usec;
	TAILQ_HEAD(, watched) queue;
	struct pending *scan;
	struct bucket by_id[BUCKETS], by_wd[BUCKETS];
	struct tally tally; /* by account */
};

static struct bucket *bucket_of_id(struct watch *w, uint64_t id)
{
	return &w->by_id[id % BUCKETS];
}

static struct bucket *bucket_of_wd(struct watch *w, int wd)
{
	return &w->by_wd[(unsigned)wd % BUCKETS];
}

static struct watched *watched_find(struct watch *w, const struct hierarchy *h, uint64_t id)
{
	struct watched *e;

	LIST_FOREACH(e, bucket_of_id(w, id), by_id)
	if (e->id == id && e->h == h)
		return e;
	return NULL;
}

static struct watched *watched_find_wd(struct watch *w, int wd)
{
	struct watched *e;

	LIST_FOREACH(e, bucket_of_wd(w, wd), by_wd)
	if (e->wd == wd)
		return e;
	return NULL;
}

static uint64_t now(struct watch *w)
{
	uint64_t usec = 0;

	(void)sd_event_now(w->event, CLOCK_MONOTONIC, &usec);
	return usec;
}

/* There is something to look at in the loop's next turn. */
static void wake(struct watch *w)
{
	(void)sd_event_source_set_enabled(w->defer, SD_EVENT_ONESHOT);
}

/* When the next pass begins; none while there is nothing to look at. */
static void timer_set(struct watch *w)
{
	uint64_t usec =
		w->n_polled > 0 ? POLL_USEC + (uint64_t)w->n_polled * POLL_EACH_USEC : SWEEP_USEC;

	if (w->n == 0) {
		(void)sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
		return;
	}
	(void)sd_event_source_set_time(w->timer, now(w) + usec);
	(void)sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

static void polled_set(struct watch *w, struct watched *e, bool polled)
{
	if (e->polled == polled)
		return;
	e->polled = polled;
	if (!polled)
		w->n_polled--;
	else if (w->n_polled++ == 0)
		timer_set(w); /* sooner than the next sweep */
}

static void enqueue(struct watch *w, struct watched *e, bool told)
{
	e->told = e->told || told;
	if (!e->queued)
		TAILQ_INSERT_TAIL(&w->queue, e, queue);
	e->queued = true;
	wake(w);
}

static void dequeue(struct watch *w, struct watched *e)
{
	if (e->queued)
		TAILQ_REMOVE(&w->queue, e, queue);
	e->queued = e->told = false;
}

static void wd_drop(struct watch *w, struct watched *e)
{
	if (e->wd < 0)
		return;
	LIST_REMOVE(e, by_wd);
	e->wd = -1;
	w->n_armed--;
}

static void watched_drop(struct watch *w, struct watched *e)
{
	int wd = e->wd;

	dequeue(w, e);
	polled_set(w, e, false);
	wd_drop(w, e);
	if (wd >= 0)
		(void)inotify_rm_watch(w->inotify_fd, wd);
	LIST_REMOVE(e, by_id);
	w->list[e->index] = w->list[--w->n];
	w->list[e->index]->index = e->index;
	if (w->cursor > w->n)
		w->cursor = w->n;
	tally_put(e->holder);
	free(e);
}

static bool is_gone(int err)
{
	return err == -ENOENT || err == -ENODEV || err == -ESTALE;
}

/*
 * Looks at one, which may end it. `told`: the kernel said that cgroup.events changed; if it is not
 * the freezing that did, a task came and left before it could be seen.
 */
static void look(struct watch *w, struct watched *e, bool told)
{
	bool frozen = e->frozen;
	uint64_t parent = 0;
	struct watched *up;
	int r;

	if (!e->populated) {
		r = empty_check(e->h, e->path, e->id, &frozen);
		if (is_gone(r))
			watched_drop(w, e);
		if (r < 0)
			return;
		e->populated = r > 0 || (told && frozen == e->frozen);
		e->frozen = frozen;
		if (r > 0 || !e->populated)
			return;
	}
	r = empty_remove(w->inspector, e->h, e->path, e->id, &parent);
	if (r == -EBUSY && e->h->v2 && e->wd >= 0) {
		/* Cgroups below it that are empty: nobody tells when they go. */
		r = empty_check(e->h, e->path, e->id, &frozen);
		if (r >= 0)
			polled_set(w, e, r == 0);
		e->frozen = frozen;
	}
	if (r == 1 && parent) {
		up = watched_find(w, e->h, parent);
		if (up) {
			up->populated = true;
			enqueue(w, up, false);
		}
	}
	if (parent || is_gone(r))
		watched_drop(w, e);
}

/* A watch of the kernel's; without one (v1, or too many of them) it is polled. */
static void watched_arm(struct watch *w, struct watched *e, int dirfd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d/cgroup.events", dirfd);
	if (e->h->v2 && w->inotify_fd >= 0 && w->n_armed < ARMED_MAX)
		e->wd = inotify_add_watch(w->inotify_fd, path, IN_MODIFY);
	if (e->wd < 0) {
		polled_set(w, e, true);
		return;
	}
	LIST_INSERT_HEAD(bucket_of_wd(w, e->wd), e, by_wd);
	w->n_armed++;
}

static int list_grow(struct watch *w)
{
	unsigned size = w->size ? w->size * 2 : 16;
	struct watched **list;

	if (w->n < w->size)
		return 0;
	if (w->n >= WATCHED_MAX)
		return -EDQUOT;
	list = reallocarray(w->list, size, sizeof(*list));
	if (!list)
		return -ENOMEM;
	w->list = list;
	w->size = size;
	return 0;
}

/*
 * Which account had marked what the scan finds is not known any more: it counts for the cgroup's
 * owner, and is never refused, but against whoever marks cgroups of the same owner next. So a
 * restart forgets nothing and gives no room.
 */
#define ACCOUNT_FOUND (UINT64_C(1) << 33)

static int holder_take(struct watch *w, uint64_t account, uid_t uid, struct holder **ret)
{
	uint64_t found = ACCOUNT_FOUND | uid;
	struct holder *holder;
	unsigned n;

	if (account == ACCOUNT_FOUND) {
		account = found;
	} else if (account != 0) {
		n = tally_count(&w->tally, account);
		if (uid != 0)
			n += tally_count(&w->tally, found);
		if (n >= WATCHED_OF_ONE)
			return -EDQUOT;
	}
	holder = tally_take(&w->tally, account);
	if (!holder)
		return -ENOMEM;
	*ret = holder;
	return 0;
}

static void holder_putp(struct holder **holder)
{
	tally_put(*holder);
}

static int watched_new(struct watch *w, const struct hierarchy *h, int dirfd, const char *path,
	uint64_t account, struct watched **ret)
{
	__attribute__((cleanup(holder_putp))) struct holder *holder = NULL;
	bool populated = account == ACCOUNT_FOUND;
	struct watched *e;
	struct stat st;
	size_t len = strlen(path);
	int r;

	if (len < 2 || len > PATH_TEXT_MAX || path[0] != '/')
		return -EINVAL; /* the hierarchy's root never goes */
	if (fstat(dirfd, &st) < 0)
		return -errno;
	e = watched_find(w, h, st.st_ino);
	if (e && strcmp(e->path, path) == 0) {
		e->populated = e->populated || populated;
		*ret = e;
		return 0;
	}
	if (e) { /* it was renamed */
		populated = populated || e->populated;
		holder = tally_take(&w->tally, e->holder->number);
		watched_drop(w, e);
	} else {
		r = holder_take(w, account, st.st_uid, &holder);
		if (r < 0)
			return r;
	}
	r = list_grow(w);
	if (r < 0)
		return r;
	e = malloc(sizeof(*e) + len + 1);
	if (!e)
		return -ENOMEM;
	*e = (struct watched){.id = st.st_ino,
		.h = h,
		.holder = TAKE_PTR(holder),
		.index = w->n,
		.wd = -1,
		.populated = populated};
	memcpy(e->path, path, len + 1);
	w->list[w->n++] = e;
	LIST_INSERT_HEAD(bucket_of_id(w, e->id), e, by_id);
	watched_arm(w, e, dirfd);
	if (w->n == 1)
		timer_set(w);
	*ret = e;
	return 0;
}

int watch_add(
	struct watch *w, const struct hierarchy *h, int dirfd, const char *path, uint64_t account)
{
	struct watched *e;
	int r = watched_new(w, h, dirfd, path, account, &e);

	if (r < 0)
		return r;
	/* Now, while the caller waits: a task that is in it may leave before the loop's next turn.
	 * And after it was armed, so that nothing is missed in between. */
	r = empty_look(h, dirfd, &e->frozen);
	if (r > 0)
		e->populated = true;
	if (r < 0 || e->populated)
		enqueue(w, e, false);
	return 0;
}

void watch_touch(struct watch *w, const struct hierarchy *h, uint64_t id)
{
	struct watched *e = watched_find(w, h, id);

	if (!e)
		return;
	e->populated = true;
	enqueue(w, e, false); /* the task may have ended already, and that been told */
}

static int pending_push(
	struct watch *w, const struct hierarchy *h, const char *path, const char *name)
{
	size_t head = path[1] ? strlen(path) : 0, len = head + strlen(name) + 2;
	struct pending *p;

	if (len > PATH_TEXT_MAX + 1)
		return 0; /* nothing that deep can be named */
	p = malloc(sizeof(*p) + len);
	if (!p)
		return -ENOMEM;
	p->h = h;
	p->next = w->scan;
	memcpy(p->path, path, head);
	p->path[head] = '/';
	strcpy(p->path + head + 1, name);
	w->scan = p;
	return 0;
}

struct scanning {
	struct watch *watch;
	const struct pending *pending;
};

static int scan_child(void *userdata, int dirfd, const char *name)
{
	struct scanning *s = userdata;

	return pending_push(s->watch, s->pending->h, s->pending->path, name);
}

/* What cannot be read, or goes meanwhile, is passed over. */
static void scan_one(struct watch *w)
{
	_cleanup_free_ struct pending *p = w->scan;
	struct scanning s = {.watch = w, .pending = p};
	_cleanup_close_ int fd = cgroup_open_path(p->h->root_fd, p->path, strlen(p->path));
	struct watched *e;

	w->scan = p->next;
	if (fd < 0)
		return;
	if (inspect_mark_get(w->inspector, fd, MARK_RELEASE) == 1 &&
		leaf_is(w->inspector, fd, p->path) != 1 &&
		watched_new(w, p->h, fd, p->path, ACCOUNT_FOUND, &e) == 0)
		enqueue(w, e, false);
	(void)cgroup_each(fd, true, scan_child, &s);
}

int watch_scan(struct watch *w)
{
	for (unsigned i = w->hierarchies->n; i-- > 0;) {
		int r = pending_push(w, &w->hierarchies->list[i], "/", "");

		if (r < 0)
			return r;
	}
	wake(w);
	return 0;
}

/* One slice: first what was queued, then the pass, then the scan. */
static int on_defer(sd_event_source *source, void *userdata)
{
	struct watch *w = userdata;
	struct watched *e;
	unsigned left = SLICE;

	while (left > 0 && (e = TAILQ_FIRST(&w->queue))) {
		bool told = e->told;

		dequeue(w, e);
		look(w, e, told);
		left--;
	}
	while (left > 0 && w->cursor > 0) {
		e = w->list[--w->cursor];
		left--;
		if (e->polled || w->sweep)
			look(w, e, false);
		if (w->cursor == 0)
			timer_set(w);
	}
	for (unsigned i = 0; i < SLICE_SCAN && left > 0 && w->scan; i++)
		scan_one(w);
	if (w->cursor > 0 || w->scan || !TAILQ_EMPTY(&w->queue))
		wake(w);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct watch *w = userdata;

	w->sweep = usec >= w->sweep_usec;
	if (w->sweep)
		w->sweep_usec = usec + SWEEP_USEC;
	w->cursor = w->n;
	if (w->cursor > 0)
		wake(w);
	return 0;
}

static void on_event(struct watch *w, const struct inotify_event *event)
{
	struct watched *e;

	if (event->mask & IN_Q_OVERFLOW) {
		for (unsigned i = 0; i < w->n; i++)
			enqueue(w, w->list[i], false);
		return;
	}
	e = watched_find_wd(w, event->wd);
	if (!e)
		return;
	if (event->mask & IN_IGNORED) {
		wd_drop(w, e);
		polled_set(w, e, true);
	}
	enqueue(w, e, (event->mask & IN_MODIFY) != 0);
}

static int on_inotify(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n = read(fd, buf, sizeof(buf));

	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *event = (const void *)(buf + at);

		on_event(userdata, event);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
	return 0;
}

static void watch_freep(struct watch **w)
{
	watch_free(*w);
}

int watch_new(sd_event *event, struct inspector *inspector, const struct hierarchies *hierarchies,
	struct watch **ret)
{
	__attribute__((cleanup(watch_freep))) struct watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	TAILQ_INIT(&w->queue);
	w->inspector = inspector;
	w->hierarchies = hierarchies;
	w->event = sd_event_ref(event);
	/* Without it all is polled. */
	w->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	r = sd_event_add_defer(event, &w->defer, on_defer, w);
	if (r >= 0)
		r = sd_event_source_set_enabled(w->defer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time(
			event, &w->timer, CLOCK_MONOTONIC, 0, POLL_USEC / 10, on_timer, w);
	if (r >= 0)
		r = sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
	if (r >= 0 && w->inotify_fd >= 0)
		r = sd_event_add_io(event, &w->io, w->inotify_fd, EPOLLIN, on_inotify, w);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(w);
	return 0;
}

struct watch *watch_free(struct watch *w)
{
	if (!w)
		return NULL;
	while (w->scan) {
		struct pending *p = w->scan;

		w->scan = p->next;
		free(p);
	}
	for (unsigned i = 0; i < w->n; i++) {
		tally_put(w->list[i]->holder);
		free(w->list[i]);
	}
	free(w->list);
	sd_event_source_disable_unref(w->io);
	sd_event_source_disable_unref(w->timer);
	sd_event_source_disable_unref(w->defer);
	sd_event_unref(w->event);
	close_fd(&w->inotify_fd);
	free(w);
	return NULL;
}
