/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "proc.h"

/* include/linux/sched.h; proc(5) documents the field, not the value */
#define PF_EXITING 0x4

/* 65,536 groups of 11 bytes and some 1,500 bytes of the rest */
#define STATUS_MAX ((size_t)1 << 20)

static int proc_open(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	/* of a directory whose process is gone: ESRCH or ENOENT, depending on the kernel */
	return errno == ENOENT ? -ESRCH : -errno;
}

/* seq_file ends a read before the caller's buffer is full only where the next record did not fit
 * into the rest of its own page. The files here have no record of half a page, so a read that
 * leaves half a page free was the last, and one that finds nothing need not follow. */
#define HALF_PAGE 2048

/* Fills buf to `size` or the end of the file, whichever comes first. */
static ssize_t read_upto(int fd, char *buf, size_t size)
{
	size_t n = 0;

	while (n < size) {
		ssize_t r = read(fd, buf + n, size - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		n += r;
		if (r < HALF_PAGE)
			break;
	}
	return n;
}

ssize_t proc_read(int dirfd, const char *name, char *buf, size_t size)
{
	_cleanup_close_ int fd = proc_open(dirfd, name);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read_upto(fd, buf, size);
	if (n < 0)
		return n;
	if ((size_t)n == size)
		return -EFBIG;
	buf[n] = '\0';
	return n;
}

ssize_t proc_read_again(int *fd, int dirfd, const char *name, char *buf, size_t size)
{
	ssize_t n;

	if (*fd < 0)
		*fd = proc_open(dirfd, name);
	if (*fd < 0)
		return *fd;
	n = pread(*fd, buf, size, 0);
	if (n < 0)
		return -errno;
	if ((size_t)n == size)
		return -EFBIG;
	buf[n] = '\0';
	return n;
}

ssize_t proc_read_heap(int dirfd, const char *name, size_t max, char **ret)
{
	_cleanup_close_ int fd = proc_open(dirfd, name);
	_cleanup_free_ char *buf = NULL;
	size_t n = 0, size = 0;

	if (fd < 0)
		return fd;
	do {
		char *grown;
		ssize_t r;

		if (size > max)
			return -EFBIG;
		size = size ? size * 2 : 8192;
		if (size > max)
			size = max + 1;
		grown = realloc(buf, size);
		if (!grown)
			return -ENOMEM;
		buf = grown;
		r = read_upto(fd, buf + n, size - n);
		if (r < 0)
			return r;
		n += r;
	} while (n == size);
	buf[n] = '\0';
	*ret = TAKE_PTR(buf);
	return n;
}

/* The rest of the line that begins with `label`, or NULL. The kernel escapes newlines in Name, so
 * that a process cannot forge a line. */
static const char *line_find(const char *text, const char *label)
{
	size_t len = strlen(label);

	for (const char *p = text; p; p = strchr(p, '\n')) {
		if (*p == '\n')
			p++;
		if (strncmp(p, label, len) == 0)
			return p + len;
	}
	return NULL;
}

/* Skips blanks, not newlines, and reads a number that a blank or the line's end follows. */
static bool u64_next(const char **at, int base, uint64_t *ret)
{
	const char *p = *at + strspn(*at, " \t");
	unsigned long long value;
	char *end;

	/* strtoull would take signs, and blanks over the line's end */
	if (!(*p >= '0' && *p <= '9') && !(base == 16 && *p >= 'a' && *p <= 'f'))
		return false;
	errno = 0;
	value = strtoull(p, &end, base);
	if (errno || !strchr(" \t\n", *end))
		return false;
	*at = end;
	*ret = value;
	return true;
}

static bool id_next(const char **at, uint32_t *ret)
{
	uint64_t value;

	if (!u64_next(at, 10, &value) || value > UINT32_MAX)
		return false;
	*ret = (uint32_t)value;
	return true;
}

/* Real, effective and saved; the line goes on with the file system's. */
static bool ids_parse(const char *text, const char *label, uid_t *ret_r, uid_t *ret_e, uid_t *ret_s)
{
	const char *at = line_find(text, label);

	return at && id_next(&at, ret_r) && id_next(&at, ret_e) && id_next(&at, ret_s);
}

static bool groups_parse(const char *text, struct proc_status *ret)
{
	const char *at = line_find(text, "Groups:");
	gid_t gid;

	ret->n_groups = 0;
	ret->groups_cut = false;
	if (!at)
		return false;
	while (id_next(&at, &gid)) {
		if (ret->n_groups == SUBJECT_GROUPS_MAX) {
			ret->groups_cut = true;
			return true;
		}
		ret->groups[ret->n_groups++] = gid;
	}
	at += strspn(at, " \t");
	return *at == '\n' || *at == '\0';
}

int proc_status_parse(const char *text, struct proc_status *ret)
{
	const char *caps = line_find(text, "CapEff:"), *threads = line_find(text, "Threads:");
	struct proc_status s;
	uint64_t n;

	if (!ids_parse(text, "Uid:", &s.ruid, &s.euid, &s.suid) ||
		!ids_parse(text, "Gid:", &s.rgid, &s.egid, &s.sgid) || !groups_parse(text, &s) ||
		!caps || !u64_next(&caps, 16, &s.caps))
		return -EINVAL;
	s.threads = threads && u64_next(&threads, 10, &n) && n <= UINT32_MAX ? (unsigned)n : 0;
	*ret = s;
	return 0;
}

static int status_read(int dirfd, const char *name, struct proc_status *ret)
{
	_cleanup_free_ char *text = NULL;
	char small[4096];
	ssize_t n;

	/* all but processes of some hundred groups fit */
	n = proc_read(dirfd, name, small, sizeof(small));
	if (n >= 0)
		return proc_status_parse(small, ret);
	if (n != -EFBIG)
		return n;
	n = proc_read_heap(dirfd, name, STATUS_MAX, &text);
	return n < 0 ? n : proc_status_parse(text, ret);
}

int proc_status_read(int proc_fd, struct proc_status *ret)
{
	return status_read(proc_fd, "status", ret);
}

int proc_status_read_pid(int proc_root_fd, pid_t pid, struct proc_status *ret)
{
	char name[32];

	snprintf(name, sizeof(name), "%d/status", (int)pid);
	return status_read(proc_root_fd, name, ret);
}

int proc_idmap_read(int proc_fd, const char *name, struct idmap *ret)
{
	char text[IDMAP_TEXT_MAX];
	ssize_t n = proc_read(proc_fd, name, text, sizeof(text));

	return n < 0 ? n : idmap_parse(text, n, ret);
}

/* Field `n` of stat as proc(5) numbers them, from 3 on. comm (2) may hold ')' and blanks, but
 * nothing after it does. */
static const char *stat_field(const char *text, unsigned n)
{
	const char *at = strrchr(text, ')');

	for (unsigned i = 2; at && i < n; i++) {
		at = strchr(at, ' ');
		if (at)
			at++;
	}
	return at;
}

int proc_exiting_parse(const char *text)
{
	const char *at = stat_field(text, 9);
	uint64_t flags;

	if (!at || !u64_next(&at, 10, &flags))
		return -EINVAL;
	return (flags & PF_EXITING) != 0;
}

/* A task gives its memory up before it leaves its cgroup (do_exit()), so one that has some, by the
 * size in statm, cannot have lied of that. This is many times cheaper to tell than what stat holds.
 */
static int exiting(int dirfd, const char *prefix)
{
	char name[32], text[2048];
	ssize_t n;

	snprintf(name, sizeof(name), "%sstatm", prefix);
	n = proc_read(dirfd, name, text, sizeof(text));
	if (n < 0)
		return (int)n;
	if (text[0] >= '1' && text[0] <= '9')
		return 0;
	snprintf(name, sizeof(name), "%sstat", prefix);
	n = proc_read(dirfd, name, text, sizeof(text));
	return n < 0 ? (int)n : proc_exiting_parse(text);
}

int proc_exiting(int proc_fd)
{
	return exiting(proc_fd, "");
}

int proc_exiting_pid(int proc_root_fd, pid_t pid)
{
	char prefix[16];

	snprintf(prefix, sizeof(prefix), "%d/", (int)pid);
	return exiting(proc_root_fd, prefix);
}

int proc_start_parse(const char *text, uint64_t *ret)
{
	const char *at = stat_field(text, 22);
	uint64_t start;

	if (!at || !u64_next(&at, 10, &start))
		return -EINVAL;
	*ret = start;
	return 0;
}
