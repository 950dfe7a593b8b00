/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "leaf.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../policy/path.h"
#include "cgroupfs.h"
#include "cleanup.h"

#define MODE_MASK 0775

/* Its owner may remove and make it while we look. */
#define TRIES 4

/* Cgroups that are marked. The kernel gives no id of a hierarchy twice, and only host root could
 * take a mark away; so the inspector is asked once. Both numbers change together, or of two leaves
 * that come at once a third would be made. */
#define KNOWN 256
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	uint64_t dev, id;
} known[KNOWN];

static bool is_known(uint64_t dev, uint64_t id)
{
	bool yes;

	pthread_mutex_lock(&known_lock);
	yes = known[id % KNOWN].dev == dev && known[id % KNOWN].id == id;
	pthread_mutex_unlock(&known_lock);
	return yes;
}

static void known_add(uint64_t dev, uint64_t id)
{
	pthread_mutex_lock(&known_lock);
	known[id % KNOWN].dev = dev;
	known[id % KNOWN].id = id;
	pthread_mutex_unlock(&known_lock);
}

static int mark_get(struct inspector *i, int fd)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (is_known(st.st_dev, st.st_ino))
		return 1;
	r = inspect_mark_get(i, fd, MARK_LEAF);
	if (r == 1)
		known_add(st.st_dev, st.st_ino);
	return r;
}

int leaf_open(struct inspector *i, int dirfd)
{
	_cleanup_close_ int fd = cgroup_open(dirfd, LEAF_NAME);
	int r;

	if (fd < 0)
		return fd == -ENODEV ? -ENOENT : fd;
	r = mark_get(i, fd);
	if (r < 0)
		return r;
	return r == 1 ? TAKE_FD(fd) : -ENOENT;
}

static bool is_owner(const struct node *n, uid_t uid, gid_t gid)
{
	return n->uid == uid && n->gid == gid;
}

/* A new one, which may be half given away: its mode comes last, and nobody else gives this one. */
static bool is_raw(const struct node *n, const struct node *parent)
{
	return (n->mode & 07777) == 0 &&
	       (is_owner(n, 0, 0) || is_owner(n, parent->uid, parent->gid));
}

static int files_give(int fd, uid_t uid, gid_t gid, const char *const *delegation)
{
	for (; *delegation; delegation++)
		if (fchownat(fd, *delegation, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
			return -errno;
	return fchown(fd, uid, gid) < 0 ? -errno : 0;
}

/* In this order, for another thread may be about to make the same leaf. */
static int leaf_give(int fd, const struct node *to, const char *const *delegation)
{
	int r = files_give(fd, to->uid, to->gid, delegation);

	/* Nobody sees more of the tasks here than there. */
	if (r >= 0 && fchmod(fd, to->mode & MODE_MASK) < 0)
		r = -errno;
	return r;
}

/* Empty, as what could have been a leaf; whoever has a container there does not get it folded into
 * what is above. -ENOENT: it was removed just now. */
static int is_free(int fd, const struct node *n)
{
	char events[128];
	ssize_t len;

	if (n->children > 0)
		return 0;
	len = cgroup_read_small(fd, "cgroup.events", events, sizeof(events));
	if (len < 0)
		return len == -ENODEV ? -ENOENT : (int)len;
	return !strstr(events, "populated 1");
}

/* What is there under the name becomes the leaf: a new directory, what was left half made, or what
 * the cgroup's owner made there itself, perhaps in place of the one that was made just now. */
static int leaf_take(
	struct inspector *i, int fd, const struct node *parent, const char *const *delegation)
{
	struct node node;
	int r = inspect_mark_get(i, fd, MARK_LEAF);

	if (r != 0)
		return r;
	r = cgroup_stat(fd, &node);
	if (r >= 0)
		r = is_free(fd, &node);
	if (r < 0)
		return r;
	if (r == 0) {
		/* Another thread marks it before it moves tasks there. */
		r = inspect_mark_get(i, fd, MARK_LEAF);
		return r == 0 ? -EEXIST : r;
	}
	r = 0;
	if (is_raw(&node, parent))
		r = leaf_give(fd, parent, delegation);
	else if (!is_owner(&node, parent->uid, parent->gid))
		r = -EEXIST;
	return r < 0 ? r : inspect_mark_set(i, fd, MARK_LEAF);
}

static int leaf_try(struct inspector *i, int dirfd, const struct node *node,
	const char *const *delegation, bool *ret_made)
{
	bool made = mkdirat(dirfd, LEAF_NAME, 0) == 0;
	_cleanup_close_ int fd = -EBADF;
	struct node got;
	int r;

	if (!made && errno != EEXIST)
		return errno == ENOENT ? -ENODEV : -errno;
	fd = cgroup_open(dirfd, LEAF_NAME);
	if (fd < 0)
		return fd == -ENODEV ? -ENOENT : fd;
	r = leaf_take(i, fd, node, delegation);
	if (r < 0) {
		/* The error that is told is the first one. */
		if (made && cgroup_stat(fd, &got) >= 0)
			cgroup_remove_same(dirfd, LEAF_NAME, got.id);
		return r;
	}
	*ret_made = made;
	return TAKE_FD(fd);
}

int leaf_make(struct inspector *i, int dirfd, const struct node *node,
	const char *const *delegation, bool *ret_made)
{
	int fd = leaf_open(i, dirfd);

	if (fd >= 0)
		*ret_made = false;
	for (unsigned n = 0; fd == -ENOENT && n < TRIES; n++)
		fd = leaf_try(i, dirfd, node, delegation, ret_made);
	return fd;
}

bool leaf_is_child(struct inspector *i, const struct hierarchy *h, int dirfd, const char *name)
{
	_cleanup_close_ int fd = -EBADF;

	if (!h->v2 || strcmp(name, LEAF_NAME) != 0)
		return false;
	fd = leaf_open(i, dirfd);
	return fd >= 0;
}

int leaf_chown(struct inspector *i, int dirfd, uid_t uid, gid_t gid, const char *const *delegation)
{
	_cleanup_close_ int fd = leaf_open(i, dirfd);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	return files_give(fd, uid, gid, delegation);
}

int leaf_remove(struct inspector *i, int dirfd)
{
	_cleanup_close_ int fd = leaf_open(i, dirfd);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (unlinkat(dirfd, LEAF_NAME, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return errno == ENOTEMPTY ? -EBUSY : -errno;
	return 0;
}

static bool is_named(const char *path)
{
	const char *name = strrchr(path, '/');

	return strcmp(name ? name + 1 : path, LEAF_NAME) == 0;
}

int leaf_is(struct inspector *i, int fd, const char *path)
{
	return path && is_named(path) ? mark_get(i, fd) : 0;
}

int leaf_fold(struct inspector *i, const struct hierarchy *h, char *path)
{
	_cleanup_close_ int fd = -EBADF;
	struct node node;
	char *name;
	int r;

	if (!h->v2 || !is_named(path))
		return 0;
	r = cgroup_stat_path(h->root_fd, h->dev, path, strlen(path), &node);
	if (r >= 0 && is_known(h->dev, node.id)) {
		r = 1;
	} else {
		fd = cgroup_open_path(h->root_fd, path, strlen(path));
		if (fd < 0)
			return fd == -ENOENT || fd == -ENODEV ? 0 : fd;
		r = mark_get(i, fd);
	}
	name = strrchr(path, '/');
	if (r == 1)
		name[name == path] = '\0';
	return r;
}
