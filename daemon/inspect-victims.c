/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether tasks lie in the namespaces of whoever wants to move them. */
#include <errno.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>

#include "cleanup.h"
#include "inspect-core.h"

/* A namespace of the requestor's, and what was found out last about another one. Both are open, so
 * that the number of a namespace that ends meanwhile goes to no other. */
struct wanted {
	const char *name;
	int fd, last_fd;
	struct ns_id id, own, last;
	int last_below;
};

static void wanted_done(struct wanted *w)
{
	close_fd(&w->fd);
	close_fd(&w->last_fd);
}

#define _cleanup_wanted_ __attribute__((cleanup(wanted_done)))

static int wanted_open(struct child *c, struct wanted *w, pid_t pid)
{
	w->fd = ns_open(c, pid, w->name);
	return w->fd < 0 ? w->fd : ns_of_fd(w->fd, &w->id);
}

/* Does the namespace `at` lie in the one that is wanted? */
static int ns_search(int at, const struct wanted *w)
{
	_cleanup_close_ int up = -EBADF;
	struct ns_id id = {0};
	int r;

	for (unsigned level = 0; level < NS_DEPTH; level++) {
		int parent;

		r = ns_of_fd(up >= 0 ? up : at, &id);
		if (r < 0)
			return r;
		if (ns_same(&id, &w->id))
			return 1;
		/* our own is where all that we can see hangs; above it the kernel says EPERM */
		if (ns_same(&id, &w->own))
			return 0;
		parent = ioctl(up >= 0 ? up : at, NS_GET_PARENT);
		if (parent < 0)
			return errno == EPERM ? 0 : -errno;
		close_fd(&up);
		up = parent;
	}
	return 0;
}

static int victim_search(struct child *c, struct wanted *w, pid_t victim)
{
	_cleanup_close_ int at = ns_open(c, victim, w->name);
	struct ns_id id = {0};
	int r = at < 0 ? at : ns_of_fd(at, &id);

	if (r < 0)
		return r;
	r = ns_search(at, w);
	if (r < 0)
		return r;
	close_fd(&w->last_fd);
	w->last_fd = TAKE_FD(at);
	w->last = id;
	w->last_below = r;
	return r;
}

/* Is the victim's namespace the one that is wanted or below it? */
static int victim_below(struct child *c, struct wanted *w, pid_t victim)
{
	struct ns_id id = {0};
	int r = ns_of_pid(c, victim, w->name, &id);

	if (r < 0)
		return r;
	/* All that we can see hangs below our own. */
	if (ns_same(&id, &w->id) || ns_same(&w->id, &w->own))
		return 1;
	if (w->last_fd >= 0 && ns_same(&id, &w->last))
		return w->last_below;
	return victim_search(c, w, victim);
}

int userns_below(struct child *c, pid_t victim, pid_t pid)
{
	_cleanup_wanted_ struct wanted user = {
		.name = "user", .fd = -EBADF, .last_fd = -EBADF, .own = c->userns};
	int r = wanted_open(c, &user, pid);

	return r < 0 ? r : victim_below(c, &user, victim);
}

int userns_of_fd_below(struct child *c, int userns_fd, pid_t pid)
{
	_cleanup_wanted_ struct wanted user = {
		.name = "user", .fd = -EBADF, .last_fd = -EBADF, .own = c->userns};
	int r = wanted_open(c, &user, pid);

	return r < 0 ? r : ns_search(userns_fd, &user);
}

int answer_victims(struct child *c, const struct inspect_request *q, struct inspect_reply *reply)
{
	_cleanup_wanted_ struct wanted user = {
		.name = "user", .fd = -EBADF, .last_fd = -EBADF, .own = c->userns};
	_cleanup_wanted_ struct wanted pid = {
		.name = "pid", .fd = -EBADF, .last_fd = -EBADF, .own = c->pidns};
	int r = wanted_open(c, &user, q->pid);

	if (r == 0)
		r = wanted_open(c, &pid, q->pid);
	if (r < 0)
		return r;
	if (q->n > INSPECT_PIDS_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < q->n; i++) {
		r = victim_below(c, &user, q->pids[i]);
		if (r > 0)
			r = victim_below(c, &pid, q->pids[i]);
		if (r < 0 && r != -ESRCH)
			return r;
		reply->pids[i] = r;
	}
	return 0;
}
