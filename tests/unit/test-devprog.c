/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Device programs on a real cgroup2, each way in which they can be kept; needs root. */
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
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/devprog.h"
#include "../../daemon/sandbox.h"

#define PINS_DIR "/cgmd/links"

/* How the policies are kept, and with or without pins. */
struct mode {
	enum devprog_kind kind;
	bool pins;
};

static struct hierarchies all;
static struct inspector *inspector;
static char name[32], bpffs[] = "/tmp/cgmd-test-devprog-XXXXXX";
static char pins_path[sizeof(bpffs) + sizeof(PINS_DIR)];
static int top = -EBADF; /* the cgroup in which all happens */

static int setup(void **state)
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

static int teardown(void **state)
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

/* The kernel may have none of it. */
static struct devprog *start(const struct mode *mode)
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

/* What a test before has left when it failed goes. */
static const struct mode *need(void **state)
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

static int cgroup_new(int at, const char *path)
{
	int fd;

	assert_int_equal(mkdirat(at, path, 0755), 0);
	fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void cgroup_end(int at, int fd, const char *path)
{
	close(fd);
	assert_int_equal(unlinkat(at, path, AT_REMOVEDIR), 0);
}

/*
 * Policies.
 */

#define NULL_DEVICE 3
#define ZERO_DEVICE 5
#define FULL_DEVICE 7

static void rule_add(struct device_rules *rules, bool allow, unsigned major, unsigned minor)
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

/* Denies one device of major 1 and allows the others; `more` rules of no effect make it larger. */
static struct device_policy policy_make(const struct devprog *d, unsigned denied, unsigned more)
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

static void set(struct devprog *d, int fd, unsigned denied, unsigned more)
{
	struct device_policy policy = policy_make(d, denied, more);

	assert_int_equal(devprog_policy_set(d, fd, &policy), 0);
	device_policy_done(&policy);
}

static void assert_policy(struct devprog *d, int fd, unsigned denied, unsigned more)
{
	struct device_policy want = policy_make(d, denied, more), got;

	assert_int_equal(devprog_policy_get(d, fd, &got), 1);
	assert_int_equal(got.size, want.size);
	assert_memory_equal(got.data, want.data, want.size);
	device_policy_done(&got);
	device_policy_done(&want);
}

static unsigned count_ours(struct devprog *d, int fd, unsigned *others)
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

struct report {
	_Atomic unsigned long rounds, null_refused, zero_allowed, full_refused;
	atomic_bool watch_full; /* full is to be denied too, at any moment */
};

struct opener {
	pid_t pid;
	struct report *report;
};

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

static void wait_rounds(const struct report *r, unsigned long n)
{
	unsigned long until = r->rounds + n;

	while (r->rounds < until)
		sched_yield();
}

static struct opener opener_start(int fd)
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

static void opener_end(struct opener *o)
{
	wait_rounds(o->report, 10);
	kill(o->pid, SIGKILL);
	assert_int_equal(waitpid(o->pid, NULL, 0), o->pid);
	opener = 0;
	munmap(o->report, sizeof(*o->report));
}

/* From here on zero is to be denied, and null not, at every moment. */
static void begin_watch(struct report *r)
{
	wait_rounds(r, 2);
	r->null_refused = r->zero_allowed = 0;
}

static void assert_no_wrong(const struct report *r)
{
	wait_rounds(r, 3);
	assert_int_equal(r->null_refused, 0);
	assert_int_equal(r->zero_allowed, 0);
}

/* Is it denied there? By a process of its own. */
static bool denied_in(int fd, const char *path)
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

static int program_new(const char *called, int32_t answer)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = answer},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return program_load(called, insns, 2);
}

/* One that denies everything, and has a map in which this is. */
static int program_with_map(const char *called, const uint32_t *words, size_t size)
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

static unsigned pins_count(void)
{
	DIR *dir = opendir(pins_path);
	unsigned n = 0;

	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir));)
		n += e->d_name[0] != '.';
	closedir(dir);
	return n;
}

/* The kernel lets go of what was removed when it gets to it. */
static struct devprog *finish(struct devprog *d)
{
	while (devprog_pins(d) && pins_count() > 0) {
		devprog_collect(d, 100);
		usleep(1000);
	}
	return devprog_free(d);
}

