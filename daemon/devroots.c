/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devroots.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../policy/device.h"
#include "cleanup.h"
#include "gpu.h"
#include "mountinfo.h"
#include "proc.h"

#define DEV "/dev/"
#define MOUNTINFO_MAX ((size_t)16 << 20)

static int root_open(const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int device_roots_open(struct device_roots *ret)
{
	struct device_roots r = {
		root_open("/proc"), root_open("/sys"), root_open("/dev"), gpu_cards};
	int bad = r.proc < 0 ? r.proc : r.sys < 0 ? r.sys : r.dev < 0 ? r.dev : 0;

	if (bad < 0)
		device_roots_close(&r);
	else
		*ret = r;
	return bad;
}

void device_roots_close(struct device_roots *r)
{
	close_fd(&r->proc);
	close_fd(&r->sys);
	close_fd(&r->dev);
}

int device_line(int dirfd, const char *path, char *buf, size_t size)
{
	ssize_t n = proc_read(dirfd, path, buf, size);

	if (n < 0)
		return (int)n;
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

int device_major(const char *text, uint8_t type, const char *driver, size_t len, uint32_t *ret)
{
	const char *at = text;
	bool here = false;

	for (; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		unsigned major;
		int n = 0;

		if (strncmp(at, "Character devices:", 18) == 0)
			here = type == DEVICE_CHAR;
		else if (strncmp(at, "Block devices:", 14) == 0)
			here = type == DEVICE_BLOCK;
		/* A line of a number and a name, which never holds a newline. */
		else if (here && sscanf(at, "%u %n", &major, &n) == 1 && n > 0 &&
			 strcspn(at + n, "\n") == len && memcmp(at + n, driver, len) == 0) {
			*ret = major;
			return 0;
		}
	}
	return -ENOENT;
}

int device_major_read(
	const struct device_roots *r, uint8_t type, const char *driver, size_t len, uint32_t *ret)
{
	_cleanup_free_ char *text = NULL;
	ssize_t n = proc_read_heap(r->proc, "devices", 1 << 20, &text);

	return n < 0 ? (int)n : device_major(text, type, driver, len, ret);
}

static bool is_device(mode_t mode, uint8_t type)
{
	return type == DEVICE_BLOCK ? S_ISBLK(mode) : S_ISCHR(mode);
}

/* The kernel's own name below /dev, of its uevent file. */
static int kernel_name(const struct device_roots *r, uint8_t type, uint32_t major, uint32_t minor,
	char *buf, size_t size)
{
	char path[64], text[4096], *at;

	snprintf(path, sizeof(path), "dev/%s/%" PRIu32 ":%" PRIu32 "/uevent",
		type == DEVICE_BLOCK ? "block" : "char", major, minor);
	if (proc_read(r->sys, path, text, sizeof(text)) < 0)
		return -ENOENT;
	at = strstr(text, "DEVNAME=");
	if (!at || (at > text && at[-1] != '\n'))
		return -ENOENT;
	at += 8;
	at[strcspn(at, "\n")] = '\0';
	return (size_t)snprintf(buf, size, "%s", at) < size ? 0 : -ENAMETOOLONG;
}

void device_node(const struct device_roots *r, uint8_t type, uint32_t major, uint32_t minor,
	char *buf, size_t size)
{
	char name[256];
	struct stat st;

	buf[0] = '\0';
	if (kernel_name(r, type, major, minor, name, sizeof(name)) < 0 ||
		fstatat(r->dev, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (is_device(st.st_mode, type) && st.st_rdev == makedev(major, minor) &&
		(size_t)snprintf(buf, size, DEV "%s", name) >= size)
		buf[0] = '\0';
}

/* ---- paths */

/* DONT_SYNC: nobody who serves a file system is asked. */
static int identify(int fd, struct statx *ret)
{
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS | STATX_MNT_ID,
		    ret) < 0)
		return -errno;
	return ret->stx_mask & STATX_MNT_ID ? 0 : -EOPNOTSUPP;
}

/*
 * The kernel tells nobody which user namespace a file system belongs to. But devtmpfs is the
 * initial one's alone, a user namespace cannot mount it; in devpts, whoever's, there is nothing but
 * terminals; and what is of /dev's own file system belongs to whoever made this daemon's /dev.
 */
static int trusted(const struct device_roots *r, const struct statx *root, const struct statx *at)
{
	_cleanup_free_ char *text = NULL;
	char type[16];
	ssize_t n;

	if (at->stx_dev_major == root->stx_dev_major && at->stx_dev_minor == root->stx_dev_minor)
		return 0;
	n = proc_read_heap(r->proc, "self/mountinfo", MOUNTINFO_MAX, &text);
	if (n < 0)
		return (int)n;
	if (!mountinfo_type(text, at->stx_mnt_id, type, sizeof(type)))
		return -ENOTSUP;
	return strcmp(type, "devtmpfs") == 0 || strcmp(type, "devpts") == 0 ? 0 : -ENOTSUP;
}

/* Where a mount has nodev, no node is a device. */
static int device_allowed(int fd)
{
	struct statvfs fs;

	if (fstatvfs(fd, &fs) < 0)
		return -errno;
	return fs.f_flag & ST_NODEV ? -ENOTSUP : 0;
}

static int step(int dirfd, const char *name)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	long fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));

	if (fd >= 0)
		return (int)fd;
	if (errno == ELOOP || errno == EXDEV)
		return -ENOTSUP;
	return errno == ENOTDIR || errno == ENAMETOOLONG || errno == EACCES ? -ENOENT : -errno;
}

