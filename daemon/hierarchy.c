/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hierarchy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../policy/controller.h"
#include "../policy/path.h"
#include "cleanup.h"
#include "mountinfo.h"
#include "proc.h"

#define UNIFIED "unified"
#define PERF "perf_event"
/* A hierarchy of /proc/PID/cgroup takes a line of up to 4,096 characters and a bit; mounts up to
 * 8,192. */
#define TEXT_MAX ((size_t)16 << 20)

/* What the discovery works with. */
struct discovery {
	struct hierarchies found;
	const char *cgroup; /* the text of /proc/self/cgroup */
	const char *ignore;
	char *what;
	unsigned what_size;
};

/* Splits a comma list: the next non-empty item of *at. */
static bool item_next(const char **at, const char **ret, size_t *ret_len)
{
	while (**at == ',')
		++*at;
	if (!**at)
		return false;
	*ret = *at;
	*ret_len = strcspn(*at, ",");
	*at += *ret_len;
	return true;
}

static bool item_is(const char *item, size_t len, const char *text)
{
	return strlen(text) == len && memcmp(item, text, len) == 0;
}

static bool list_has(const char *list, const char *name, size_t len)
{
	const char *item;
	size_t item_len;

	while (list && item_next(&list, &item, &item_len))
		if (item_len == len && memcmp(item, name, len) == 0)
			return true;
	return false;
}

/* Appends to a comma list. */
static bool list_append(char *list, size_t size, const char *item, size_t len)
{
	size_t n = strlen(list);

	if (n + (n > 0) + len >= size)
		return false;
	if (n > 0)
		list[n++] = ',';
	memcpy(list + n, item, len);
	list[n + len] = '\0';
	return true;
}

/* Every item of `a` is one of `b` and the other way round. */
static bool list_equal(const char *a, const char *b)
{
	for (unsigned turn = 0; turn < 2; turn++) {
		const char *at = turn ? b : a, *other = turn ? a : b, *item;
		size_t len;

		while (item_next(&at, &item, &len))
			if (!list_has(other, item, len))
				return false;
	}
	return true;
}

static int __attribute__((format(printf, 3, 4)))
fail(struct discovery *d, int err, const char *format, ...)
{
	va_list args;

	if (d->what && d->what_size > 0) {
		va_start(args, format);
		vsnprintf(d->what, d->what_size, format, args);
		va_end(args);
	}
	return err;
}

/* One line of /proc/PID/cgroup: "4:memory:/a/b". The path may hold colons, the rest not. */
struct line {
	int id;
	const char *names, *path;
	size_t names_len, path_len;
};

/* Moves *at behind the line. False: the text ends, or the line was cut or is no such line. */
static bool line_next(const char **at, const char *text_end, struct line *ret)
{
	const char *p = *at, *end = memchr(p, '\n', text_end - p), *colon;
	unsigned long id = 0;

	if (!end)
		return false;
	*at = end + 1;
	for (; *p >= '0' && *p <= '9' && id < INT32_MAX / 10; p++)
		id = id * 10 + (unsigned long)(*p - '0');
	if (*p++ != ':')
		return false;
	colon = memchr(p, ':', end - p);
	if (!colon)
		return false;
	*ret = (struct line){
		.id = (int)id,
		.names = p,
		.names_len = colon - p,
		.path = colon + 1,
		.path_len = end - colon - 1,
	};
	return true;
}

static bool line_matches(const struct line *l, const struct hierarchy *h)
{
	if (h->id >= 0)
		return l->id == h->id;
	return item_is(l->names, l->names_len, h->proc_name);
}

/* Options that shape the superblock and are compared with those of a second mount. */
static bool is_flag(const char *item, size_t len)
{
	return list_has("noprefix,xattr,cpuset_v2_mode,favordynmods", item, len);
}

/* The controllers (and name=X) among a v1 mount's options. */
static int options_split(const char *options, struct hierarchy *ret)
{
	const char *item;
	size_t len;

	while (item_next(&options, &item, &len)) {
		bool fits = true;

		if (is_flag(item, len))
			fits = list_append(ret->flags, sizeof(ret->flags), item, len);
		else if (!list_has("rw,ro,clone_children", item, len) &&
			 strncmp(item, "release_agent=", strlen("release_agent=")) != 0)
			fits = list_append(ret->proc_name, sizeof(ret->proc_name), item, len);
		if (!fits)
			return -E2BIG;
	}
	return 0;
}