/* The link that is pinned for the cgroup, if there is one. */
static bool pin_find(int fd, char path[PATH_MAX])
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

/* As root can, beside the daemon's back. */
static void detach_ours(const struct mode *mode, struct devprog *d, int fd)
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

/*
 * The tests.
 */

static void test_set_and_clear(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode);
	int fd = cgroup_new(top, "x");
	struct device_policy none;

	assert_int_equal(count_ours(d, fd, NULL), 0);
	assert_int_equal(devprog_policy_get(d, fd, &none), 0);
	assert_int_equal(devprog_policy_clear(d, fd), 0);
	set(d, fd, ZERO_DEVICE, 0);
	assert_policy(d, fd, ZERO_DEVICE, 0);
	assert_int_equal(count_ours(d, fd, NULL), 1);
	assert_true(denied_in(fd, "/dev/zero"));
	assert_false(denied_in(fd, "/dev/full"));
	set(d, fd, FULL_DEVICE, 0);
	assert_policy(d, fd, FULL_DEVICE, 0);
	assert_int_equal(count_ours(d, fd, NULL), 1);
	assert_false(denied_in(fd, "/dev/zero"));
	assert_true(denied_in(fd, "/dev/full"));
	assert_int_equal(devprog_policy_clear(d, fd), 0);
	assert_int_equal(count_ours(d, fd, NULL), 0);
	assert_int_equal(devprog_policy_get(d, fd, &none), 0);
	assert_false(denied_in(fd, "/dev/full"));
	if (mode->pins)
		assert_int_equal(pins_count(), 0);
	cgroup_end(top, fd, "x");
	finish(d);
}

/* A task far below is judged by each cgroup on its way, and not by others. */
static void test_below(void **state)
{
	struct devprog *d = start(need(state));
	int a = cgroup_new(top, "a"), b = cgroup_new(a, "b"), c = cgroup_new(b, "c");
	int other = cgroup_new(top, "other");

	set(d, a, ZERO_DEVICE, 0);
	set(d, b, FULL_DEVICE, 0);
	assert_true(denied_in(c, "/dev/zero"));
	assert_true(denied_in(c, "/dev/full"));
	assert_false(denied_in(c, "/dev/null"));
	assert_false(denied_in(a, "/dev/full"));
	assert_false(denied_in(other, "/dev/zero"));
	assert_int_equal(count_ours(d, c, NULL), 0);
	cgroup_end(b, c, "c");
	cgroup_end(a, b, "b");
	cgroup_end(top, a, "a");
	cgroup_end(top, other, "other");
	finish(d);
}

/* Numbers of rules of no effect, one list in each class. */
static const unsigned lengths[] = {0, 40, 200, 900, 1600};
#define N_LENGTHS (sizeof(lengths) / sizeof(lengths[0]))

static unsigned lengths_had(const struct devprog *d)
{
	unsigned n = 0;

	for (; n < N_LENGTHS; n++) {
		struct device_rules rules = {.allow = true};
		struct device_policy policy = {0};
		int r;

		for (unsigned i = 0; i < lengths[n] + 1; i++)
			rule_add(&rules, false, 300 + i, 2 * i);
		r = device_policy_compile(&rules, &rules, devprog_policy_max(d), &policy);
		device_policy_done(&policy);
		device_rules_done(&rules);
		if (r < 0)
			break;
	}
	return n;
}

/* From each class to each other, back and forth: at every moment one of them is in force. */
static void test_classes(void **state)
{
	struct devprog *d = start(need(state));
	int fd = cgroup_new(top, "x");
	unsigned n = lengths_had(d), sizes = 0;
	size_t last = 0;
	struct opener o;

	assert_true(n > 1);
	for (unsigned i = 0; i < n; i++) {
		struct device_policy p = policy_make(d, ZERO_DEVICE, lengths[i]);

		sizes += p.size != last;
		last = p.size;
		device_policy_done(&p);
	}
	assert_int_equal(sizes, n);
	set(d, fd, ZERO_DEVICE, 0);
	o = opener_start(fd);
	begin_watch(o.report);
	for (unsigned round = 0; round < 6; round++)
		for (unsigned i = 0; i < n * n; i++) {
			unsigned length = i % 2 ? lengths[i / n] : lengths[i % n];

			set(d, fd, ZERO_DEVICE, length);
			wait_rounds(o.report, 1);
			assert_int_equal(count_ours(d, fd, NULL), 1);
			assert_policy(d, fd, ZERO_DEVICE, length);
		}
	assert_no_wrong(o.report);
	opener_end(&o);
	cgroup_end(top, fd, "x");
	finish(d);
}

