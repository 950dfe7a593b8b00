/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The gate, attached to a cgroup of its own; needs root, and a kernel that has such programs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/cleanup.h"
#include "../../daemon/hierarchy.h"
#include "../../daemon/perf/gate.h"

static struct hierarchies all;
static char bpffs[] = "/tmp/cgmd-test-gate-XXXXXX", name[32];
static int root = -EBADF, top = -EBADF, below = -EBADF;

static const struct hierarchy *find(const char *controller)
{
	return hierarchy_find(&all, controller, strlen(controller));
}

/* Debian's kernels have a level that refuses events of one's own, too. It is lowered in the machine
 * of tests/vm alone. */
static void paranoid_lower(void)
{
	char text[4096] = "";
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strstr(text, "machine.modules=")) {
		close(fd);
		fd = open("/proc/sys/kernel/perf_event_paranoid", O_WRONLY | O_CLOEXEC);
		(void)!write(fd, "2", 1);
	}
	close_fd(&fd);
}

static int begin(void **state)
{
	char what[64];

	(void)state;
	if (geteuid() != 0 || hierarchies_discover(&all, NULL, NULL, what, sizeof(what)) < 0)
		return 0;
	paranoid_lower();
	assert_non_null(mkdtemp(bpffs));
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	if (mount("bpf", bpffs, "bpf", 0, "mode=700") < 0 || !find("unified"))
		return 0;
	snprintf(name, sizeof(name), "cgmd-test-gate-%d", (int)getpid());
	root = find("unified")->root_fd;
	if (mkdirat(root, name, 0755) < 0)
		return 0;
	top = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(top, "below", 0755), 0);
	below = openat(top, "below", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

static int end(void **state)
{
	(void)state;
	if (top >= 0) {
		unlinkat(top, "below", AT_REMOVEDIR);
		unlinkat(root, name, AT_REMOVEDIR);
	}
	umount2(bpffs, MNT_DETACH);
	rmdir(bpffs);
	close_fd(&top);
	close_fd(&below);
	hierarchies_done(&all);
	return 0;
}

static struct perf_gate *gate(bool wanted)
{
	struct perf_gate *g = NULL;

	assert_int_equal(gate_new(bpffs, top, wanted, &g), 0);
	assert_non_null(g);
	return g;
}

static uint64_t id_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

static _Noreturn void ask_child(int cgroup, int flags)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_TASK_CLOCK,
		.size = sizeof(attr),
		.exclude_kernel = 1,
		.exclude_hv = 1};
	int procs = openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	int r = procs >= 0 && write(procs, "0", 1) == 1 && unshare(flags) == 0 ? 0 : 255;

	if (r == 0 && syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC) < 0)
		r = errno;
	_exit(r);
}

/* What a task of the cgroup gets that opens an event of its own: 0 or an errno. */
static int asked(int cgroup, int flags)
{
	int status = -1;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		ask_child(cgroup, flags);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define CONTAINER CLONE_NEWUSER
#define HOST 0

/* NULL, and why is told: it cannot be had here. */
static struct perf_gate *gate_or_skip(void)
{
	struct perf_gate *g;

	if (top < 0 || (find("perf_event") && !find("perf_event")->v2)) {
		print_message("not root, no cgroup2, or perf events are in v1: skipped\n");
		return NULL;
	}
	if (asked(top, CONTAINER) != 0) {
		print_message("the kernel refuses events of one's own: skipped\n");
		return NULL;
	}
	g = gate(true);
	if (!gate_why(g))
		return g;
	print_message("unavailable: %s\n", gate_why(g));
	assert_true(strlen(gate_why(g)) > 10);
	return gate_free(g);
}

static void test_why_not(void **state)
{
	struct perf_gate *g;

	(void)state;
	assert_int_equal(gate_new(bpffs, -EBADF, true, &g), 0);
	assert_non_null(strstr(gate_why(g), "cgroup2"));
	/* Nothing that is said to it fails. */
	assert_int_equal(gate_set(g, 5, true), 0);
	assert_int_equal(gate_forget(g, 5), 0);
	g = gate_free(g);
	g = gate(false);
	assert_non_null(strstr(gate_why(g), "--perf-gate"));
	g = gate_free(g);
	g = gate_or_skip();
	if (!g)
		return;
	gate_free(g);
	assert_int_equal(gate_new("/tmp", top, true, &g), 0);
	assert_non_null(strstr(gate_why(g), "bpffs"));
	rmdir("/tmp/cgmd");
	gate_free(g);
	gate_free(gate(false));
}

static void test_who_passes(void **state)
{
	struct perf_gate *g = gate_or_skip();
	uint64_t *ids;
	unsigned n;

	(void)state;
	if (!g)
		return;
	assert_int_equal(asked(top, HOST), 0);
	assert_int_equal(asked(top, CONTAINER), EPERM);
	assert_int_equal(asked(below, CONTAINER), EPERM);
	assert_int_equal(gate_set(g, id_of(top), true), 0);
	assert_int_equal(asked(top, CONTAINER), 0);
	assert_int_equal(asked(below, CONTAINER), 0);
	/* The nearest counts. */
	assert_int_equal(gate_set(g, id_of(below), false), 0);
	assert_int_equal(asked(top, CONTAINER), 0);
	assert_int_equal(asked(below, CONTAINER), EPERM);
	assert_int_equal(asked(below, HOST), 0);
	assert_int_equal(gate_list(g, &ids, &n), 0);
	assert_int_equal(n, 2);
	assert_true(ids[0] + ids[1] == id_of(top) + id_of(below));
	free(ids);
	assert_int_equal(gate_set(g, id_of(top), false), 0);
	assert_int_equal(gate_set(g, id_of(below), true), 0);
	assert_int_equal(asked(top, CONTAINER), EPERM);
	assert_int_equal(asked(below, CONTAINER), 0);
	assert_int_equal(gate_forget(g, id_of(below)), 0);
	assert_int_equal(gate_forget(g, id_of(below)), 0);
	assert_int_equal(asked(below, CONTAINER), EPERM);
	gate_free(g);
	gate_free(gate(false));
	assert_int_equal(asked(top, CONTAINER), 0);
}

/* The daemon goes, and another comes. */
static void test_stays(void **state)
{
	struct perf_gate *g = gate_or_skip();
	uint64_t *ids;
	unsigned n;

	(void)state;
	if (!g)
		return;
	assert_int_equal(gate_set(g, id_of(below), true), 0);
	gate_free(g);
	assert_int_equal(asked(top, CONTAINER), EPERM);
	assert_int_equal(asked(below, CONTAINER), 0);
	g = gate(true);
	assert_null(gate_why(g));
	assert_int_equal(asked(top, CONTAINER), EPERM);
	assert_int_equal(asked(below, CONTAINER), 0);
	assert_int_equal(gate_list(g, &ids, &n), 0);
	assert_int_equal(n, 1);
	free(ids);
	assert_int_equal(gate_forget(g, id_of(below)), 0);
	assert_int_equal(asked(below, CONTAINER), EPERM);
	gate_free(g);
	gate_free(gate(false));
	assert_int_equal(asked(top, CONTAINER), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_why_not),
		cmocka_unit_test(test_who_passes),
		cmocka_unit_test(test_stays),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
