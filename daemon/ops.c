/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../policy/throttle.h"
#include "cgroupfs.h"
#include "cleanup.h"
#include "empty.h"
#include "manager.h"

static const char *const throttle_keys[] = {
	"blkio.throttle.read_bps_device",
	"blkio.throttle.read_iops_device",
	"blkio.throttle.write_bps_device",
	"blkio.throttle.write_iops_device",
};

static bool has_controller(const struct hierarchy *h, const char *controller)
{
	size_t len = strlen(controller);

	for (const char *at = h->name; (at = strstr(at, controller)); at += len)
		if ((at == h->name || at[-1] == ',') && (at[len] == ',' || at[len] == '\0'))
			return true;
	return false;
}

bool hierarchy_throttles(const struct hierarchy *h)
{
	return !h->v2 && has_controller(h, "blkio");
}

static int throttle_tighten_key(int parent_fd, int fd, const char *key)
{
	char parent[4096], own[4096], text[64];
	const char *at = parent;
	struct throttle_line line;
	int r;

	r = (int)cgroup_read_small(parent_fd, key, parent, sizeof(parent));
	/* No such file: the kernel has no throttling. */
	if (r <= 0)
		return r == -ENOENT ? 0 : r;
	r = (int)cgroup_read_small(fd, key, own, sizeof(own));
	if (r < 0)
		return r;
	while (throttle_next(&at, &line) == 1) {
		uint64_t limit = throttle_limit(own, line.major, line.minor);

		if (limit != 0 && limit <= line.limit)
			continue;
		r = snprintf(text, sizeof(text), "%u:%u %llu\n", line.major, line.minor,
			(unsigned long long)line.limit);
		r = cgroup_write(fd, key, text, (size_t)r);
		if (r < 0)
			return r;
	}
	return 0;
}

int throttle_tighten(int parent_fd, int fd)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < sizeof(throttle_keys) / sizeof(throttle_keys[0]); i++)
		r = throttle_tighten_key(parent_fd, fd, throttle_keys[i]);
	return r;
}

/* Calls fn with each cgroup from the root to `path` and its parent. */
static int each_on_path(const struct hierarchy *h, const char *path,
	int (*fn)(int parent_fd, int fd, void *userdata), void *userdata)
{
	_cleanup_close_ int parent_fd = cgroup_open(h->root_fd, "");
	int r = parent_fd < 0 ? parent_fd : 0;

	for (const char *at = path + 1; r >= 0 && *at; at += *at == '/') {
		char name[PATH_NAME_MAX + 1];
		size_t len = strcspn(at, "/");
		int fd;

		if (len > PATH_NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, at, len);
		name[len] = '\0';
		at += len;
		fd = cgroup_open(parent_fd, name);
		if (fd < 0)
			return fd;
		r = fn(parent_fd, fd, userdata);
		close_fd(&parent_fd);
		parent_fd = fd;
	}
	return r;
}

static int tighten_one(int parent_fd, int fd, void *userdata)
{
	return throttle_tighten(parent_fd, fd);
}

int throttle_path(const struct hierarchy *h, const char *path)
{
	return each_on_path(h, path, tighten_one, NULL);
}

struct lines {
	const char *key;
	char *text;
	size_t len;
};

static int lines_append(int parent_fd, int fd, void *userdata)
{
	struct lines *lines = userdata;
	char buf[4096], *bigger;
	ssize_t n = cgroup_read_small(parent_fd, lines->key, buf, sizeof(buf));

	/* The hierarchy's own root has no limits. */
	if (n <= 0)
		return n == -ENOENT ? 0 : (int)n;
	bigger = realloc(lines->text, lines->len + (size_t)n + 2);
	if (!bigger)
		return -ENOMEM;
	lines->text = bigger;
	memcpy(bigger + lines->len, buf, (size_t)n);
	lines->len += (size_t)n;
	bigger[lines->len++] = '\n';
	bigger[lines->len] = '\0';
	return 0;
}

int throttle_ancestors(const struct hierarchy *h, const char *path, const char *key, char **ret)
{
	struct lines lines = {.key = key};
	int r = each_on_path(h, path, lines_append, &lines);

	if (r >= 0 && !lines.text) {
		lines.text = strdup("");
		r = lines.text ? 0 : -ENOMEM;
	}
	if (r < 0) {
		free(lines.text);
		return r;
	}
	*ret = lines.text;
	return 0;
}

/* A new v1 cpuset is empty, and nothing can be moved into it. */
static int cpuset_inherit(int parent_fd, int fd, const char *key)
{
	char buf[4096];
	ssize_t n = cgroup_read_small(fd, key, buf, sizeof(buf));

	if (n != 0)
		return n < 0 && n != -ENOENT ? (int)n : 0;
	n = cgroup_read_small(parent_fd, key, buf, sizeof(buf));
	return n <= 0 ? (int)n : cgroup_write(fd, key, buf, (size_t)n);
}

static int configure_v1(const struct hierarchy *h, int parent_fd, int fd)
{
	int r = 0;

	if (has_controller(h, "cpuset")) {
		r = cpuset_inherit(parent_fd, fd, "cpuset.cpus");
		if (r >= 0)
			r = cpuset_inherit(parent_fd, fd, "cpuset.mems");
	}
	if (r >= 0 && h->use_hierarchy)
		r = cgroup_write(fd, "memory.use_hierarchy", "1\n", 2);
	if (r >= 0 && hierarchy_throttles(h))
		r = throttle_tighten(parent_fd, fd);
	return r;
}

static const char *const *delegation_v1(const struct manager *m)
{
	static const char *const files[] = {"cgroup.procs", "tasks", NULL};

	return files;
}

static int configure_v2(const struct hierarchy *h, int parent_fd, int fd)
{
	return 0;
}

static const char *const *delegation_v2(const struct manager *m)
{
	return (const char *const *)m->delegation;
}

static const struct cgroup_ops v1 = {configure_v1, delegation_v1};
static const struct cgroup_ops v2 = {configure_v2, delegation_v2};

int cgroup_populated(const struct hierarchy *h, int fd)
{
	bool frozen;
	int r = empty_look(h, fd, &frozen);

	/* v2's root has no cgroup.events and is never empty. */
	return r == -ENOENT ? 1 : r;
}

const struct cgroup_ops *cgroup_ops(const struct hierarchy *h)
{
	return h->v2 ? &v2 : &v1;
}