/* What a class had when it was last attached is not in force again, however it was detached. */
static void test_no_old_policy(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode);
	int fd = cgroup_new(top, "x");
	struct opener o;

	set(d, fd, NULL_DEVICE, 0);
	o = opener_start(fd);
	assert_true(o.report->null_refused > 0);
	detach_ours(mode, d, fd);
	set(d, fd, ZERO_DEVICE, 200);
	begin_watch(o.report);
	for (unsigned i = 0; i < 50; i++) {
		set(d, fd, ZERO_DEVICE, i % 2 ? 200 : 0);
		wait_rounds(o.report, 1);
	}
	assert_no_wrong(o.report);
	assert_policy(d, fd, ZERO_DEVICE, 200);
	opener_end(&o);
	cgroup_end(top, fd, "x");
	finish(d);
}

static void test_drift(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode);
	int fd = cgroup_new(top, "x");
	char path[PATH_MAX];

	set(d, fd, ZERO_DEVICE, 0);
	detach_ours(mode, d, fd);
	assert_false(denied_in(fd, "/dev/zero"));
	set(d, fd, ZERO_DEVICE, 0);
	assert_int_equal(count_ours(d, fd, NULL), 1);
	assert_true(denied_in(fd, "/dev/zero"));
	if (mode->pins) {
		/* Our new link is pinned in the place of the dead one. */
		assert_int_equal(pins_count(), 1);
		assert_true(pin_find(fd, path));
		assert_int_equal(unlink(path), 0);
		while (count_ours(d, fd, NULL) > 0)
			usleep(1000); /* the kernel puts links later */
		set(d, fd, ZERO_DEVICE, 0);
		assert_true(denied_in(fd, "/dev/zero"));
		assert_int_equal(pins_count(), 1);
	}
	assert_int_equal(devprog_policy_clear(d, fd), 0);
	cgroup_end(top, fd, "x");
	finish(d);
}

/* Somebody holds a link of ours, and has taken its pin away: it cannot be detached, but has no
 * opinion any more, or it is said that it is in force. */
static void test_held(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode);
	bool stored = mode->kind == DEVPROG_STORAGE;
	int fd = cgroup_new(top, "x"), link;
	char path[PATH_MAX];

	set(d, fd, FULL_DEVICE, 0);
	assert_true(pin_find(fd, path));
	link = bpf_obj_get(path);
	assert_true(link >= 0);
	assert_int_equal(unlink(path), 0);
	if (stored) {
		set(d, fd, ZERO_DEVICE, 40);
		assert_false(denied_in(fd, "/dev/full"));
		assert_policy(d, fd, ZERO_DEVICE, 40);
	} else {
		struct device_policy policy = policy_make(d, ZERO_DEVICE, 40);

		assert_int_equal(devprog_policy_set(d, fd, &policy), -EBUSY);
		device_policy_done(&policy);
	}
	assert_true(denied_in(fd, "/dev/zero"));
	assert_int_equal(devprog_policy_clear(d, fd), stored ? 0 : -EBUSY);
	assert_false(denied_in(fd, "/dev/zero"));
	close(link);
	cgroup_end(top, fd, "x");
	finish(d);
}

