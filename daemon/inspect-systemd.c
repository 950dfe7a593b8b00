/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which cgroups are systemd's, who tolerates no second writer (systemd's CGROUP_DELEGATION.md). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "inspect-core.h"

/* More than any path can have. */
#define LEVELS_MAX 2048

static const char *const unit_endings[] = {
	".slice",
	".scope",
	".service",
	".socket",
	".mount",
	".swap",
};

/* As sd_booted(3) has it. Looked at each time, for nothing tells us that it was started. */
static bool systemd_runs(const struct child *c)
{
	struct stat st;

	return fstatat(c->root_fd, "run/systemd/system", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISDIR(st.st_mode);
}

static bool unit_name(const char *path)
{
	const char *name = strrchr(path, '/');
	const char *dot = name ? strrchr(name, '.') : NULL;

	for (size_t i = 0; dot && i < sizeof(unit_endings) / sizeof(*unit_endings); i++)
		if (strcmp(dot, unit_endings[i]) == 0)
			return true;
	return false;
}

/* 1: systemd made it. Not each of its units has the attribute. */
static int systemd_made(struct child *c, int dirfd)
{
	char link[32], path[4097];
	ssize_t n;

	if (fgetxattr(dirfd, "trusted.invocation_id", NULL, 0) >= 0)
		return 1;
	snprintf(link, sizeof(link), "self/fd/%d", dirfd);
	n = readlinkat(c->proc_fd, link, path, sizeof(path) - 1);
	if (n < 0)
		return -errno;
	path[n] = '\0';
	return unit_name(path);
}

static bool is_root(const struct child *c, const struct stat *st)
{
	for (unsigned i = 0; i < c->hierarchies->n; i++) {
		const struct hierarchy *h = &c->hierarchies->list[i];

		if (h->dev == st->st_dev && h->root_id == st->st_ino)
			return true;
	}
	return false;
}

static bool carries_delegate(int dirfd)
{
	char value[2];

	/* user.delegate says the same, but any owner can set it. */
	return fgetxattr(dirfd, "trusted.delegate", value, sizeof(value)) == 1 && value[0] == '1';
}

/* 1: it or one above it, up to the root that the daemon sees, was delegated. */
static int delegated(const struct child *c, int dirfd)
{
	_cleanup_close_ int up = -EBADF;
	struct stat st;

	for (unsigned level = 0; level < LEVELS_MAX; level++) {
		int at = up >= 0 ? up : dirfd, parent;

		if (carries_delegate(at))
			return 1;
		if (fstat(at, &st) < 0)
			return -errno;
		if (is_root(c, &st))
			return 0;
		parent = openat(at, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (parent < 0)
			return -errno;
		close_fd(&up);
		up = parent;
	}
	return -ELOOP;
}

int answer_systemd(struct child *c, int dirfd)
{
	struct stat st;
	int r;

	if (dirfd < 0 || fstat(dirfd, &st) < 0)
		return -EBADF;
	if (!systemd_runs(c) || st.st_uid != 0)
		return 0;
	r = is_root(c, &st) ? 1 : systemd_made(c, dirfd);
	if (r <= 0)
		return r;
	r = delegated(c, dirfd);
	return r < 0 ? r : !r;
}
