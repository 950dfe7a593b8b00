/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What Create does on the way to a cgroup of v2: it enables controllers, and moves tasks out of the
 * way. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jobs.h"
#include "measure.h"
#include "place.h"

#define SUBTREE "cgroup.subtree_control"
#define CROWD 1000

static const char *const levels[] = {"a", "a/b", "a/b/c", "a/b/c/d"};
#define LEVELS (sizeof(levels) / sizeof(levels[0]))

static void make(struct bench_client *c, const char *path)
{
	int fd;

	need_errno(mkdirat(c->dir, path, 0755), path);
	fd = need_errno(openat(c->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), path);
	jobs_give(c, fd);
	close(fd);
}

static void drop(struct bench_client *c, const char *path)
{
	if (unlinkat(c->dir, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
		need(-errno, path);
}

/* Each of the four levels lacks them. */
void enable_before(struct bench_client *c, unsigned n)
{
	need(place_write(c->dir, SUBTREE, DISABLE), SUBTREE);
}

void enable(struct bench_client *c, unsigned i)
{
	CALL(c, "Create", NULL, "ss", "memory,pids,cpu", levels[LEVELS - 1]);
}

void enable_raw(struct bench_client *c, unsigned i)
{
	char path[64];

	need(place_write(c->dir, SUBTREE, ENABLE), SUBTREE);
	for (size_t k = 0; k < LEVELS; k++) {
		make(c, levels[k]);
		if (k == LEVELS - 1)
			break;
		snprintf(path, sizeof(path), "%s/" SUBTREE, levels[k]);
		need(place_write(c->dir, path, ENABLE), path);
	}
}

void enable_after(struct bench_client *c, unsigned n)
{
	/* That it was done is part of what was measured. */
	need_errno(faccessat(c->dir, "a/b/c/d/pids.max", F_OK, 0), "a/b/c/d/pids.max");
	for (size_t k = LEVELS; k-- > 0;)
		drop(c, levels[k]);
	need(place_write(c->dir, SUBTREE, ENABLE), SUBTREE);
}

static void crowd_start(struct bench_client *c)
{
	c->crowd = calloc(CROWD, sizeof(*c->crowd));
	if (!c->crowd)
		need(-ENOMEM, "crowd");
	for (size_t i = 0; i < CROWD; i++) {
		c->crowd[i] = need_errno(fork(), "fork");
		if (c->crowd[i] > 0)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
}

void evacuate_before(struct bench_client *c, unsigned n)
{
	if (!c->crowd)
		crowd_start(c);
	make(c, "full");
	for (size_t i = 0; i < CROWD; i++)
		need(place_move(c->dir, "full", c->crowd[i]), "full");
}

void evacuate(struct bench_client *c, unsigned i)
{
	CALL(c, "Create", NULL, "ss", "memory", "full/x");
}

void evacuate_raw(struct bench_client *c, unsigned i)
{
	char leaf[64];

	snprintf(leaf, sizeof(leaf), "full/%s", place_home());
	make(c, leaf);
	place_move_all(c->dir, "full", leaf);
	need(place_write(c->dir, "full/" SUBTREE, "+memory"), "full/" SUBTREE);
	make(c, "full/x");
}

void evacuate_after(struct bench_client *c, unsigned n)
{
	char leaf[64];

	need_errno(faccessat(c->dir, "full/x/memory.max", F_OK, 0), "full/x/memory.max");
	snprintf(leaf, sizeof(leaf), "full/%s", place_home());
	for (size_t i = 0; i < CROWD; i++)
		need(place_move(c->dir, place_home(), c->crowd[i]), "moving back");
	drop(c, leaf);
	drop(c, "full/x");
	drop(c, "full");
}