/* Takes id and order of the names from /proc/self/cgroup, the order that everybody sees. */
static int name_v1(struct discovery *d, const char *options, struct hierarchy *h)
{
	const char *at = d->cgroup, *end = at + strlen(at);
	struct line line;
	int r;

	r = options_split(options, h);
	if (r < 0)
		return r;
	h->id = -1;
	while (line_next(&at, end, &line)) {
		char names[HIERARCHY_NAME_MAX];

		if (line.names_len >= sizeof(names))
			continue;
		memcpy(names, line.names, line.names_len);
		names[line.names_len] = '\0';
		if (names[0] && list_equal(names, h->proc_name)) {
			strcpy(h->proc_name, names);
			h->id = line.id;
			break;
		}
	}
	strcpy(h->name, h->proc_name);
	return 0;
}

/* "unified" and the controllers that the root has and nobody wants to be left alone. */
static int name_v2(struct discovery *d, struct hierarchy *h)
{
	char text[4096], *save = NULL;
	ssize_t n;

	strcpy(h->name, UNIFIED);
	n = proc_read(h->root_fd, "cgroup.controllers", text, sizeof(text));
	if (n < 0)
		return n;
	for (char *c = strtok_r(text, " \n", &save); c; c = strtok_r(NULL, " \n", &save))
		if (!list_has(d->ignore, c, strlen(c)) &&
			!list_append(h->name, sizeof(h->name), c, strlen(c)))
			return -E2BIG;
	return 0;
}

static bool is_ignored(const struct discovery *d, const struct hierarchy *h)
{
	const char *at = h->v2 ? UNIFIED : h->name, *item;
	size_t len;

	while (item_next(&at, &item, &len))
		if (list_has(d->ignore, item, len))
			return true;
	return false;
}

/* memory.use_hierarchy of 0 at the root: a kernel before 5.11, whose children may still choose. */
static bool memory_use_hierarchy(const struct hierarchy *h)
{
	char text[8];

	if (h->v2 || !list_has(h->name, "memory", strlen("memory")))
		return false;
	return proc_read(h->root_fd, "memory.use_hierarchy", text, sizeof(text)) > 0 &&
	       text[0] == '0';
}

static bool is_known(const struct discovery *d, uint64_t dev)
{
	for (unsigned i = 0; i < d->found.n; i++)
		if (d->found.list[i].dev == dev)
			return true;
	return false;
}

/* Adds the hierarchy whose root is open as root_fd (taken on success). */
static int add(struct discovery *d, bool v2, const char *options, int root_fd)
{
	struct hierarchies *all = &d->found;
	struct hierarchy h = {.index = all->n, .v2 = v2, .root_fd = root_fd};
	struct stat st;
	int r;

	if (fstat(root_fd, &st) < 0)
		return -errno;
	h.dev = st.st_dev;
	h.root_id = st.st_ino;
	r = v2 ? name_v2(d, &h) : name_v1(d, options, &h);
	if (r < 0)
		return r;
	if (is_ignored(d, &h))
		return 0;
	if (all->n == HIERARCHIES_MAX)
		return -E2BIG;
	h.use_hierarchy = memory_use_hierarchy(&h);
	all->list[all->n++] = h;
	return 1;
}

/*
 * Opens a mount's root where it is mounted. -EXDEV: something else is to be seen there, for another
 * mount hides this one.
 */
static int mount_open(const struct mountinfo *m)
{
	_cleanup_close_ int fd =
		open(m->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct statfs fs;
	struct statx sx;

	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &fs) < 0)
		return -errno;
	if (fs.f_type != (m->v2 ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC))
		return -EXDEV;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &sx) < 0)
		return -errno;
	if (sx.stx_dev_major != m->major || sx.stx_dev_minor != m->minor)
		return -EXDEV;
	/* before 5.8 there is no such field */
	if ((sx.stx_mask & STATX_MNT_ID) && sx.stx_mnt_id != m->id)
		return -EXDEV;
	return TAKE_FD(fd);
}

