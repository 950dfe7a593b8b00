/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "measure.h"

/* What cgmd makes for tasks of a cgroup that cannot hold them, and knows again; see daemon/leaf.h.
 */
#define LEAF ".cgm_leaf"
#define LEAF_MARK "trusted.cgmd.leaf"

bool place_pure(void)
{
	struct statfs fs;

	return statfs(CGROUPS, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

int place_open(const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), CGROUPS "%s/%s", place_pure() ? "" : "/memory", name);
	return need_errno(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), path);
}

int place_open_governing(const char *name, bool v2)
{
	char path[96];
	int fd;

	if (place_pure() && !v2)
		return -ENOENT;
	snprintf(path, sizeof(path), CGROUPS "%s/%s",
		place_pure() ? ""
		: v2	     ? "/unified"
			     : "/devices",
		name);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT)
		need(-errno, path);
	return fd < 0 ? -ENOENT : fd;
}

const char *place_limit(void)
{
	return place_pure() ? "memory.max" : "memory.limit_in_bytes";
}

const char *place_home(void)
{
	return place_pure() ? LEAF : ".";
}

int place_write(int dirfd, const char *name, const char *text)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

int place_move(int dirfd, const char *name, pid_t pid)
{
	char path[64], text[16];

	snprintf(path, sizeof(path), "%s/cgroup.procs", name);
	snprintf(text, sizeof(text), "%d", (int)pid);
	return place_write(dirfd, path, text);
}

/* A new v1 cpuset takes no task before it has these. */
static void copy_key(int above, int below, const char *key)
{
	char text[256];
	int fd = openat(above, key, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return;
	text[n] = '\0';
	need(place_write(below, key, text), key);
}

static void make_in(int top, const char *name, uid_t owner)
{
	static const char *const delegated[] = {
		"cgroup.procs", "tasks", "cgroup.threads", "cgroup.subtree_control"};
	int fd;

	if (mkdirat(top, name, 0755) < 0 && errno != EEXIST)
		need(-errno, name);
	fd = need_errno(openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), name);
	copy_key(top, fd, "cpuset.cpus");
	copy_key(top, fd, "cpuset.mems");
	need_errno(fchown(fd, owner, owner), name);
	for (size_t i = 0; i < sizeof(delegated) / sizeof(delegated[0]); i++)
		if (fchownat(fd, delegated[i], owner, owner, 0) < 0 && errno != ENOENT)
			need(-errno, delegated[i]);
	close(fd);
}

static void each(void (*fn)(int top, const char *name, pid_t id), const char *name, pid_t id)
{
	DIR *dir = opendir(CGROUPS);
	struct dirent *entry;

	if (!dir)
		need(-errno, CGROUPS);
	if (place_pure()) {
		fn(dirfd(dir), name, id);
		closedir(dir);
		return;
	}
	while ((entry = readdir(dir))) {
		int top;

		if (entry->d_name[0] == '.' || entry->d_type != DT_DIR)
			continue;
		top = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		/* cgmd's own directory for its socket is none of them */
		if (faccessat(top, "cgroup.procs", F_OK, 0) == 0)
			fn(top, name, id);
		close(top);
	}
	closedir(dir);
}

static void make_fn(int top, const char *name, pid_t id)
{
	make_in(top, name, (uid_t)id);
}

static void enter_fn(int top, const char *name, pid_t id)
{
	need(place_move(top, name, id), name);
}

void place_make(const char *name, uid_t owner)
{
	if (place_pure())
		need(place_write(AT_FDCWD, CGROUPS "/cgroup.subtree_control", ENABLE), CGROUPS);
	each(make_fn, name, (pid_t)owner);
}

void place_move_all(int dirfd, const char *from, const char *to)
{
	char path[64], text[16384], *end;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", from);
	fd = need_errno(openat(dirfd, path, O_RDONLY | O_CLOEXEC), path);
	/* From its beginning, until it is found empty. */
	while ((n = pread(fd, text, sizeof(text) - 1, 0)) > 0) {
		text[n] = '\0';
		for (char *line = text; (end = strchr(line, '\n')); line = end + 1) {
			int r = place_move(dirfd, to, atoi(line));

			if (r != -ESRCH)
				need(r, to);
		}
	}
	need_errno((int)n, path);
	close(fd);
}

void place_settle(const char *name, uid_t owner)
{
	int fd;

	if (!place_pure())
		return;
	fd = place_open(name);
	if (faccessat(fd, LEAF, F_OK, 0) < 0) {
		char path[128], mark[32];
		struct stat st;

		make_in(fd, LEAF, owner);
		snprintf(path, sizeof(path), CGROUPS "/%s/" LEAF, name);
		need_errno(stat(path, &st), path);
		snprintf(mark, sizeof(mark), "%ju", (uintmax_t)st.st_ino);
		need_errno(setxattr(path, LEAF_MARK, mark, strlen(mark), 0), path);
	}
	place_move_all(fd, ".", LEAF);
	need(place_write(fd, "cgroup.subtree_control", ENABLE), "cgroup.subtree_control");
	close(fd);
}

void place_enter(const char *name, pid_t pid)
{
	each(enter_fn, name, pid);
}
