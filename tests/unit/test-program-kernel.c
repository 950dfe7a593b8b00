/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * policy/program against the kernel: programs are loaded, attached to a real cgroup2 and dumped,
 * and what is read from the dump is what a process in that cgroup gets. Needs root. No device is
 * opened: access(2) asks the same program (devcgroup_inode_permission()).
 */
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
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/hierarchy.h"
#include "chains.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define REQUESTS_MAX 300

struct request {
	uint8_t type, access;
	uint32_t major, minor;
	enum program_answer answer; /* the kernel's */
};

static const uint8_t asked[] = {
	0, DEVICE_MKNOD, DEVICE_READ, DEVICE_WRITE, DEVICE_READ | DEVICE_WRITE};

static struct hierarchies all;
static char name[40], nodes[] = "/tmp/test-program-XXXXXX";
static int parent = -EBADF, cgroup = -EBADF;
static struct request *requests; /* shared with those who ask */
static uint64_t seed = 0x452821e638d01377;

static uint32_t random_below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 32) % n;
}

static int setup(void **state)
{
	const struct hierarchy *h = NULL;
	char what[64];

	snprintf(name, sizeof(name), "cgmd-test-program-%d", (int)getpid());
	if (geteuid() == 0 && hierarchies_discover(&all, NULL, NULL, what, sizeof(what)) == 0)
		h = hierarchy_find(&all, "unified", strlen("unified"));
	if (!h || mkdirat(h->root_fd, name, 0755) < 0) {
		print_message("not root, or no cgroup2 that can be written: skipped\n");
		return 0;
	}
	parent = h->root_fd;
	cgroup = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	requests = mmap(NULL, REQUESTS_MAX * sizeof(*requests), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (cgroup < 0 || requests == MAP_FAILED || !mkdtemp(nodes) || unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("tmpfs", nodes, "tmpfs", 0, "mode=700") < 0)
		return -1;
	return 0;
}

static int teardown(void **state)
{
	if (cgroup < 0)
		return 0;
	close(cgroup);
	umount2(nodes, MNT_DETACH);
	rmdir(nodes);
	assert_int_equal(unlinkat(parent, name, AT_REMOVEDIR), 0);
	hierarchies_done(&all);
	return 0;
}

/* ---- the kernel's answer */

static mode_t mode_of(const struct request *q)
{
	return (q->type == DEVICE_CHAR ? S_IFCHR : S_IFBLK) | 0600;
}

static int make(const struct request *q, const char *path)
{
	return mknod(path, mode_of(q), makedev(q->major, q->minor)) < 0 ? -errno : 0;
}

static int ask(const struct request *q, const char *path)
{
	int mode = (q->access & DEVICE_READ ? R_OK : 0) | (q->access & DEVICE_WRITE ? W_OK : 0);

	return access(path, mode) < 0 ? -errno : 0;
}

/* In the cgroup. Nodes are there; to make one, another is made. */
static int ask_all(unsigned n)
{
	char path[64], other[64];
	int fd = openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "0", 1) != 1)
		return 1;
	snprintf(other, sizeof(other), "%s/other", nodes);
	for (unsigned k = 0; k < n; k++) {
		struct request *q = &requests[k];
		int r;

		snprintf(path, sizeof(path), "%s/%u", nodes, k);
		r = q->access == DEVICE_MKNOD ? make(q, other) : ask(q, path);
		unlink(other);
		if (r < 0 && r != -EPERM)
			return 2;
		q->answer = r < 0 ? PROGRAM_DENIES : PROGRAM_ALLOWS;
	}
	return 0;
}

static void ask_kernel(unsigned n)
{
	char path[64];
	int status;
	pid_t pid;

	for (unsigned k = 0; k < n; k++) {
		snprintf(path, sizeof(path), "%s/%u", nodes, k);
		unlink(path);
		assert_int_equal(make(&requests[k], path), 0);
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(ask_all(n));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- programs */

static int load(const struct bpf_insn *insns, size_t n)
{
	int fd = bpf_prog_load(BPF_PROG_TYPE_CGROUP_DEVICE, "theirs", "GPL", insns, n, NULL);

	if (fd < 0)
		print_message("no device program can be loaded: %s, skipped\n", strerror(errno));
	return fd;
}

/* As the kernel shows it. Returns how many instructions. */
static size_t dump(int fd, struct bpf_insn *ret, size_t max)
{
	struct bpf_prog_info info = {
		.xlated_prog_insns = (uint64_t)(uintptr_t)ret,
		.xlated_prog_len = max * sizeof(*ret),
	};
	uint32_t size = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size), 0);
	assert_true(info.xlated_prog_insns && info.xlated_prog_len <= max * sizeof(*ret));
	return info.xlated_prog_len / sizeof(*ret);
}

static uint32_t random_number(const struct chain *c, bool major)
{
	const struct chain_rule *r = &c->rule[random_below(c->n)];
	long n = major ? r->major : r->minor;

	if (n == CHAIN_ANY || random_below(6) == 0)
		return random_below(major ? DEVICE_MAJOR_MAX : DEVICE_MINOR_MAX);
	n += (long)random_below(3) - 1;
	return n < 0 ? 0 : n;
}

