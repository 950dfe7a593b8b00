/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devlock.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct devlocks {
	pthread_mutex_t mutex;
	pthread_cond_t put;
	struct devlock *held;
	bool ended;
};

int devlocks_new(struct devlocks **ret)
{
	struct devlocks *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	/* Of the default kind neither can fail. */
	pthread_mutex_init(&l->mutex, NULL);
	pthread_cond_init(&l->put, NULL);
	*ret = l;
	return 0;
}

struct devlocks *devlocks_free(struct devlocks *l)
{
	if (!l)
		return NULL;
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

int devlock_take(struct devlocks *l, struct devlock *lock, const char *path)
{
	int r;

	pthread_mutex_lock(&l->mutex);
	while (!l->ended && !is_free(l, path))
		pthread_cond_wait(&l->put, &l->mutex);
	r = l->ended ? -ECANCELED : hold(l, lock, path);
	pthread_mutex_unlock(&l->mutex);
	return r;
}

int devlock_try(struct devlocks *l, struct devlock *lock, const char *path)
{
	int r;

	pthread_mutex_lock(&l->mutex);
	r = is_free(l, path) ? hold(l, lock, path) : -EBUSY;
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
