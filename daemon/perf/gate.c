/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gate.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../cleanup.h"
#include "gate-core.h"
#include "perfgate.skel.h"

#define DIRECTORY "cgmd"
#define MAP "gate_map"
#define LINK "gate_link"

static void skeleton_done(struct perfgate **skeleton)
{
	perfgate__destroy(*skeleton);
}

#define _cleanup_skeleton_ __attribute__((cleanup(skeleton_done)))

__attribute__((format(printf, 2, 3))) static int absent(
	struct perf_gate *g, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(g->why, sizeof(g->why), format, args);
	va_end(args);
	return -EOPNOTSUPP;
}

/*
 * Does the kernel have it?
 */

/* securityfs need not be mounted. */
static int lsm_open(void)
{
	_cleanup_close_ int fs = -EBADF, mount = -EBADF;
	int fd = open("/sys/kernel/security/lsm", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	fs = fsopen("securityfs", FSOPEN_CLOEXEC);
	if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	mount = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	return mount < 0 ? -1 : openat(mount, "lsm", O_RDONLY | O_CLOEXEC);
}

/* A kernel that has the code, but not this among its LSMs, takes the program and never runs it. */
static int lsm_check(struct perf_gate *g)
{
	char list[256] = ",";
	_cleanup_close_ int fd = lsm_open();
	ssize_t n = fd < 0 ? -1 : read(fd, list + 1, sizeof(list) - 3);

	if (n < 0)
		return absent(g, "the kernel's list of LSMs cannot be read: %s", strerror(errno));
	list[n + 1] = '\0';
	list[1 + strcspn(list + 1, "\n")] = '\0';
	strcat(list, ",");
	if (strstr(list, ",bpf,"))
		return 0;
	list[strlen(list) - 1] = '\0';
	return absent(g, "bpf is not among the kernel's LSMs (%s), which its parameter lsm= sets",
		list + 1);
}

/*
 * Pins.
 */

/* BPFFS/cgmd, which must be root's alone. */
static int directory_make(struct perf_gate *g)
{
	_cleanup_close_ int fd = -EBADF;
	struct statfs fs;
	struct stat st;

	if (mkdir(g->path, 0700) < 0 && errno != EEXIST)
		return absent(g, "%s: %s", g->path, strerror(errno));
	fd = open(g->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
		return absent(g, "%s: %s", g->path, strerror(errno));
	if (fs.f_type != BPF_FS_MAGIC)
		return absent(g, "%s is on no bpffs, without which it would end with the daemon",
			g->path);
	if (st.st_uid != 0 || (st.st_mode & 022))
		return absent(g, "%s can be written by others than root", g->path);
	return 0;
}

static void pin_path(const struct perf_gate *g, const char *name, char buf[PATH_MAX + 16])
{
	snprintf(buf, PATH_MAX + 16, "%s/%s", g->path, name);
}

static void pin_remove(const struct perf_gate *g, const char *name)
{
	char path[PATH_MAX + 16];

	pin_path(g, name, path);
	unlink(path);
}

static int pin_get(const struct perf_gate *g, const char *name)
{
	char path[PATH_MAX + 16];

	pin_path(g, name, path);
	return bpf_obj_get(path);
}

static int pin_make(const struct perf_gate *g, const char *name, int fd)
{
	char path[PATH_MAX + 16];

	pin_path(g, name, path);
	return bpf_obj_pin(fd, path);
}

/*
 * The program.
 */

/* With the map of an earlier daemon, if there is one. */
static int program_load(struct perf_gate *g, int map_fd, struct perfgate **ret)
{
	_cleanup_skeleton_ struct perfgate *skeleton = perfgate__open();
	int r = skeleton ? 0 : -errno;

	if (r == 0 && map_fd >= 0)
		r = bpf_map__reuse_fd(skeleton->maps.cgmd_gate_map, map_fd);
	r = r ?: perfgate__load(skeleton);
	if (r < 0)
		return r;
	g->map_fd = fcntl(bpf_map__fd(skeleton->maps.cgmd_gate_map), F_DUPFD_CLOEXEC, 3);
	if (g->map_fd < 0)
		return -errno;
	*ret = TAKE_PTR(skeleton);
	return 0;
}

/* A new map where an earlier one's is not as this program wants it. */
static int program_begin(struct perf_gate *g, struct perfgate **ret)
{
	_cleanup_close_ int pinned = pin_get(g, MAP);
	int r = pinned < 0 ? -ENOENT : program_load(g, pinned, ret);

	if (r == 0)
		return 0;
	r = program_load(g, -EBADF, ret);
	if (r < 0)
		return absent(g, "the kernel does not take the program: %s", strerror(-r));
	pin_remove(g, LINK);
	pin_remove(g, MAP);
	r = pin_make(g, MAP, g->map_fd);
	return r < 0 ? absent(g, "%s: %s", g->path, strerror(-r)) : 0;
}

/* Without a moment at which there is none. */
static int program_attach(struct perf_gate *g, struct perfgate *skeleton, int cgroup_fd)
{
	int program = bpf_program__fd(skeleton->progs.cgmd_gate), r;
	_cleanup_close_ int pinned = pin_get(g, LINK), link = -EBADF;

	if (pinned >= 0 && bpf_link_update(pinned, program, NULL) == 0)
		return 0;
	link = bpf_link_create(program, cgroup_fd, BPF_LSM_CGROUP, NULL);
	if (link < 0)
		return absent(g, "the kernel does not attach the program: %s", strerror(-link));
	pin_remove(g, LINK);
	r = pin_make(g, LINK, link);
	return r < 0 ? absent(g, "%s: %s", g->path, strerror(-r)) : 0;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level, (void)format, (void)args;
	return 0;
}

static int gate_begin(struct perf_gate *g, int cgroup_fd)
{
	_cleanup_skeleton_ struct perfgate *skeleton = NULL;
	libbpf_print_fn_t before;
	int r;

	if (cgroup_fd < 0)
		return absent(g, "there is no cgroup2 that it could be attached to");
	r = lsm_check(g) ?: directory_make(g);
	if (r < 0)
		return r;
	/* What it says goes into the reason, in short. */
	before = libbpf_set_print(quiet);
	r = program_begin(g, &skeleton);
	r = r ?: program_attach(g, skeleton, cgroup_fd);
	libbpf_set_print(before);
	return r;
}

int gate_new(const char *bpffs, int cgroup_fd, bool wanted, struct perf_gate **ret)
{
	struct perf_gate *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->map_fd = -EBADF;
	if (snprintf(g->path, sizeof(g->path), "%s/" DIRECTORY, bpffs ?: "/sys/fs/bpf") >=
		(int)sizeof(g->path)) {
		free(g);
		return -ENAMETOOLONG;
	}
	if (!wanted) {
		pin_remove(g, LINK);
		pin_remove(g, MAP);
		absent(g, "it was not asked for (--perf-gate)");
	} else if (gate_begin(g, cgroup_fd) < 0) {
		close_fd(&g->map_fd);
	}
	*ret = g;
	return 0;
}

struct perf_gate *gate_free(struct perf_gate *g)
{
	if (!g)
		return NULL;
	gate_walk_free(g->walk);
	close_fd(&g->map_fd);
	free(g);
	return NULL;
}

const char *gate_why(const struct perf_gate *g)
{
	return g->map_fd < 0 ? g->why : NULL;
}

int gate_set(struct perf_gate *g, uint64_t cgroup_id, bool may)
{
	uint8_t value = may;

	return g->map_fd < 0 ? 0 : bpf_map_update_elem(g->map_fd, &cgroup_id, &value, BPF_ANY);
}

int gate_forget(struct perf_gate *g, uint64_t cgroup_id)
{
	int r = g->map_fd < 0 ? 0 : bpf_map_delete_elem(g->map_fd, &cgroup_id);

	return r == -ENOENT ? 0 : r;
}

int gate_list(const struct perf_gate *g, uint64_t **ret_ids, unsigned *ret_n)
{
	_cleanup_free_ uint64_t *ids = calloc(GATE_CGROUPS_MAX, sizeof(*ids));
	unsigned n = 0;

	if (!ids)
		return -ENOMEM;
	while (g->map_fd >= 0) {
		int r = bpf_map_get_next_key(g->map_fd, n > 0 ? &ids[n - 1] : NULL, &ids[n]);

		if (r == -ENOENT)
			break;
		/* From the beginning, where the last was removed meanwhile. */
		if (r < 0 || ++n == GATE_CGROUPS_MAX)
			return r < 0 ? r : -E2BIG;
	}
	*ret_ids = TAKE_PTR(ids);
	*ret_n = n;
	return 0;
}