static void test_flags(void **state)
{
	static const uint32_t flags[] = {0, BPF_F_ALLOW_OVERRIDE, BPF_F_ALLOW_MULTI};
	struct devprog *d = start(need(state));
	int program = program_new("another", 1);

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		LIBBPF_OPTS(bpf_prog_attach_opts, options, .flags = flags[i]);
		int fd = cgroup_new(top, "x"), below = cgroup_new(fd, "below");
		struct device_policy policy = policy_make(d, ZERO_DEVICE, 0);
		bool multi = flags[i] == BPF_F_ALLOW_MULTI;
		struct devprog_attached have;

		assert_int_equal(devprog_query(d, fd, &have), 0);
		assert_int_equal(have.n, 0);
		assert_true(devprog_ancestor_allows(&have));
		assert_int_equal(bpf_prog_attach_opts(program, fd, BPF_CGROUP_DEVICE, &options), 0);
		assert_int_equal(devprog_query(d, fd, &have), 0);
		assert_int_equal(have.n, 1);
		assert_int_equal(have.flags, flags[i]);
		assert_false(have.one[0].ours);
		assert_int_equal(devprog_ancestor_allows(&have), multi);
		assert_int_equal(devprog_policy_set(d, fd, &policy), multi ? 0 : -EPERM);
		/* With ALLOW_OVERRIDE the kernel would, and so widen: that is the caller's. */
		assert_int_equal(devprog_policy_set(d, below, &policy), flags[i] ? 0 : -EPERM);
		device_policy_done(&policy);
		cgroup_end(fd, below, "below");
		cgroup_end(top, fd, "x");
	}
	close(program);
	finish(d);
}

static void test_too_many(void **state)
{
	LIBBPF_OPTS(bpf_prog_attach_opts, options, .flags = BPF_F_ALLOW_MULTI);
	struct devprog *d = start(need(state));
	int fd = cgroup_new(top, "x");
	struct device_policy policy = policy_make(d, ZERO_DEVICE, 0);
	struct devprog_attached have;

	for (unsigned i = 0; i < DEVPROG_ATTACHED_MAX; i++) {
		int program = program_new("one_of_many", 1);

		assert_int_equal(bpf_prog_attach_opts(program, fd, BPF_CGROUP_DEVICE, &options), 0);
		close(program);
	}
	assert_int_equal(devprog_query(d, fd, &have), 0);
	assert_int_equal(have.n, DEVPROG_ATTACHED_MAX);
	assert_int_equal(devprog_policy_set(d, fd, &policy), -E2BIG);
	device_policy_done(&policy);
	policy = (struct device_policy){.size = devprog_policy_max(d) + 1};
	assert_int_equal(devprog_policy_set(d, fd, &policy), -E2BIG);
	cgroup_end(top, fd, "x");
	finish(d);
}

static void test_removed(void **state)
{
	struct devprog *d = start(need(state));
	int fd = cgroup_new(top, "x");
	struct device_policy policy = policy_make(d, ZERO_DEVICE, 0);
	int r;

	assert_int_equal(unlinkat(top, "x", AT_REMOVEDIR), 0);
	r = devprog_policy_set(d, fd, &policy);
	assert_true(r == -ENOENT || r == -ENODEV);
	device_policy_done(&policy);
	close(fd);
	devprog_free(d);
}

static void test_off(void **state)
{
	struct devprog *d;
	struct devprog_attached have;
	struct device_policy policy = {0};
	struct sandbox_bpf rights;

	need(state);
	assert_int_equal(devprog_off("because", &d), 0);
	assert_int_equal(devprog_kind(d), DEVPROG_NONE);
	assert_string_equal(devprog_why(d), "because");
	assert_int_equal(devprog_policy_max(d), 0);
	assert_int_equal(devprog_query(d, top, &have), -EOPNOTSUPP);
	assert_int_equal(devprog_policy_get(d, top, &policy), -EOPNOTSUPP);
	assert_int_equal(devprog_policy_set(d, top, &policy), -EOPNOTSUPP);
	assert_int_equal(devprog_policy_clear(d, top), -EOPNOTSUPP);
	assert_int_equal(devprog_collect(d, 10), 0);
	devprog_rights(d, &rights);
	assert_false(rights.calls || rights.capability || rights.loads);
	devprog_free(d);
}

/* Many at once, each another policy: one program of ours is left, with one of them. */
struct setter {
	pthread_t thread;
	struct devprog *d;
	int fd;
	unsigned length;
	int result;
};

static void *set_often(void *userdata)
{
	struct setter *s = userdata;

	for (unsigned i = 0; s->result == 0 && i < 40; i++) {
		struct device_policy p = policy_make(s->d, ZERO_DEVICE, (s->length + i) % 90);

		s->result = devprog_policy_set(s->d, s->fd, &p);
		device_policy_done(&p);
	}
	return NULL;
}

