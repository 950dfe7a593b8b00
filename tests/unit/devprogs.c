/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devprogs.h"

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
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PINS_DIR "/cgmd/links"

const struct mode modes[N_MODES] = {
	{DEVPROG_STORAGE, true},
	{DEVPROG_STORAGE, false},
	{DEVPROG_PROGRAMS, true},
	{DEVPROG_PROGRAMS, false},
};

static struct hierarchies all;
struct inspector *inspector;
static char name[32];
char bpffs[] = "/tmp/cgmd-test-devprog-XXXXXX";
static char pins_path[sizeof(bpffs) + sizeof(PINS_DIR)];
int top = -EBADF;

int setup(void **state)
{
	const struct hierarchy *h = NULL;
	char what[64];

	snprintf(name, sizeof(name), "cgmd-test-devprog-%d", (int)getpid());
	if (geteuid() == 0 && hierarchies_discover(&all, NULL, NULL, what, sizeof(what)) == 0)
		h = hierarchy_find(&all, "unified", strlen("unified"));
	if (!h || mkdirat(h->root_fd, name, 0755) < 0) {
		print_message("not root, or no cgroup2 that can be written: skipped\n");
		return 0;
	}
	top = openat(h->root_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top < 0 || !mkdtemp(bpffs) || unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("bpf", bpffs, "bpf", 0, "mode=700") < 0)
		return -1;
	snprintf(pins_path, sizeof(pins_path), "%s" PINS_DIR, bpffs);
	return inspector_start(&all, &inspector);
}

/* What a failed test has left. */
static void remove_all(int fd)
{
	DIR *dir = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	for (struct dirent *e; dir && (e = readdir(dir));) {
		int below;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		below = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		remove_all(below);
		close(below);
		unlinkat(fd, e->d_name, AT_REMOVEDIR);
	}
	closedir(dir);
}

int teardown(void **state)
{
	if (top < 0)
		return 0;
	inspector = inspector_free(inspector);
	remove_all(top);
	close(top);
	umount2(bpffs, MNT_DETACH);
	rmdir(bpffs);
	for (unsigned i = 0; i < all.n; i++)
		if (all.list[i].v2)
			assert_int_equal(unlinkat(all.list[i].root_fd, name, AT_REMOVEDIR), 0);
	hierarchies_done(&all);
	return 0;
}

struct devprog *start(const struct mode *mode)
{
	struct devprog *d;

	assert_int_equal(devprog_new(mode->pins ? bpffs : "/proc", mode->kind, &d), 0);
	if (devprog_kind(d) == DEVPROG_NONE) {
		print_message("%s: skipped\n", devprog_why(d));
		devprog_free(d);
		skip();
	}
	assert_int_equal(devprog_kind(d), mode->kind);
	assert_int_equal(devprog_pins(d), mode->pins);
	return d;
}

static pid_t opener;

const struct mode *need(void **state)
{
	if (top < 0)
		skip();
	if (opener > 0) {
		kill(opener, SIGKILL);
		waitpid(opener, NULL, 0);
		opener = 0;
	}
	remove_all(top);
	return *state;
}

