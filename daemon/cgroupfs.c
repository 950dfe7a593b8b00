/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cgroupfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"

#define RESOLVE_SAFE \
	(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)

static int open_beneath(int dirfd, const char *path, uint64_t flags)
{
	struct open_how how = {.flags = flags | O_CLOEXEC | O_NOFOLLOW, .resolve = RESOLVE_SAFE};
	int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

static void node_fill(struct node *ret, const struct stat *st)
{
	*ret = (struct node){
		.uid = st->st_uid,
		.gid = st->st_gid,
		.mode = st->st_mode,
		.children = st->st_nlink > 2 ? (unsigned)st->st_nlink - 2 : 0,
		.id = st->st_ino,
	};
}

int cgroup_open(int dirfd, const char *path)
{
	return open_beneath(dirfd, *path ? path : ".", O_RDONLY | O_DIRECTORY);
}

int cgroup_open_path(int root_fd, const char *path, size_t len)
{
	char buf[PATH_TEXT_MAX + 1];

	if (len < 1 || len > PATH_TEXT_MAX || path[0] != '/')
		return -EINVAL;
	memcpy(buf, path + 1, len - 1);
	buf[len - 1] = '\0';
	return cgroup_open(root_fd, buf);
}

int cgroup_open_file(int dirfd, const char *name, int flags, struct node *ret)
{
	_cleanup_close_ int fd = open_beneath(dirfd, name, (uint64_t)flags | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EISDIR;
	if (ret)
		node_fill(ret, &st);
	return TAKE_FD(fd);
}

int cgroup_stat(int dirfd, struct node *ret)
{
	struct stat st;

	if (fstat(dirfd, &st) < 0)
		return -errno;
	node_fill(ret, &st);
	return 0;
}

int cgroup_stat_parent(int dirfd, uint64_t dev, struct node *ret)
{
	struct stat here, up;

	if (fstatat(dirfd, "..", &up, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	/* ".." of a mount's root is outside of it, or the root itself. */
	if (up.st_dev != dev)
		return 0;
	if (fstat(dirfd, &here) < 0)
		return -errno;
	if (here.st_ino == up.st_ino)
		return 0;
	node_fill(ret, &up);
	return 1;
}

int cgroup_stat_path(int root_fd, uint64_t dev, const char *path, size_t len, struct node *ret)
{
	char buf[PATH_TEXT_MAX + 1];
	struct stat st;

	if (len < 1 || len > PATH_TEXT_MAX || path[0] != '/')
		return -EINVAL;
	memcpy(buf, path + 1, len - 1);
	buf[len - 1] = '\0';
	if (fstatat(root_fd, *buf ? buf : ".", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (st.st_dev != dev)
		return -EXDEV;
	node_fill(ret, &st);
	return 0;
}

#define HALF_PAGE 2048

int cgroup_read(int fd, size_t max, char **ret, size_t *ret_len)
{
	size_t size = 4096, len = 0;
	_cleanup_free_ char *buf = malloc(size);

	for (;;) {
		ssize_t n;

		if (!buf)
			return -ENOMEM;
		n = read(fd, buf + len, size - len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			return -EFBIG;
		/* seq_file leaves half a page free only at the end: no record is that long. */
		if (n < HALF_PAGE && len < size - 1)
			break;
		if (size - len <= 1) {
			char *bigger = realloc(buf, size *= 2);

			if (!bigger)
				return -ENOMEM;
			buf = bigger;
		}
	}
	buf[len] = '\0';
	if (ret_len)
		*ret_len = len;
	*ret = TAKE_PTR(buf);
	return 0;
}

ssize_t cgroup_read_small(int dirfd, const char *name, char *buf, size_t size)
{
	_cleanup_close_ int fd = cgroup_open_file(dirfd, name, O_RDONLY, NULL);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	if ((size_t)n == size - 1)
		return -EFBIG;
	while (n > 0 && buf[n - 1] == '\n')
		n--;
	buf[n] = '\0';
	return n;
}

int cgroup_write_fd(int fd, const char *text, size_t len)
{
	ssize_t n = write(fd, text, len);

	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

int cgroup_write(int dirfd, const char *name, const char *text, size_t len)
{
	/* What is no regular file is opened for writing only by mistake, and takes no text. */
	_cleanup_close_ int fd = open_beneath(dirfd, name, O_WRONLY | O_NONBLOCK | O_NOCTTY);

	return fd < 0 ? fd : cgroup_write_fd(fd, text, len);
}

void cgroup_remove_same(int dirfd, const char *name, uint64_t id)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == id)
		unlinkat(dirfd, name, AT_REMOVEDIR);
}

int cgroup_each(int dirfd, bool directories, int (*fn)(void *userdata, int dirfd, const char *name),
	void *userdata)
{
	int own = cgroup_open(dirfd, ""), r = 0;
	struct dirent *entry;
	DIR *dir;

	if (own < 0)
		return own;
	dir = fdopendir(own);
	if (!dir) {
		r = -errno;
		close(own);
		return r;
	}
	while (r == 0) {
		errno = 0;
		entry = readdir(dir);
		if (!entry) {
			r = -errno;
			break;
		}
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		/* kernfs fills in d_type. */
		if ((entry->d_type == DT_DIR) == directories)
			r = fn(userdata, dirfd, entry->d_name);
	}
	closedir(dir);
	return r;
}

int pids_append(const char *text, int32_t **pids, size_t *n, size_t max)
{
	size_t size = *n;

	while (*text) {
		char *end;
		long pid = strtol(text, &end, 10);

		if (end == text)
			return -EINVAL;
		text = *end ? end + 1 : end;
		/* 0 stands for a task outside the reader's pid namespace. */
		if (pid <= 0 || pid > INT32_MAX)
			continue;
		if (*n >= max)
			return -E2BIG;
		if (*n >= size) {
			int32_t *bigger;

			size = size < 256 ? 512 : size * 2;
			bigger = realloc(*pids, size * sizeof(**pids));
			if (!bigger)
				return -ENOMEM;
			*pids = bigger;
		}
		(*pids)[(*n)++] = (int32_t)pid;
	}
	return 0;
}

static int pid_compare(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return x < y ? -1 : x > y;
}

void pids_sort_unique(int32_t *pids, size_t *n)
{
	size_t kept = 0;

	if (*n == 0)
		return;
	qsort(pids, *n, sizeof(*pids), pid_compare);
	for (size_t i = 1; i < *n; i++)
		if (pids[i] != pids[kept])
			pids[++kept] = pids[i];
	*n = kept + 1;
}

bool pids_have(const int32_t *pids, size_t n, int32_t pid)
{
	return n > 0 && bsearch(&pid, pids, n, sizeof(*pids), pid_compare);
}
