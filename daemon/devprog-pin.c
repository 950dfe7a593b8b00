/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is attached, and how it stays: BPFFS/cgmd holds the programs and maps of each class, and
 * BPFFS/cgmd/links a link for each cgroup, ID_SIZE. A link can be detached by nobody who has not
 * the link (5.7); a program that is attached directly by all who have CAP_NET_ADMIN. bpffs takes no
 * dots in names.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "devprog-core.h"
#include "log.h"

#define DIRECTORY "cgmd"
#define LINKS "links"
#define NAME_SIZE 64
#define NEW "_new"

static void dir_close(DIR **dir)
{
	if (*dir)
		closedir(*dir);
	*dir = NULL;
}

#define _cleanup_dir_ __attribute__((cleanup(dir_close)))

/* `at`/`path`, on a bpffs. What is ours is root's alone, or others' programs would be taken for
 * ours; above that nobody else may rename it. */
static int dir_open(int at, const char *path)
{
	const mode_t others = at == AT_FDCWD ? S_ISVTX : 0;
	_cleanup_close_ int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct statfs fs;
	struct stat st;

	if (fd < 0 || fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (fs.f_type != BPF_FS_MAGIC)
		return -ENOTTY;
	if (st.st_uid != 0 || ((st.st_mode & 022) && !(st.st_mode & others)))
		return -EPERM;
	return TAKE_FD(fd);
}

static int dir_make(int at, const char *name)
{
	if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	return dir_open(at, name);
}

/* A kernel that knows them gets as far as looking for the program. */
static bool has_links(void)
{
	return bpf_link_create(-1, -1, BPF_CGROUP_DEVICE, NULL) == -EBADF;
}

/*
 * The programs of an earlier daemon.
 */

static int map_info(int fd, struct bpf_map_info *ret)
{
	uint32_t size = sizeof(*ret);

	*ret = (struct bpf_map_info){0};
	return bpf_obj_get_info_by_fd(fd, ret, &size);
}

static int program_info(int fd, uint32_t *map_id, struct bpf_prog_info *ret)
{
	uint32_t size = sizeof(*ret);

	*ret = (struct bpf_prog_info){.nr_map_ids = 1, .map_ids = (uintptr_t)map_id};
	return bpf_obj_get_info_by_fd(fd, ret, &size);
}

/* Do they do the same? The tag is a hash of all instructions. */
static bool is_same(const struct class *a, const struct class *b)
{
	struct bpf_prog_info program[2];
	struct bpf_map_info map[2];
	uint32_t used[2] = {0};

	for (unsigned i = 0; i < 2; i++)
		if (program_info((i ? b : a)->prog_fd, &used[i], &program[i]) < 0 ||
			map_info((i ? b : a)->map_fd, &map[i]) < 0 || used[i] != map[i].id)
			return false;
	return program[0].type == program[1].type &&
	       memcmp(program[0].tag, program[1].tag, sizeof(program[0].tag)) == 0 &&
	       map[0].type == map[1].type && map[0].key_size == map[1].key_size &&
	       map[0].value_size == map[1].value_size;
}

static void class_names(const struct class *c, char ret[2][32])
{
	snprintf(ret[0], sizeof(ret[0]), "program_%zu", c->size);
	snprintf(ret[1], sizeof(ret[1]), "map_%zu", c->size);
}

/* The pinned ones become ours, or ours become the pinned ones. */
static int class_share(struct class *c, int dir, const char *path)
{
	char name[2][32], full[2][PATH_MAX];
	struct class pinned = *c;
	uint32_t id;
	int r = 0;

	class_names(c, name);
	for (unsigned i = 0; i < 2; i++)
		if (snprintf(full[i], sizeof(full[i]), "%s/%s", path, name[i]) >= PATH_MAX)
			return -ENAMETOOLONG;
	pinned.prog_fd = bpf_obj_get(full[0]);
	pinned.map_fd = bpf_obj_get(full[1]);
	if (pinned.prog_fd >= 0 && pinned.map_fd >= 0 && is_same(c, &pinned)) {
		struct bpf_prog_info info;

		r = program_info(pinned.prog_fd, &id, &info);
		pinned.id = info.id;
	} else {
		r = -ENOENT;
	}
	if (r == 0) {
		close_fd(&c->prog_fd);
		close_fd(&c->map_fd);
		*c = pinned;
		return 0;
	}
	close_fd(&pinned.prog_fd);
	close_fd(&pinned.map_fd);
	for (unsigned i = 0; i < 2; i++) {
		unlinkat(dir, name[i], 0);
		r = bpf_obj_pin(i ? c->map_fd : c->prog_fd, full[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool is_class_name(const struct devprog *d, const char *name)
{
	char names[2][32];

	for (unsigned i = 0; d->kind == DEVPROG_STORAGE && i < d->n_classes; i++) {
		class_names(&d->classes[i], names);
		if (strcmp(name, names[0]) == 0 || strcmp(name, names[1]) == 0)
			return true;
	}
	return false;
}

/* What only an earlier daemon had. Where it is attached its links hold it. */
static void sweep(const struct devprog *d, int fd)
{
	_cleanup_dir_ DIR *dir = fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 3));
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (e->d_type != DT_DIR && !is_class_name(d, e->d_name))
			unlinkat(fd, e->d_name, 0);
}

static int share(struct devprog *d, int fd, const char *path)
{
	int r = 0;

	for (unsigned i = 0; d->kind == DEVPROG_STORAGE && r >= 0 && i < d->n_classes; i++)
		r = class_share(&d->classes[i], fd, path);
	if (r >= 0)
		sweep(d, fd);
	return r;
}

static const char *why_not(int err)
{
	switch (err) {
	case -ENOTTY:
		return "it is no bpffs";
	case -EPERM:
		return "it, or " DIRECTORY " in it, is not root's alone";
	case -EOPNOTSUPP:
		return "this kernel has no links for programs of cgroups";
	default:
		return strerror(-err);
	}
}

/* Where a daemon was killed between the two steps of pin_replace(). */
static void finish_renames(int fd)
{
	_cleanup_dir_ DIR *dir = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		size_t n = strlen(e->d_name), end = strlen(NEW);
		char name[NAME_SIZE];

		if (n <= end || n - end >= sizeof(name) || strcmp(e->d_name + n - end, NEW) != 0)
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(n - end), e->d_name);
		renameat(fd, e->d_name, fd, name);
	}
}

static int open_all(struct devprog *d, const char *bpffs)
{
	_cleanup_close_ int top = dir_open(AT_FDCWD, bpffs);
	_cleanup_close_ int own = -EBADF;
	_cleanup_close_ int links = -EBADF;
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ char *links_path = NULL;
	int round, r;

	if (top < 0)
		return top;
	if (!has_links())
		return -EOPNOTSUPP;
	own = dir_make(top, DIRECTORY);
	links = own < 0 ? own : dir_make(own, LINKS);
	if (links < 0)
		return links;
	if (asprintf(&path, "%s/" DIRECTORY, bpffs) < 0 ||
		asprintf(&links_path, "%s/" DIRECTORY "/" LINKS, bpffs) < 0)
		return -ENOMEM;
	r = share(d, own, path);
	if (r < 0)
		return r;
	/* Its own place in the directory, for the rounds. */
	round = openat(links, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d->round = round < 0 ? NULL : fdopendir(round);
	if (!d->round) {
		r = -errno;
		close_fd(&round);
		return r;
	}
	finish_renames(links);
	d->links_fd = TAKE_FD(links);
	d->links_path = TAKE_PTR(links_path);
	return 0;
}

int pins_open(struct devprog *d, const char *bpffs)
{
	int r = open_all(d, bpffs);

	if (r == -ENOMEM)
		return r;
	if (r < 0)
		log_line(LOG_NOTICE,
			"device programs are attached directly, where root can detach them: %s: %s",
			bpffs, why_not(r));
	return 0;
}

void pins_done(struct devprog *d)
{
	dir_close(&d->round);
	close_fd(&d->links_fd);
	free(d->links_path);
	d->links_path = NULL;
}

/*
 * The links.
 */

static void pin_name(char ret[NAME_SIZE], uint64_t cgroup, size_t size)
{
	snprintf(ret, NAME_SIZE, "%" PRIu64 "_%zu", cgroup, size);
}

static int pin_path(const struct devprog *d, const char *name, char ret[PATH_MAX])
{
	int n = snprintf(ret, PATH_MAX, "%s/%s", d->links_path, name);

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int pin_open_name(const struct devprog *d, const char *name)
{
	char path[PATH_MAX];
	int r = d->links_fd < 0 ? -ENOENT : pin_path(d, name, path);

	return r < 0 ? r : bpf_obj_get(path);
}

int pin_open(const struct devprog *d, uint64_t cgroup, size_t size)
{
	char name[NAME_SIZE];

	pin_name(name, cgroup, size);
	return pin_open_name(d, name);
}

static int link_info(int fd, struct bpf_link_info *ret)
{
	uint32_t size = sizeof(*ret);

	*ret = (struct bpf_link_info){0};
	return bpf_obj_get_info_by_fd(fd, ret, &size);
}

/* `prog_id` 0: whatever it is of. */
static int pin_release(struct devprog *d, uint64_t cgroup, size_t size, uint32_t prog_id)
{
	struct bpf_link_info info;
	char name[NAME_SIZE];
	_cleanup_close_ int link = -EBADF;

	pin_name(name, cgroup, size);
	link = pin_open_name(d, name);
	if (link < 0)
		return link;
	if (prog_id != 0 && (link_info(link, &info) < 0 || info.prog_id != prog_id))
		return -ENOENT;
	/* At once; without the call (5.9) it is when the kernel gets to it. */
	bpf_link_detach(link);
	return unlinkat(d->links_fd, name, 0) < 0 ? -errno : 0;
}

int pin_attach(struct devprog *d, int fd, int prog_fd, int *ret_link)
{
	LIBBPF_OPTS(bpf_prog_attach_opts, options, .flags = BPF_F_ALLOW_MULTI);
	int link;

	if (d->links_fd < 0)
		return bpf_prog_attach_opts(prog_fd, fd, BPF_CGROUP_DEVICE, &options);
	link = bpf_link_create(prog_fd, fd, BPF_CGROUP_DEVICE, NULL);
	if (link < 0)
		return link;
	*ret_link = link;
	return 0;
}

/* In the place of what was attached before, which stays until ours cannot get lost any more. */
static int pin_replace(struct devprog *d, const char *name, int link)
{
	_cleanup_close_ int old = pin_open_name(d, name);
	char temporary[NAME_SIZE + sizeof(NEW)], path[PATH_MAX];
	int r;

	snprintf(temporary, sizeof(temporary), "%s" NEW, name);
	r = pin_path(d, temporary, path);
	if (r >= 0)
		r = bpf_obj_pin(link, path);
	if (r < 0)
		return r;
	if (renameat(d->links_fd, temporary, d->links_fd, name) < 0) {
		r = -errno;
		unlinkat(d->links_fd, temporary, 0);
		return r;
	}
	if (old >= 0)
		bpf_link_detach(old);
	return 0;
}

int pin_keep(struct devprog *d, int fd, uint64_t cgroup, size_t size, int prog_fd, int link)
{
	LIBBPF_OPTS(bpf_prog_attach_opts, options, .flags = BPF_F_ALLOW_MULTI);
	_cleanup_close_ int owned = link;
	char name[NAME_SIZE], path[PATH_MAX];
	int r;

	pin_name(name, cgroup, size);
	r = pin_path(d, name, path);
	if (r >= 0)
		r = bpf_obj_pin(owned, path);
	if (r == -EEXIST)
		r = pin_replace(d, name, owned);
	if (r >= 0)
		return 0;
	/* A full file system must not take it away. */
	log_limited(LOG_WARNING, 0, "pinning %s/%s: %s; it is attached directly", d->links_path,
		name, strerror(-r));
	return bpf_prog_attach_opts(prog_fd, fd, BPF_CGROUP_DEVICE, &options);
}

int pin_detach(
	struct devprog *d, int fd, uint64_t cgroup, size_t size, uint32_t prog_id, int prog_fd)
{
	int released = pin_release(d, cgroup, size, prog_id);
	int detached = prog_fd < 0 ? -ENOENT : bpf_prog_detach2(prog_fd, fd, BPF_CGROUP_DEVICE);

	return released == 0 ? 0 : detached;
}

/* Removed cgroups have let go of their links; so has a link that somebody detached, which is
 * repaired by another one. */
static void collect_one(struct devprog *d, const char *name)
{
	_cleanup_close_ int link = pin_open_name(d, name);
	struct bpf_link_info info;

	if (link >= 0 && link_info(link, &info) == 0 && info.cgroup.cgroup_id == 0)
		unlinkat(d->links_fd, name, 0);
}

unsigned devprog_collect(struct devprog *d, unsigned n)
{
	unsigned looked = 0;

	pthread_mutex_lock(&d->lock);
	while (d->round && looked < n) {
		struct dirent *e = readdir(d->round);

		if (!e) {
			rewinddir(d->round);
			break;
		}
		if (e->d_name[0] == '.')
			continue;
		collect_one(d, e->d_name);
		looked++;
	}
	made_expire(d);
	pthread_mutex_unlock(&d->lock);
	return looked;
}
