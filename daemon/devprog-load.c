/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The programs, from the bytes that are part of the daemon. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "devprog-core.h"
#include "device.skel.h"

static const size_t sizes[] = DEVICE_POLICY_CLASSES;
_Static_assert(sizeof(sizes) / sizeof(sizes[0]) == CLASSES_MAX, "each class has its place");

static void device_destroyp(struct device **skeleton)
{
	device__destroy(*skeleton);
}

#define _cleanup_skeleton_ __attribute__((cleanup(device_destroyp)))

/* With nothing to be loaded of it yet. */
static int open_skeleton(struct device **ret)
{
	struct device *skeleton = device__open();
	struct bpf_program *program;
	struct bpf_map *map;

	if (!skeleton)
		return -errno;
	bpf_object__for_each_program(program, skeleton->obj)
		bpf_program__set_autoload(program, false);
	bpf_object__for_each_map(map, skeleton->obj) bpf_map__set_autocreate(map, false);
	*ret = skeleton;
	return 0;
}

/* Of this size, to be loaded: cgmd_dev_240 and cgmd_pol_240. */
static int choose(struct device *skeleton, const char *program_name, const char *map_name,
	size_t size, struct bpf_program **ret_program, struct bpf_map **ret_map)
{
	char name[BPF_OBJ_NAME_LEN];

	snprintf(name, sizeof(name), "%s%zu", program_name, size);
	*ret_program = bpf_object__find_program_by_name(skeleton->obj, name);
	snprintf(name, sizeof(name), "%s%zu", map_name, size);
	*ret_map = bpf_object__find_map_by_name(skeleton->obj, name);
	if (!*ret_program || !*ret_map)
		return -ENOENT;
	bpf_program__set_autoload(*ret_program, true);
	bpf_map__set_autocreate(*ret_map, true);
	return 0;
}

static int program_id(int fd, uint32_t *ret)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);
	int r = bpf_obj_get_info_by_fd(fd, &info, &size);

	if (r >= 0)
		*ret = info.id;
	return r;
}

/* libbpf's own fds go with its object. */
static int keep_fd(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

static int class_load(struct class *c, size_t size)
{
	_cleanup_skeleton_ struct device *skeleton = NULL;
	_cleanup_close_ int prog_fd = -EBADF;
	_cleanup_close_ int map_fd = -EBADF;
	struct bpf_program *program;
	struct bpf_map *map;
	uint32_t id;
	int r = open_skeleton(&skeleton);

	if (r >= 0)
		r = choose(skeleton, "cgmd_dev_", "cgmd_pol_", size, &program, &map);
	if (r >= 0)
		r = device__load(skeleton);
	if (r < 0)
		return r;
	prog_fd = keep_fd(bpf_program__fd(program));
	map_fd = keep_fd(bpf_map__fd(map));
	if (prog_fd < 0 || map_fd < 0)
		return prog_fd < 0 ? prog_fd : map_fd;
	r = program_id(prog_fd, &id);
	if (r < 0)
		return r;
	*c = (struct class){
		.size = size, .id = id, .prog_fd = TAKE_FD(prog_fd), .map_fd = TAKE_FD(map_fd)};
	return 0;
}

int classes_load(struct devprog *d)
{
	int r = 0;

	d->n_classes = 0;
	for (unsigned i = 0; r >= 0 && i < CLASSES_MAX; i++) {
		r = class_load(&d->classes[i], sizes[i]);
		if (r >= 0)
			d->n_classes++;
	}
	return d->n_classes > 0 && r != -ENOMEM ? 0 : r;
}

void classes_done(struct devprog *d)
{
	for (unsigned i = 0; i < d->n_classes; i++) {
		close_fd(&d->classes[i].prog_fd);
		close_fd(&d->classes[i].map_fd);
	}
	d->n_classes = 0;
}

struct class *class_for(struct devprog *d, size_t size)
{
	for (unsigned i = 0; i < d->n_classes; i++)
		if (size <= d->classes[i].size)
			return &d->classes[i];
	return NULL;
}

/* The map that is never written again. */
static int fixed_map(const struct device_policy *policy)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_RDONLY_PROG);
	const uint32_t zero = 0;
	char name[BPF_OBJ_NAME_LEN];
	_cleanup_close_ int fd = -EBADF;
	int r;

	snprintf(name, sizeof(name), "cgmd_fix_%zu", policy->size);
	fd = bpf_map_create(
		BPF_MAP_TYPE_ARRAY, name, sizeof(zero), (uint32_t)policy->size, 1, &options);
	if (fd < 0)
		return fd;
	r = bpf_map_update_elem(fd, &zero, policy->data, BPF_ANY);
	if (r >= 0)
		r = bpf_map_freeze(fd);
	return r < 0 ? r : TAKE_FD(fd);
}

int program_load(const struct device_policy *policy, int *ret_prog_fd, uint32_t *ret_id)
{
	_cleanup_skeleton_ struct device *skeleton = NULL;
	_cleanup_close_ int map_fd = fixed_map(policy);
	_cleanup_close_ int prog_fd = -EBADF;
	struct bpf_program *program;
	struct bpf_map *map;
	int r = map_fd < 0 ? map_fd : open_skeleton(&skeleton);

	if (r >= 0)
		r = choose(skeleton, "cgmd_arr_", "cgmd_fix_", policy->size, &program, &map);
	if (r >= 0)
		r = bpf_map__reuse_fd(map, map_fd);
	if (r >= 0)
		r = device__load(skeleton);
	if (r < 0)
		return r;
	prog_fd = keep_fd(bpf_program__fd(program));
	r = prog_fd < 0 ? prog_fd : program_id(prog_fd, ret_id);
	if (r >= 0)
		*ret_prog_fd = TAKE_FD(prog_fd);
	return r;
}