static unsigned random_requests(const struct chain *c)
{
	unsigned n = 0;

	while (n + N(asked) <= REQUESTS_MAX) {
		struct request q = {.type = 1 + random_below(2),
			.major = random_number(c, true),
			.minor = random_number(c, false)};

		/* overlayfs' whiteouts may be made by all */
		if (q.major == 0 && q.minor == 0)
			continue;
		for (size_t k = 0; k < N(asked); k++, n++) {
			requests[n] = q;
			requests[n].access = asked[k];
		}
	}
	return n;
}

static void random_chain(struct chain *c)
{
	c->allow = random_below(2);
	c->n = 1 + random_below(12);
	for (unsigned k = 0; k < c->n; k++) {
		struct chain_rule *r = &c->rule[k];

		r->allow = random_below(2);
		r->type = random_below(3);
		r->access = random_below(2) ? DEVICE_ALL : 1 + random_below(7);
		r->major = random_below(5) ? (long)random_below(250) : CHAIN_ANY;
		r->minor = random_below(5) ? (long)random_below(250) : CHAIN_ANY;
	}
}

static bool rules_say(const struct device_rules *rules, const struct request *q)
{
	return device_check(rules, q->type, q->major, q->minor, q->access);
}

/* All of it on the kernel's own copy. */
static void compare(const struct bpf_insn *insns, size_t n, unsigned n_requests)
{
	struct device_rules rules = {0};
	int r = program_rules(insns, n, &rules);

	for (unsigned k = 0; k < n_requests; k++) {
		const struct request *q = &requests[k];
		const struct device_range one = {q->type, DEVICE_ALL, q->major, q->minor, q->minor};
		enum program_answer answer =
			program_check(insns, n, q->type, q->major, q->minor, q->access);

		if (answer != q->answer)
			fail_msg("%s %u:%u %u: %d, the kernel %d",
				q->type == DEVICE_CHAR ? "c" : "b", q->major, q->minor, q->access,
				answer, q->answer);
		if (q->access)
			assert_int_equal(program_covers(insns, n, &one, q->access), q->answer);
		if (r == 0 && (q->access || rules.v1))
			assert_int_equal(rules_say(&rules, q), q->answer == PROGRAM_ALLOWS);
	}
	device_rules_done(&rules);
}

static void run_chain(enum chain_style style, const struct chain *c)
{
	struct bpf_insn insns[CHAIN_INSNS_MAX], dumped[2 * CHAIN_INSNS_MAX];
	unsigned n_requests = random_requests(c);
	int fd = load(insns, chain_build(style, c, insns));
	size_t n;

	if (fd < 0)
		skip();
	n = dump(fd, dumped, N(dumped));
	assert_int_equal(bpf_prog_attach(fd, cgroup, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI), 0);
	ask_kernel(n_requests);
	assert_int_equal(bpf_prog_detach2(fd, cgroup, BPF_CGROUP_DEVICE), 0);
	close(fd);
	compare(dumped, n, n_requests);
}

static void test_chains(void **state)
{
	struct chain c = {0};

	if (cgroup < 0)
		skip();
	for (unsigned k = 0; k < 5 * CHAIN_STYLES; k++) {
		/* blinding is the kernel's, and its register is not for programs */
		enum chain_style style = k % CHAIN_STYLES;

		random_chain(&c);
		if (style != CHAIN_BLINDED)
			run_chain(style, &c);
	}
}

/* Without one, all is allowed: else the comparison says nothing. */
static void test_without_a_program(void **state)
{
	struct chain c = {0};
	unsigned n;

	if (cgroup < 0)
		skip();
	random_chain(&c);
	n = random_requests(&c);
	ask_kernel(n);
	for (unsigned k = 0; k < n; k++)
		assert_int_equal(requests[k].answer, PROGRAM_ALLOWS);
}

/* What a compiler makes of a range: one comparison of a difference, with and without signs. */
static void test_difference(void **state)
{
	static const uint8_t jumps[] = {BPF_JLT, BPF_JSLT, BPF_JGE, BPF_JSGT};
	const struct chain c = {
		false, 2, {{true, 0, DEVICE_ALL, 3, 64}, {true, 0, DEVICE_ALL, 3, 128}}};

	if (cgroup < 0)
		skip();
	for (size_t k = 0; k < N(jumps); k++) {
		const struct bpf_insn insns[] = {{BPF_LDX | BPF_MEM | BPF_W, 2, 1, 8, 0},
			{BPF_ALU | BPF_ADD | BPF_K, 2, 0, 0, -64},
			{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1},
			{BPF_JMP32 | jumps[k] | BPF_K, 2, 0, 1, 64},
			{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0}, {BPF_JMP | BPF_EXIT}};
		struct bpf_insn dumped[64];
		unsigned n_requests = random_requests(&c);
		int fd = load(insns, N(insns));
		size_t n;

		if (fd < 0)
			skip();
		n = dump(fd, dumped, N(dumped));
		assert_int_equal(
			bpf_prog_attach(fd, cgroup, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI), 0);
		ask_kernel(n_requests);
		assert_int_equal(bpf_prog_detach2(fd, cgroup, BPF_CGROUP_DEVICE), 0);
		close(fd);
		compare(dumped, n, n_requests);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_a_program),
		cmocka_unit_test(test_chains),
		cmocka_unit_test(test_difference),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
