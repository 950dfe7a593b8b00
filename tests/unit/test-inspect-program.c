/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the inspector tells of device programs; needs root. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <unistd.h>

#include "../../daemon/devprog.h"
#include "../../daemon/inspect.h"

static struct hierarchies all;
static struct inspector *inspector;

static int program_load(
	enum bpf_prog_type type, const char *name, const struct bpf_insn *insns, size_t n)
{
	return bpf_prog_load(type, name, "GPL", insns, n, NULL);
}

static const struct bpf_insn allow[] = {
	{.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_1, .off = 4},
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
	{.code = BPF_JMP | BPF_EXIT},
};
#define N_ALLOW (sizeof(allow) / sizeof(allow[0]))

static int setup(void **state)
{
	char what[64];
	int fd;

	if (geteuid() != 0 || hierarchies_discover(&all, NULL, NULL, what, sizeof(what)) < 0) {
		print_message("not root, or no cgroup hierarchy: skipped\n");
		return 0;
	}
	fd = program_load(BPF_PROG_TYPE_CGROUP_DEVICE, "probe", allow, N_ALLOW);
	if (fd < 0) {
		print_message("bpf(2): %s: skipped\n", strerror(errno));
		return 0;
	}
	close(fd);
	return inspector_start(&all, &inspector);
}

static int teardown(void **state)
{
	inspector = inspector_free(inspector);
	hierarchies_done(&all);
	return 0;
}

static int need(void **state)
{
	if (!inspector)
		skip();
	return 0;
}

static uint32_t program_id(int fd)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size), 0);
	return info.id;
}

static uint32_t map_id(int fd)
{
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size), 0);
	return info.id;
}

static void test_instructions(void **state)
{
	int fd = program_load(BPF_PROG_TYPE_CGROUP_DEVICE, "runc_or_crun_1", allow, N_ALLOW);
	struct devprog_foreign f;

	assert_true(fd >= 0);
	assert_int_equal(devprog_foreign_get(inspector, program_id(fd), &f), 0);
	assert_string_equal(f.name, "runc_or_crun_1");
	assert_int_equal(f.n_maps, 0);
	assert_int_equal(f.n_insns, N_ALLOW);
	assert_memory_equal(f.insns, allow, sizeof(allow));
	devprog_foreign_done(&f);
	assert_null(f.insns);
	/* Neither of those that are somebody else's. */
	assert_int_equal(inspect_program_fd(inspector, program_id(fd)), -EACCES);
	assert_int_equal(inspect_program_map(inspector, program_id(fd)), -EACCES);
	close(fd);
}

/* As many as systemd writes for a long list. */
static void test_many_instructions(void **state)
{
	enum { N = 3000 };
	struct bpf_insn insns[N];
	struct devprog_foreign f;
	int fd;

	for (unsigned i = 0; i < N - 1; i++)
		insns[i] = (struct bpf_insn){
			.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2, .imm = (int)i};
	insns[N - 2] = allow[N_ALLOW - 2];
	insns[N - 1] = allow[N_ALLOW - 1];
	fd = program_load(BPF_PROG_TYPE_CGROUP_DEVICE, "", insns, N);
	assert_true(fd >= 0);
	assert_int_equal(devprog_foreign_get(inspector, program_id(fd), &f), 0);
	assert_string_equal(f.name, "");
	assert_int_equal(f.n_insns, N);
	assert_memory_equal(f.insns, insns, sizeof(insns));
	devprog_foreign_done(&f);
	close(fd);
}

static void test_gone(void **state)
{
	int fd = program_load(BPF_PROG_TYPE_CGROUP_DEVICE, "gone", allow, N_ALLOW);
	uint32_t id = program_id(fd);
	struct devprog_foreign f;
	int r;

	close(fd);
	/* The kernel lets go of it when it gets to it. */
	while ((r = devprog_foreign_get(inspector, id, &f)) == 0)
		devprog_foreign_done(&f);
	assert_int_equal(r, -ENOENT);
	assert_int_equal(inspect_program_fd(inspector, id), -ENOENT);
	assert_int_equal(inspect_program_map(inspector, id), -ENOENT);
}

/* Programs that are not for devices are not the daemon's business. */
static void test_other_kinds(void **state)
{
	int fd = program_load(BPF_PROG_TYPE_SOCKET_FILTER, "cgmd_dev_240", allow + 1, N_ALLOW - 1);
	struct devprog_foreign f;

	assert_true(fd >= 0);
	assert_int_equal(devprog_foreign_get(inspector, program_id(fd), &f), -EACCES);
	assert_int_equal(inspect_program_fd(inspector, program_id(fd)), -EACCES);
	assert_int_equal(inspect_program_map(inspector, program_id(fd)), -EACCES);
	close(fd);
}

/* Those that are named as ours, for adoption. */
static void test_own(void **state)
{
	int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "a", 4, 8, 1, NULL);
	const struct bpf_insn insns[] = {
		{.code = BPF_LD | BPF_DW | BPF_IMM,
			.dst_reg = BPF_REG_1,
			.src_reg = BPF_PSEUDO_MAP_FD,
			.imm = map},
		{0},
		allow[1],
		allow[2],
	};
	static const char *const names[] = {"cgmd_dev_240", "cgmd_arr_240"};
	struct devprog_foreign f;

	assert_true(map >= 0);
	for (unsigned i = 0; i < 2; i++) {
		int fd = program_load(BPF_PROG_TYPE_CGROUP_DEVICE, names[i], insns, 4), got;
		int bare = program_load(BPF_PROG_TYPE_CGROUP_DEVICE, names[i], allow, N_ALLOW);

		assert_true(fd >= 0 && bare >= 0);
		got = inspect_program_fd(inspector, program_id(fd));
		assert_true(got >= 0);
		assert_int_equal(program_id(got), program_id(fd));
		close(got);
		got = inspect_program_map(inspector, program_id(fd));
		assert_true(got >= 0);
		assert_int_equal(map_id(got), map_id(map));
		close(got);
		assert_int_equal(inspect_program_map(inspector, program_id(bare)), -ENODATA);
		assert_int_equal(devprog_foreign_get(inspector, program_id(fd), &f), 0);
		assert_int_equal(f.n_maps, 1);
		assert_string_equal(f.name, names[i]);
		devprog_foreign_done(&f);
		close(fd);
		close(bare);
	}
	close(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_instructions, need),
		cmocka_unit_test_setup(test_many_instructions, need),
		cmocka_unit_test_setup(test_gone, need),
		cmocka_unit_test_setup(test_other_kinds, need),
		cmocka_unit_test_setup(test_own, need),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
