/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "empty.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroupfs.h"
#include "cleanup.h"
#include "leaf.h"

/* cgroup.events: "populated 0\nfrozen 0\n". 1 or 0: populated, which counts what is below, too. */
static int events_read(int dirfd, bool *ret_frozen)
{
	char text[128];
	ssize_t n = cgroup_read_small(dirfd, "cgroup.events", text, sizeof(text));
	const char *at;

	if (n < 0)
		return (int)n;
	*ret_frozen = strstr(text, "frozen 1") != NULL;
	at = strstr(text, "populated ");
	return at ? at[strlen("populated ")] == '1' : -EINVAL;
}

static int procs_any(int dirfd)
{
	_cleanup_close_ int fd = cgroup_open_file(dirfd, "cgroup.procs", O_RDONLY, NULL);
	char c;
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, &c, 1);
	return n < 0 ? -errno : n > 0;
}

int empty_look(const struct hierarchy *h, int dirfd, bool *ret_frozen)
{
	return h->v2 ? events_read(dirfd, ret_frozen) : procs_any(dirfd);
}

int empty_check(const struct hierarchy *h, const char *path, uint64_t id, bool *ret_frozen)
{
	_cleanup_close_ int fd = cgroup_open_path(h->root_fd, path, strlen(path));
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_ino != id)
		return -ESTALE;
	return empty_look(h, fd, ret_frozen);
}

static int leaf_clear(struct inspector *i, int parent, const char *name, uint64_t id)
{
	_cleanup_close_ int fd = cgroup_open(parent, name);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	return st.st_ino == id ? leaf_remove(i, fd) : -ESTALE;
}

int empty_remove(struct inspector *i, const struct hierarchy *h, const char *path, uint64_t id,
	uint64_t *ret_parent)
{
	const char *name = strrchr(path, '/') + 1;
	size_t len = name - path > 1 ? (size_t)(name - path) - 1 : 1;
	_cleanup_close_ int parent = cgroup_open_path(h->root_fd, path, len);
	struct stat st, up;
	int r = 0;

	if (parent < 0)
		return parent;
	if (fstat(parent, &up) < 0 || fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (st.st_ino != id)
		return -ESTALE;
	if (h->v2 && st.st_nlink == 3)
		r = leaf_clear(i, parent, name, id);
	if (r < 0)
		return r;
	/* The kernel itself sees to it that nothing is in it. */
	if (unlinkat(parent, name, AT_REMOVEDIR) < 0)
		return errno == ENOTEMPTY ? -EBUSY : -errno;
	*ret_parent = up.st_ino;
	return 1;
}