int cgroup_new(int at, const char *path)
{
	int fd;

	assert_int_equal(mkdirat(at, path, 0755), 0);
	fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

void cgroup_end(int at, int fd, const char *path)
{
	close(fd);
	assert_int_equal(unlinkat(at, path, AT_REMOVEDIR), 0);
}

/*
 * Policies.
 */

void rule_add(struct device_rules *rules, bool allow, unsigned major, unsigned minor)
{
	const struct device_rule rule = {
		.allow = allow,
		.access = DEVICE_ALL,
		.range = {.types = DEVICE_CHAR,
			.access = DEVICE_ALL,
			.major = major,
			.first = minor,
			.last = minor},
	};

	assert_int_equal(device_rules_add(rules, &rule), 0);
}

struct device_policy policy_make(const struct devprog *d, unsigned denied, unsigned more)
{
	struct device_rules rules = {.allow = true};
	struct device_policy policy;

	rule_add(&rules, false, 1, denied);
	for (unsigned i = 0; i < more; i++)
		rule_add(&rules, false, 300 + i, 2 * i);
	assert_int_equal(device_policy_compile(&rules, &rules, devprog_policy_max(d), &policy), 0);
	device_rules_done(&rules);
	return policy;
}

void set(struct devprog *d, int fd, unsigned denied, unsigned more)
{
	struct device_policy policy = policy_make(d, denied, more);

	assert_int_equal(devprog_policy_set(d, fd, &policy), 0);
	device_policy_done(&policy);
}

void assert_policy(struct devprog *d, int fd, unsigned denied, unsigned more)
{
	struct device_policy want = policy_make(d, denied, more), got;

	assert_int_equal(devprog_policy_get(d, fd, &got), 1);
	assert_int_equal(got.size, want.size);
	assert_memory_equal(got.data, want.data, want.size);
	device_policy_done(&got);
	device_policy_done(&want);
}

unsigned count_ours(struct devprog *d, int fd, unsigned *others)
{
	struct devprog_attached have;
	unsigned ours = 0;

	assert_int_equal(devprog_query(d, fd, &have), 0);
	for (unsigned i = 0; i < have.n; i++)
		ours += have.one[i].ours;
	if (others)
		*others = have.n - ours;
	return ours;
}

/*
 * A process in the cgroup that opens devices all the time.
 */

static bool can_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static void open_for_ever(struct report *r)
{
	for (;;) {
		if (!can_open("/dev/null"))
			r->null_refused++;
		if (can_open("/dev/zero"))
			r->zero_allowed++;
		if (!can_open("/dev/full"))
			r->full_refused++;
		r->rounds++;
	}
}

static void enter(int fd)
{
	int procs = openat(fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);

	assert_int_equal(write(procs, "0", 1), 1);
	close(procs);
}

void wait_rounds(const struct report *r, unsigned long n)
{
	unsigned long until = r->rounds + n;

	while (r->rounds < until)
		sched_yield();
}

struct opener opener_start(int fd)
{
	struct opener o;

	o.report = mmap(
		NULL, sizeof(*o.report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(o.report != MAP_FAILED);
	o.pid = fork();
	assert_true(o.pid >= 0);
	if (o.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		enter(fd);
		open_for_ever(o.report);
	}
	opener = o.pid;
	wait_rounds(o.report, 2);
	return o;
}

void opener_end(struct opener *o)
{
	wait_rounds(o->report, 10);
	kill(o->pid, SIGKILL);
	assert_int_equal(waitpid(o->pid, NULL, 0), o->pid);
	opener = 0;
	munmap(o->report, sizeof(*o->report));
}

void begin_watch(struct report *r)
{
	wait_rounds(r, 2);
	r->null_refused = r->zero_allowed = 0;
}

void assert_no_wrong(const struct report *r)
{
	wait_rounds(r, 3);
	assert_int_equal(r->null_refused, 0);
	assert_int_equal(r->zero_allowed, 0);
}

bool denied_in(int fd, const char *path)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		enter(fd);
		_exit(can_open(path) ? 0 : errno == EPERM ? 1 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
	return WEXITSTATUS(status) == 1;
}

/*
 * Somebody else's programs.
 */

static int program_load(const char *called, const struct bpf_insn *insns, size_t n)
{
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_CGROUP_DEVICE);
	int fd = bpf_prog_load(BPF_PROG_TYPE_CGROUP_DEVICE, called, "GPL", insns, n, &options);

	assert_true(fd >= 0);
	return fd;
}

int program_new(const char *called, int32_t answer)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = answer},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return program_load(called, insns, 2);
}

int program_with_map(const char *called, const uint32_t *words, size_t size)
{
	int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "a", 4, (uint32_t)size, 1, NULL);
	const struct bpf_insn insns[] = {
		{.code = BPF_LD | BPF_DW | BPF_IMM,
			.dst_reg = BPF_REG_1,
			.src_reg = BPF_PSEUDO_MAP_FD,
			.imm = map},
		{0},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	const uint32_t zero = 0;
	int fd;

	assert_true(map >= 0);
	assert_int_equal(bpf_map_update_elem(map, &zero, words, BPF_ANY), 0);
	fd = program_load(called, insns, 4);
	close(map);
	return fd;
}

unsigned pins_count(void)
{
	DIR *dir = opendir(pins_path);
	unsigned n = 0;

	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir));)
		n += e->d_name[0] != '.';
	closedir(dir);
	return n;
}

struct devprog *finish(struct devprog *d)
{
	while (devprog_pins(d) && pins_count() > 0) {
		devprog_collect(d, 100);
		usleep(1000);
	}
	return devprog_free(d);
}

bool pin_find(int fd, char path[PATH_MAX])
{
	struct stat st;
	char begin[32];
	DIR *dir = opendir(pins_path);
	bool found = false;

	assert_int_equal(fstat(fd, &st), 0);
	snprintf(begin, sizeof(begin), "%ju_", (uintmax_t)st.st_ino);
	for (struct dirent *e; dir && !found && (e = readdir(dir));)
		if (strncmp(e->d_name, begin, strlen(begin)) == 0) {
			snprintf(path, PATH_MAX, "%s/%s", pins_path, e->d_name);
			found = true;
		}
	closedir(dir);
	return found;
}

void detach_ours(const struct mode *mode, struct devprog *d, int fd)
{
	struct devprog_attached have;
	char path[PATH_MAX];

	if (mode->pins) {
		int link;

		assert_true(pin_find(fd, path));
		link = bpf_obj_get(path);
		assert_true(link >= 0);
		assert_int_equal(bpf_link_detach(link), 0);
		close(link);
	} else {
		int program;

		assert_int_equal(devprog_query(d, fd, &have), 0);
		assert_int_equal(have.n, 1);
		program = bpf_prog_get_fd_by_id(have.one[0].id);
		assert_true(program >= 0);
		assert_int_equal(bpf_prog_detach2(program, fd, BPF_CGROUP_DEVICE), 0);
		close(program);
	}
	assert_int_equal(count_ours(d, fd, NULL), 0);
}