static void test_threads(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode);
	int fd = cgroup_new(top, "x");
	struct setter setters[4];

	for (unsigned i = 0; i < 4; i++) {
		setters[i] = (struct setter){.d = d, .fd = fd, .length = 23 * i};
		assert_int_equal(
			pthread_create(&setters[i].thread, NULL, set_often, &setters[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(setters[i].thread, NULL), 0);
		assert_int_equal(setters[i].result, 0);
	}
	assert_int_equal(count_ours(d, fd, NULL), 1);
	assert_true(denied_in(fd, "/dev/zero"));
	if (mode->pins)
		assert_int_equal(pins_count(), 1);
	assert_int_equal(devprog_policy_clear(d, fd), 0);
	cgroup_end(top, fd, "x");
	finish(d);
}

/*
 * Confined as the core is: nothing but what is left of bpf(2) does all this.
 */

static bool is_refused(long command)
{
	union bpf_attr attr = {0};

	return syscall(SYS_bpf, command, &attr, sizeof(attr)) < 0 && errno == EPERM;
}

/* The steps' number at which it went wrong, 0 if it did not. */
static int confined(struct devprog *d, int fd, const struct sandbox_bpf *rights)
{
	struct device_policy small = policy_make(d, ZERO_DEVICE, 0), got;
	struct device_policy large = policy_make(d, FULL_DEVICE, 40);
	struct devprog_attached have;

	if (sandbox_capabilities(rights) < 0 || sandbox_syscalls(rights) < 0)
		return 1;
	if (devprog_policy_set(d, fd, &small) < 0 || devprog_policy_set(d, fd, &large) < 0)
		return 2;
	if (devprog_query(d, fd, &have) < 0 || have.n != 1 || !have.one[0].ours)
		return 3;
	if (devprog_policy_get(d, fd, &got) != 1)
		return 4;
	if (devprog_policy_clear(d, fd) < 0 || devprog_policy_set(d, fd, &small) < 0)
		return 5;
	if (devprog_collect(d, 100) != (devprog_pins(d) ? 1 : 0))
		return 6;
	if (is_refused(BPF_PROG_LOAD) == rights->loads || is_refused(BPF_OBJ_GET))
		return 7;
	/* By the filter, though the kernel looks at the lower half alone. */
	if (!is_refused(BPF_OBJ_GET | INT64_C(1) << 32) || !is_refused(BPF_PROG_GET_FD_BY_ID) ||
		!is_refused(BPF_LINK_DETACH + 1) || !is_refused(BPF_PROG_TEST_RUN))
		return 8;
	return 0;
}

static void test_confined(void **state)
{
	struct devprog *d = start(need(state));
	int fd = cgroup_new(top, "x"), status;
	struct sandbox_bpf rights;
	pid_t pid;

	devprog_rights(d, &rights);
	assert_true(rights.calls);
	assert_int_equal(rights.loads, devprog_kind(d) == DEVPROG_PROGRAMS);
	pid = fork();
	if (pid == 0)
		_exit(confined(d, fd, &rights));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(denied_in(fd, "/dev/zero"));
	cgroup_end(top, fd, "x");
	finish(d);
}

/*
 * After a restart.
 */

static const struct mode modes[] = {
	{DEVPROG_STORAGE, true},
	{DEVPROG_STORAGE, false},
	{DEVPROG_PROGRAMS, true},
	{DEVPROG_PROGRAMS, false},
};
#define N_MODES (sizeof(modes) / sizeof(modes[0]))

static bool is_kept(const struct mode *from, const struct mode *to)
{
	return from->kind == DEVPROG_STORAGE && to->kind == DEVPROG_STORAGE && from->pins &&
	       to->pins;
}

static void restart(const struct mode *from, const struct mode *to, unsigned more)
{
	struct devprog *d = start(from);
	int fd = cgroup_new(top, "x");
	struct devprog_attached have;
	struct device_policy none;
	unsigned others = 0;
	bool held = false;
	struct opener o;

	set(d, fd, ZERO_DEVICE, more);
	o = opener_start(fd);
	begin_watch(o.report);
	devprog_free(d);
	d = start(to);
	if (is_kept(from, to)) {
		assert_int_equal(count_ours(d, fd, &others), 1);
		assert_int_equal(others, 0);
		assert_policy(d, fd, ZERO_DEVICE, more);
	} else {
		assert_int_equal(count_ours(d, fd, NULL), 0);
		assert_int_equal(devprog_policy_get(d, fd, &none), 0);
		assert_int_equal(devprog_query(d, fd, &have), 0);
		/* Without a bpffs what was pinned there loses its policy, or is said to be in force
		 * still. */
		held = from->pins && !to->pins;
		assert_int_equal(devprog_adopt(d, inspector, fd, &have),
			held && from->kind == DEVPROG_PROGRAMS ? -EBUSY : 1);
		assert_int_equal(count_ours(d, fd, &others), 1);
		assert_int_equal(others, held);
		assert_policy(d, fd, ZERO_DEVICE, more);
	}
	assert_int_equal(devprog_query(d, fd, &have), 0);
	if (!held)
		assert_int_equal(devprog_adopt(d, inspector, fd, &have), 0);
	set(d, fd, ZERO_DEVICE, more + 1);
	assert_no_wrong(o.report);
	opener_end(&o);
	assert_int_equal(devprog_policy_clear(d, fd), 0);
	cgroup_end(top, fd, "x");
	finish(d);
}

static void test_restart(void **state)
{
	const struct mode *from = need(state);

	for (size_t i = 0; i < N_MODES; i++)
		for (unsigned more = 0; more <= 40; more += 40)
			restart(from, &modes[i], more);
}

/* Killed after a new class was attached and before the old one was detached: the newer counts, and
 * the next set leaves one. */
static void test_two_policies(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode), *second;
	int fd = cgroup_new(top, "x");
	struct devprog_attached have;

	/* Two daemons without a bpffs do not know each other's. */
	second = start(mode);
	set(d, fd, FULL_DEVICE, 0);
	set(second, fd, ZERO_DEVICE, 0);
	assert_int_equal(devprog_query(second, fd, &have), 0);
	assert_int_equal(have.n, 2);
	assert_int_equal(devprog_adopt(second, inspector, fd, &have), 1);
	assert_policy(second, fd, ZERO_DEVICE, 0);
	assert_false(denied_in(fd, "/dev/full"));
	/* Both are old for a third. */
	set(d, fd, FULL_DEVICE, 40);
	devprog_free(d);
	d = start(mode);
	assert_int_equal(devprog_query(d, fd, &have), 0);
	assert_int_equal(devprog_adopt(d, inspector, fd, &have), 2);
	assert_policy(d, fd, FULL_DEVICE, 40);
	assert_int_equal(count_ours(d, fd, NULL), 1);
	devprog_free(second);
	cgroup_end(top, fd, "x");
	finish(d);
}

