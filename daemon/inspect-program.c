/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the inspector tells of device programs: fds by id and other people's instructions need
 * CAP_SYS_ADMIN (or CAP_BPF for the latter), which the core has not. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../policy/program.h"
#include "cleanup.h"
#include "inspect-core.h"

/* As policy/bpf/device.bpf.c has them. */
static const char *const own_names[] = {"cgmd_dev_", "cgmd_arr_"};

static bool is_named_as_ours(const struct bpf_prog_info *info)
{
	for (size_t i = 0; i < sizeof(own_names) / sizeof(own_names[0]); i++)
		if (strncmp(info->name, own_names[i], strlen(own_names[i])) == 0)
			return true;
	return false;
}

static int info_get(int fd, struct bpf_prog_info *info)
{
	uint32_t size = sizeof(*info);

	return bpf_obj_get_info_by_fd(fd, info, &size);
}

/* A device program, or nothing that the core has to know of. */
static int program_open(uint32_t id, struct bpf_prog_info *ret)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(id);
	int r;

	*ret = (struct bpf_prog_info){0};
	r = fd < 0 ? fd : info_get(fd, ret);
	if (r < 0)
		return r;
	return ret->type == BPF_PROG_TYPE_CGROUP_DEVICE ? TAKE_FD(fd) : -EACCES;
}

static int bytes_send(const void *data, size_t size, int *ret_fd)
{
	_cleanup_close_ int fd = memfd_create("cgmd-program", MFD_CLOEXEC);
	size_t done = 0;

	if (fd < 0)
		return -errno;
	while (done < size) {
		ssize_t n = write(fd, (const char *)data + done, size - done);

		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* bpf_jit_harden with kptr_restrict hides them: then the kernel says zero. */
static int instructions_get(int fd, const struct bpf_prog_info *about, int *ret_fd)
{
	size_t size = about->xlated_prog_len;
	_cleanup_free_ void *insns = NULL;
	struct bpf_prog_info info = {0};
	int r;

	if (size == 0 || size > PROGRAM_INSNS_MAX * sizeof(struct bpf_insn))
		return bytes_send(NULL, 0, ret_fd);
	insns = malloc(size);
	if (!insns)
		return -ENOMEM;
	info.xlated_prog_len = (uint32_t)size;
	info.xlated_prog_insns = (uintptr_t)insns;
	r = info_get(fd, &info);
	if (r < 0)
		return r;
	if (!info.xlated_prog_insns || info.xlated_prog_len != size)
		size = 0;
	return bytes_send(insns, size, ret_fd);
}

static int map_open(int fd, int *ret_fd)
{
	uint32_t id = 0;
	struct bpf_prog_info info = {.nr_map_ids = 1, .map_ids = (uintptr_t)&id};
	int map, r = info_get(fd, &info);

	if (r < 0)
		return r;
	map = info.nr_map_ids < 1 ? -ENODATA : bpf_map_get_fd_by_id(id);
	if (map < 0)
		return map;
	*ret_fd = map;
	return 0;
}

int answer_program(const struct inspect_request *q, struct inspect_reply *reply, int *ret_fd)
{
	struct bpf_prog_info info;
	_cleanup_close_ int fd = program_open(q->number, &info);

	if (fd < 0)
		return fd;
	if (q->op == INSPECT_PROGRAM) {
		reply->number = info.nr_map_ids;
		snprintf(reply->text, sizeof(reply->text), "%.*s", BPF_OBJ_NAME_LEN, info.name);
		return instructions_get(fd, &info, ret_fd);
	}
	if (!is_named_as_ours(&info))
		return -EACCES;
	if (q->op == INSPECT_PROGRAM_MAP)
		return map_open(fd, ret_fd);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