/* The next component of a path. */
static int component(const char **path, char *name, size_t size)
{
	size_t len = strcspn(*path, "/");

	if (len == 0 || len >= size)
		return -ENOENT;
	memcpy(name, *path, len);
	name[len] = '\0';
	*path += len;
	/* A slash at the end asks for a directory, which is no device. */
	if (**path == '/' && (*path)[1])
		++*path;
	return strcmp(name, "..") == 0 ? -ENOTSUP : 0;
}

/* One component and file system after the other: to walk on into one that is not trusted could mean
 * to ask a process of its owner, and wait. */
static int walk(const struct device_roots *r, const char *path, struct statx *ret)
{
	_cleanup_close_ int at = fcntl(r->dev, F_DUPFD_CLOEXEC, 3);
	char name[DEVICE_NAME_MAX + 1];
	struct statx root;
	int err = at < 0 ? -errno : identify(at, &root);

	if (err < 0)
		return err;
	for (*ret = root; err >= 0 && *path;) {
		uint64_t mount = ret->stx_mnt_id;
		int next;

		err = component(&path, name, sizeof(name));
		next = err < 0 ? err : step(at, name);
		if (next < 0)
			return next;
		close(at);
		at = next;
		err = identify(at, ret);
		if (err >= 0 && ret->stx_mnt_id != mount)
			err = trusted(r, &root, ret);
	}
	return err < 0 ? err : device_allowed(at);
}

int device_node_resolve(const struct device_roots *r, const char *path, uint8_t *ret_type,
	uint32_t *ret_major, uint32_t *ret_minor)
{
	struct statx st;
	int err;

	if (strncmp(path, DEV, strlen(DEV)) != 0 || !path[strlen(DEV)])
		return -EINVAL;
	err = walk(r, path + strlen(DEV), &st);
	if (err < 0)
		return err;
	if (!S_ISCHR(st.stx_mode) && !S_ISBLK(st.stx_mode))
		return -ENXIO;
	*ret_type = S_ISBLK(st.stx_mode) ? DEVICE_BLOCK : DEVICE_CHAR;
	*ret_major = st.stx_rdev_major;
	*ret_minor = st.stx_rdev_minor;
	return 0;
}
