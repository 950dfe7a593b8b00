/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devlock.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How long what the loop could not have is kept for it, and of how many cgroups. */
#define WISH_SEC 5
#define WISHES_MAX 16

/* Somebody on a worker who waits. */
struct waiting {
	struct waiting *next;
	const char *path;
};

/* What a call on the loop was refused; it may come again. path NULL: none. */
struct wish {
	char *path;
	struct timespec until;
};

struct devlocks {
	pthread_mutex_t mutex;
	pthread_cond_t put;
	struct devlock *held;
	struct waiting *first, **last; /* in the order in which they came */
	struct wish wishes[WISHES_MAX];
	bool ended;
};

int devlocks_new(struct devlocks **ret)
{
	struct devlocks *l = calloc(1, sizeof(*l));
	pthread_condattr_t attr;

	if (!l)
		return -ENOMEM;
	l->last = &l->first;
	/* None of these can fail. */
	pthread_mutex_init(&l->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->put, &attr);
	pthread_condattr_destroy(&attr);
	*ret = l;
	return 0;
}

struct devlocks *devlocks_free(struct devlocks *l)
{
	if (!l)
		return NULL;
	for (unsigned i = 0; i < WISHES_MAX; i++)
		free(l->wishes[i].path);
	pthread_cond_destroy(&l->put);
	pthread_mutex_destroy(&l->mutex);
	free(l);
	return NULL;
}

void devlocks_end(struct devlocks *l)
{
	pthread_mutex_lock(&l->mutex);
	l->ended = true;
	pthread_cond_broadcast(&l->put);
	pthread_mutex_unlock(&l->mutex);
}

/* Is `path` this cgroup, or below it? */
static bool is_below(const char *path, const char *cgroup)
{
	size_t len = strlen(cgroup);

	if (len == 1)
		return true;
	return strncmp(path, cgroup, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static bool is_free(const struct devlocks *l, const char *path)
{
	for (const struct devlock *held = l->held; held; held = held->next)
		if (is_below(path, held->path) || is_below(held->path, path))
			return false;
	return true;
}

static int hold(struct devlocks *l, struct devlock *lock, const char *path)
{
	*lock = (struct devlock){.next = l->held, .locks = l, .path = strdup(path)};
	if (!lock->path)
		return -ENOMEM;
	l->held = lock;
	return 0;
}

/*
 * Who comes first. A container may keep what is below it changed all the time, from one worker or
 * the other; that must not keep those away who want all of it. So whoever wants a part of what
 * somebody before him waits for waits, too. Nobody waits for who is below him and only waits.
 */

static bool is_over(const struct timespec *at)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > at->tv_sec || (now.tv_sec == at->tv_sec && now.tv_nsec >= at->tv_nsec);
}

static void wish_drop(struct wish *w)
{
	free(w->path);
	w->path = NULL;
}

static bool is_waited_for(const struct devlocks *l, const struct waiting *self, const char *path)
{
	for (const struct waiting *w = l->first; w && w != self; w = w->next)
		if (is_below(path, w->path))
			return true;
	return false;
}

/* The wish of somebody above that is to be fulfilled before, or NULL. */
static const struct wish *wish_above(struct devlocks *l, const char *path)
{
	for (unsigned i = 0; i < WISHES_MAX; i++) {
		struct wish *w = &l->wishes[i];

		if (w->path && is_over(&w->until))
			wish_drop(w);
		if (w->path && is_below(path, w->path) && strcmp(path, w->path) != 0)
			return w;
	}
	return NULL;
}

/* Its place: its own, a free one, or that of the longest that is longer. */
static struct wish *wish_place(struct devlocks *l, const char *path)
{
	struct wish *best = NULL;
	size_t longest = strlen(path);

	for (unsigned i = 0; i < WISHES_MAX; i++)
		if (l->wishes[i].path && strcmp(l->wishes[i].path, path) == 0)
			return &l->wishes[i];
	for (unsigned i = 0; i < WISHES_MAX; i++) {
		if (!l->wishes[i].path)
			return &l->wishes[i];
		if (strlen(l->wishes[i].path) > longest) {
			longest = strlen(l->wishes[i].path);
			best = &l->wishes[i];
		}
	}
	return best;
}

static void wish_set(struct devlocks *l, const char *path)
{
	struct wish *w = wish_place(l, path);
	char *copy = w ? strdup(path) : NULL;

	if (!copy)
		return;
	wish_drop(w);
	w->path = copy;
	clock_gettime(CLOCK_MONOTONIC, &w->until);
	w->until.tv_sec += WISH_SEC;
}

static void wish_fulfilled(struct devlocks *l, const char *path)
{
	for (unsigned i = 0; i < WISHES_MAX; i++)
		if (l->wishes[i].path && strcmp(l->wishes[i].path, path) == 0)
			wish_drop(&l->wishes[i]);
	/* Those who let it pass. */
	pthread_cond_broadcast(&l->put);
}

static void wait_turn(struct devlocks *l, const struct waiting *self)
{
	while (!l->ended) {
		const struct wish *wish = wish_above(l, self->path);
		struct timespec until;

		if (!wish && is_free(l, self->path) && !is_waited_for(l, self, self->path))
			return;
		if (!wish) {
			pthread_cond_wait(&l->put, &l->mutex);
			continue;
		}
		until = wish->until;
		pthread_cond_timedwait(&l->put, &l->mutex, &until);
	}
}

int devlock_take(struct devlocks *l, struct devlock *lock, const char *path)
{
	struct waiting self = {.path = path}, **at;
	int r;

	pthread_mutex_lock(&l->mutex);
	*l->last = &self;
	l->last = &self.next;
	wait_turn(l, &self);
	for (at = &l->first; *at != &self;)
		at = &(*at)->next;
	*at = self.next;
	if (l->last == &self.next)
		l->last = at;
	r = l->ended ? -ECANCELED : hold(l, lock, path);
	/* Who waited behind. */
	pthread_cond_broadcast(&l->put);
	pthread_mutex_unlock(&l->mutex);
	return r;
}

int devlock_try(
	struct devlocks *l, struct devlock *lock, const char *path, const char *wish, bool first)
{
	int r = -EBUSY;

	pthread_mutex_lock(&l->mutex);
	if (!is_free(l, path))
		wish_set(l, wish);
	else if (!is_waited_for(l, NULL, path) && (first || !wish_above(l, path)))
		r = hold(l, lock, path);
	if (r >= 0)
		wish_fulfilled(l, wish);
	pthread_mutex_unlock(&l->mutex);
	return r;
}

void devlock_put(struct devlock *lock)
{
	struct devlocks *l = lock->locks;
	struct devlock **at;

	if (!lock->path)
		return;
	pthread_mutex_lock(&l->mutex);
	for (at = &l->held; *at != lock;)
		at = &(*at)->next;
	*at = lock->next;
	pthread_cond_broadcast(&l->put);
	pthread_mutex_unlock(&l->mutex);
	free(lock->path);
	lock->path = NULL;
}