static int add_mounted(struct discovery *d)
{
	_cleanup_free_ struct mountinfo *m = malloc(sizeof(*m));
	_cleanup_free_ char *text = NULL;
	const char *at;
	ssize_t n;

	if (!m)
		return -ENOMEM;
	n = proc_read_heap(AT_FDCWD, "/proc/self/mountinfo", TEXT_MAX, &text);
	if (n < 0)
		return fail(d, n, "/proc/self/mountinfo");
	at = text;
	while (mountinfo_next(&at, m)) {
		_cleanup_close_ int fd = -EBADF;
		int r;

		if (strcmp(m->root, "/") != 0 || is_known(d, makedev(m->major, m->minor)))
			continue;
		fd = mount_open(m);
		if (fd < 0)
			continue; /* hidden or out of reach; the hierarchy may have another mount */
		r = add(d, m->v2, m->options, fd);
		if (r < 0)
			return fail(d, r, "%s", m->target);
		if (r > 0)
			(void)TAKE_FD(fd);
	}
	return 0;
}

/* A v1 hierarchy of one controller, or of a name alone, that no path shows. */
static int mount_detached(const char *item)
{
	_cleanup_close_ int fs = -EBADF;
	_cleanup_close_ int mnt = -EBADF;
	int fd, r;

	fs = fsopen("cgroup", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -errno;
	if (strncmp(item, "name=", 5) == 0) {
		r = fsconfig(fs, FSCONFIG_SET_STRING, "name", item + 5, 0);
		if (r == 0)
			r = fsconfig(fs, FSCONFIG_SET_FLAG, "none", NULL, 0);
	} else {
		r = fsconfig(fs, FSCONFIG_SET_FLAG, item, NULL, 0);
	}
	if (r < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	mnt = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (mnt < 0)
		return -errno;
	/* fsmount gives an O_PATH fd; one that reads keeps the mount just as well */
	fd = openat(mnt, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int mount_missing(struct discovery *d, const char *list)
{
	const char *item;
	size_t len;

	while (list && item_next(&list, &item, &len)) {
		_cleanup_free_ char *name = strndup(item, len);
		_cleanup_free_ char *cgroup = NULL;
		_cleanup_close_ int fd = -EBADF;
		const char *before = d->cgroup;
		ssize_t n;
		int r;

		if (!name)
			return -ENOMEM;
		if (hierarchy_find(&d->found, item, len) || list_has(d->ignore, item, len))
			continue;
		fd = mount_detached(name);
		if (fd < 0)
			return fail(d, fd, "%s", name);
		/* it has a number now */
		n = proc_read_heap(AT_FDCWD, "/proc/self/cgroup", TEXT_MAX, &cgroup);
		if (n < 0)
			return fail(d, n, "/proc/self/cgroup");
		d->cgroup = cgroup;
		r = add(d, false, name, fd);
		d->cgroup = before;
		if (r < 0)
			return fail(d, r, "%s", name);
		if (r > 0)
			(void)TAKE_FD(fd);
	}
	return 0;
}

/* What v2 has, under the names that clients of v1 know: a controller that no v1 hierarchy has, and
 * where there is v2 alone also what it has without a controller. */
static int name_aliases(struct discovery *d, struct hierarchy *h)
{
	const struct controller *row;

	for (unsigned i = 0; (row = controller_row(i)); i++) {
		size_t len = strlen(row->v1);
		bool there = row->flags & CONTROLLER_ENABLED
				     ? list_has(h->name, row->name, strlen(row->name))
				     : d->found.n == 1;

		if (!there || (row->flags & CONTROLLER_PROGRAM) ||
			hierarchy_find(&d->found, row->v1, (unsigned)len) ||
			list_has(d->ignore, row->v1, len))
			continue;
		if (!list_append(h->name, sizeof(h->name), row->v1, len))
			return -E2BIG;
	}
	return 0;
}

static int aliases(struct discovery *d)
{
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < d->found.n; i++)
		if (d->found.list[i].v2)
			r = name_aliases(d, &d->found.list[i]);
	return r;
}

static bool has_v1_perf(const char *cgroup, size_t n)
{
	const char *at = cgroup;
	struct line l;

	while (line_next(&at, cgroup + n, &l)) {
		char names[HIERARCHY_NAME_MAX];

		if (l.names_len >= sizeof(names))
			continue;
		memcpy(names, l.names, l.names_len);
		names[l.names_len] = '\0';
		if (list_has(names, PERF, sizeof(PERF) - 1))
			return true;
	}
	return false;
}

static int discover(struct discovery *d, const char *mount)
{
	_cleanup_free_ char *cgroup = NULL;
	ssize_t n;
	int r;

	n = proc_read_heap(AT_FDCWD, "/proc/self/cgroup", TEXT_MAX, &cgroup);
	if (n < 0)
		return fail(d, n, "/proc/self/cgroup");
	d->cgroup = cgroup;
	d->found.v1_perf = has_v1_perf(cgroup, (size_t)n);
	r = add_mounted(d);
	if (r == 0)
		r = mount_missing(d, mount);
	if (r == 0)
		r = aliases(d);
	if (r == 0 && d->found.n == 0)
		r = fail(d, -ENODEV, "no cgroup hierarchy is mounted");
	return r;
}

int hierarchies_discover(struct hierarchies *ret, const char *mount, const char *ignore,
	char *ret_what, unsigned size)
{
	_cleanup_free_ struct discovery *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->ignore = ignore;
	d->what = ret_what;
	d->what_size = size;
	r = discover(d, mount);
	if (r < 0) {
		hierarchies_done(&d->found);
		return r;
	}
	*ret = d->found;
	return 0;
}

static int names_by_program(struct hierarchies *all, struct hierarchy *h)
{
	const struct controller *row;

	for (unsigned i = 0; (row = controller_row(i)); i++) {
		size_t len = strlen(row->v1);

		if (!(row->flags & CONTROLLER_PROGRAM) ||
			hierarchy_find(all, row->v1, (unsigned)len))
			continue;
		if (!list_append(h->name, sizeof(h->name), row->v1, len))
			return -E2BIG;
		h->devices = true;
	}
	return 0;
}

int hierarchies_by_program(struct hierarchies *all)
{
	for (unsigned i = 0; i < all->n; i++)
		if (all->list[i].v2)
			return names_by_program(all, &all->list[i]);
	return 0;
}

void hierarchies_done(struct hierarchies *h)
{
	for (unsigned i = 0; i < h->n; i++)
		close_fd(&h->list[i].root_fd);
	h->n = 0;
}

const struct hierarchy *hierarchy_find(const struct hierarchies *h, const char *name, unsigned len)
{
	if (len == 0)
		return NULL;
	for (unsigned i = 0; i < h->n; i++)
		if (item_is(name, len, h->list[i].name) || list_has(h->list[i].name, name, len))
			return &h->list[i];
	return NULL;
}

bool hierarchy_governs_devices(const struct hierarchy *h)
{
	static const char name[] = "devices";

	return h->v2 || list_has(h->name, name, sizeof(name) - 1);
}

int hierarchy_path(const struct hierarchy *h, const char *text, unsigned len, char *ret)
{
	static const char deleted[] = " (deleted)";
	const size_t suffix = sizeof(deleted) - 1;
	const char *at = text;
	struct line l;

	do
		if (!line_next(&at, text + len, &l))
			return -ENOENT;
	while (!line_matches(&l, h));

	if (l.path_len >= PATH_TEXT_MAX)
		return -ENAMETOOLONG;
	if (l.path_len == 0 || l.path[0] != '/')
		return -EINVAL;
	if (l.path_len >= 3 && memcmp(l.path, "/..", 3) == 0 &&
		(l.path_len == 3 || l.path[3] == '/'))
		return -EXDEV;
	if (l.path_len > suffix && memcmp(l.path + l.path_len - suffix, deleted, suffix) == 0)
		return -ESTALE;
	memcpy(ret, l.path, l.path_len);
	ret[l.path_len] = '\0';
	return 0;
}