/* Named as ours, with bytes that are none of this version: it stays in force. */
static void test_unreadable(void **state)
{
	LIBBPF_OPTS(bpf_prog_attach_opts, options, .flags = BPF_F_ALLOW_MULTI);
	struct devprog *d = start(need(state));
	static const uint32_t words[60] = {99, 1, 2, 3};
	int fd = cgroup_new(top, "x");
	int program = program_with_map("cgmd_dev_240", words, sizeof(words));
	int foreign = program_with_map("runc", words, sizeof(words));
	struct devprog_attached have;

	assert_int_equal(bpf_prog_attach_opts(foreign, fd, BPF_CGROUP_DEVICE, &options), 0);
	assert_int_equal(devprog_query(d, fd, &have), 0);
	assert_int_equal(devprog_adopt(d, inspector, fd, &have), 0);
	assert_int_equal(bpf_prog_attach_opts(program, fd, BPF_CGROUP_DEVICE, &options), 0);
	close(program);
	close(foreign);
	assert_int_equal(devprog_query(d, fd, &have), 0);
	assert_int_equal(devprog_adopt(d, inspector, fd, &have), -EPROTO);
	assert_int_equal(devprog_query(d, fd, &have), 0);
	assert_int_equal(have.n, 2);
	assert_true(denied_in(fd, "/dev/null"));
	cgroup_end(top, fd, "x");
	finish(d);
}

/*
 * Pins.
 */

static void test_collect(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode);
	int fd[8], looked;
	char path[16];

	for (unsigned i = 0; i < 8; i++) {
		snprintf(path, sizeof(path), "x%u", i);
		fd[i] = cgroup_new(top, path);
		set(d, fd[i], ZERO_DEVICE, 0);
	}
	assert_int_equal(pins_count(), 8);
	assert_int_equal(devprog_collect(d, 100), 8);
	assert_int_equal(pins_count(), 8);
	for (unsigned i = 2; i < 8; i++) {
		snprintf(path, sizeof(path), "x%u", i);
		cgroup_end(top, fd[i], path);
	}
	while (pins_count() > 2) {
		looked = devprog_collect(d, 3);
		assert_in_range(looked, 0, 3);
		usleep(1000);
	}
	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "x%u", i);
		devprog_collect(d, 100);
		assert_true(denied_in(fd[i], "/dev/zero"));
		assert_policy(d, fd[i], ZERO_DEVICE, 0);
		cgroup_end(top, fd[i], path);
	}
	finish(d);
}

/* Killed while a pin took another's place. */
static void test_half_renamed(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode);
	int fd = cgroup_new(top, "x");
	char path[PATH_MAX], other[PATH_MAX + 8];

	set(d, fd, ZERO_DEVICE, 0);
	devprog_free(d);
	assert_true(pin_find(fd, path));
	snprintf(other, sizeof(other), "%s_new", path);
	assert_int_equal(rename(path, other), 0);
	d = start(mode);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(access(other, F_OK), -1);
	assert_true(denied_in(fd, "/dev/zero"));
	cgroup_end(top, fd, "x");
	finish(d);
}

/* Others could have put there what they like. */
static void test_not_roots(void **state)
{
	const struct mode *mode = need(state);
	const struct mode direct = {.kind = mode->kind, .pins = false};
	struct devprog *d = start(mode);
	char path[PATH_MAX];
	struct devprog *e;

	devprog_free(d);
	snprintf(path, sizeof(path), "%s/cgmd", bpffs);
	assert_int_equal(chmod(path, 0777), 0);
	assert_int_equal(devprog_new(bpffs, mode->kind, &e), 0);
	assert_false(devprog_pins(e));
	devprog_free(e);
	assert_int_equal(chmod(path, 0700), 0);
	assert_int_equal(chown(path, 1000, 0), 0);
	assert_int_equal(devprog_new(bpffs, mode->kind, &e), 0);
	assert_false(devprog_pins(e));
	devprog_free(e);
	assert_int_equal(chown(path, 0, 0), 0);
	devprog_free(start(mode));
	devprog_free(start(&direct));
}

/* A bpffs of which nothing more can be had: what was asked for is in force all the same. */
static void test_no_room(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode);
	int fd = cgroup_new(top, "x");

	assert_int_equal(mount(NULL, bpffs, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	set(d, fd, ZERO_DEVICE, 0);
	assert_true(denied_in(fd, "/dev/zero"));
	assert_int_equal(count_ours(d, fd, NULL), 1);
	assert_int_equal(mount(NULL, bpffs, NULL, MS_REMOUNT, NULL), 0);
	assert_int_equal(devprog_policy_clear(d, fd), 0);
	assert_int_equal(count_ours(d, fd, NULL), 0);
	cgroup_end(top, fd, "x");
	finish(d);
}

/* clang-format off: it takes the # of an argument for a directive */
#define IN(test, how, mode)                                                      \
	{                                                                        \
#		test "/" how, test, NULL, NULL, (void *)(uintptr_t)&modes[mode] \
	}
/* clang-format on */
#define PINNED(test) IN(test, "storage/pins", 0), IN(test, "programs/pins", 2)
#define DIRECT(test) IN(test, "storage", 1), IN(test, "programs", 3)
#define EACH(test) PINNED(test), DIRECT(test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(test_set_and_clear),
		EACH(test_below),
		EACH(test_classes),
		EACH(test_no_old_policy),
		EACH(test_drift),
		EACH(test_flags),
		EACH(test_too_many),
		EACH(test_removed),
		EACH(test_threads),
		EACH(test_confined),
		EACH(test_restart),
		DIRECT(test_two_policies),
		EACH(test_unreadable),
		PINNED(test_held),
		PINNED(test_collect),
		PINNED(test_half_renamed),
		PINNED(test_not_roots),
		PINNED(test_no_room),
		cmocka_unit_test(test_off),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
