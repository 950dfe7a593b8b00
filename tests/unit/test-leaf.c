/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The leaf of a cgroup, on v2; needs root. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../../daemon/cgroupfs.h"
#include "../../daemon/leaf.h"

#define MARK "trusted.cgmd.leaf"
#define OWNER 100000
#define GROUP 100001

static const char *const delegation[] = {"cgroup.procs", "cgroup.nosuch", NULL};

static struct hierarchies all;
static struct inspector *inspector;
static struct hierarchy here; /* the hierarchy as if `top` were its root */
static char name[32];
static int top = -EBADF;

/* The id that the daemon sees of one directory, as another hierarchy could have it. */
static int twin_fd = -EBADF;
static ino_t twin_id;

/* What somebody else does once, right after the daemon has made a directory or before it looks at
 * one. */
static void (*after_mkdir)(int dirfd), (*before_stat)(int fd);

static void happen(void (**what)(int), int fd)
{
	void (*now)(int) = *what;

	*what = NULL;
	if (now)
		now(fd);
}

int mkdirat(int dirfd, const char *path, mode_t mode)
{
	int r = (int)syscall(SYS_mkdirat, dirfd, path, mode);

	if (r == 0)
		happen(&after_mkdir, dirfd);
	return r;
}

int fstat(int fd, struct stat *st)
{
	int r;

	happen(&before_stat, fd);
	r = fstatat(fd, "", st, AT_EMPTY_PATH);
	if (r == 0 && fd == twin_fd)
		st->st_ino = twin_id;
	return r;
}

static int setup(void **state)
{
	const struct hierarchy *h = NULL;
	char what[64];

	snprintf(name, sizeof(name), "cgmd-test-leaf-%d", (int)getpid());
	if (geteuid() == 0 && hierarchies_discover(&all, NULL, NULL, what, sizeof(what)) == 0)
		h = hierarchy_find(&all, "unified", strlen("unified"));
	if (!h || mkdirat(h->root_fd, name, 0755) < 0) {
		print_message("not root, or no cgroup2 that can be written: skipped\n");
		return 0;
	}
	top = openat(h->root_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	here = *h;
	here.root_fd = top;
	return top < 0 ? -1 : inspector_start(&all, &inspector);
}

static int teardown(void **state)
{
	if (top < 0)
		return 0;
	inspector = inspector_free(inspector);
	close(top);
	for (unsigned i = 0; i < all.n; i++)
		if (all.list[i].v2)
			assert_int_equal(unlinkat(all.list[i].root_fd, name, AT_REMOVEDIR), 0);
	hierarchies_done(&all);
	return 0;
}

static int need(void **state)
{
	if (top < 0)
		skip();
	return 0;
}

/* A cgroup below the top, OWNER's. */
static int cgroup_new(const char *path, struct node *ret)
{
	int fd;

	assert_int_equal(mkdirat(top, path, 0750), 0);
	fd = openat(top, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fchown(fd, OWNER, GROUP), 0);
	assert_int_equal(fchmod(fd, 01752), 0);
	assert_int_equal(cgroup_stat(fd, ret), 0);
	return fd;
}

static void cgroup_end(int fd, const char *path)
{
	close(fd);
	assert_int_equal(unlinkat(top, path, AT_REMOVEDIR), 0);
}

static void assert_is(int fd, const char *file, uid_t uid, gid_t gid, mode_t mode)
{
	struct stat st;

	assert_int_equal(fstatat(fd, file, &st, AT_EMPTY_PATH), 0);
	assert_int_equal(st.st_uid, uid);
	assert_int_equal(st.st_gid, gid);
	if (mode)
		assert_int_equal(st.st_mode & 07777, mode);
}

static void test_made_and_removed(void **state)
{
	struct node node;
	struct stat st, again;
	int fd = cgroup_new("x", &node), leaf, same;
	char id[24], value[24] = "";
	bool made = false;

	assert_int_equal(leaf_open(inspector, fd), -ENOENT);
	assert_int_equal(leaf_remove(inspector, fd), 0);
	assert_int_equal(leaf_chown(inspector, fd, OWNER + 5, -1, delegation), 0);
	leaf = leaf_make(inspector, fd, &node, delegation, &made);
	assert_true(leaf >= 0 && made);
	/* no more than the cgroup's, and never more than cgroups of ours have */
	assert_is(leaf, "", OWNER, GROUP, 0750);
	assert_is(leaf, "cgroup.procs", OWNER, GROUP, 0);
	assert_is(leaf, "cgroup.max.depth", 0, 0, 0);
	assert_int_equal(fstat(leaf, &st), 0);
	snprintf(id, sizeof(id), "%ju", (uintmax_t)st.st_ino);
	assert_int_equal(fgetxattr(leaf, MARK, value, sizeof(value)), strlen(id));
	assert_string_equal(value, id);
	same = leaf_make(inspector, fd, &node, delegation, &made);
	assert_true(same >= 0 && !made);
	assert_int_equal(fstat(same, &again), 0);
	assert_true(st.st_ino == again.st_ino);
	close(same);
	same = leaf_open(inspector, fd);
	assert_true(same >= 0);
	close(same);
	assert_int_equal(leaf_is(inspector, leaf, LEAF_NAME), 1);
	assert_int_equal(leaf_is(inspector, leaf, "a/b/" LEAF_NAME), 1);
	assert_int_equal(leaf_is(inspector, leaf, "a/x" LEAF_NAME), 0);
	assert_int_equal(leaf_is(inspector, leaf, NULL), 0);
	assert_int_equal(leaf_is(inspector, fd, LEAF_NAME), 0);
	/* whom the cgroup is given to, has the leaf too */
	assert_int_equal(leaf_chown(inspector, fd, OWNER + 5, -1, delegation), 0);
	assert_is(leaf, "", OWNER + 5, GROUP, 0750);
	assert_is(leaf, "cgroup.procs", OWNER + 5, GROUP, 0);
	close(leaf);
	assert_int_equal(leaf_remove(inspector, fd), 0);
	assert_int_equal(leaf_open(inspector, fd), -ENOENT);
	cgroup_end(fd, "x");
	/* the cgroup itself is gone */
	assert_int_equal(mkdirat(top, "x", 0755), 0);
	fd = openat(top, "x", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(unlinkat(top, "x", AT_REMOVEDIR), 0);
	assert_int_equal(leaf_open(inspector, fd), -ENOENT);
	assert_int_equal(leaf_make(inspector, fd, &node, delegation, &made), -ENODEV);
	assert_int_equal(leaf_remove(inspector, fd), 0);
	close(fd);
}

/* v1 hierarchies count their cgroups for themselves. */
static void test_same_id_elsewhere(void **state)
{
	struct node node;
	struct stat st;
	int fd = cgroup_new("x", &node), leaf;
	bool made = false;

	leaf = leaf_make(inspector, fd, &node, delegation, &made);
	assert_int_equal(leaf_is(inspector, leaf, LEAF_NAME), 1);
	assert_int_equal(fstat(leaf, &st), 0);
	twin_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(twin_fd >= 0);
	twin_id = st.st_ino;
	assert_int_equal(leaf_is(inspector, twin_fd, LEAF_NAME), 0);
	assert_int_equal(leaf_is(inspector, leaf, LEAF_NAME), 1);
	close(twin_fd);
	twin_fd = -EBADF;
	close(leaf);
	assert_int_equal(leaf_remove(inspector, fd), 0);
	cgroup_end(fd, "x");
}

/* Unmarked, and with a task in it, it is somebody's own. */
static void test_somebodys_own(void **state)
{
	struct node node;
	int fd = cgroup_new("x", &node), own;
	char text[16];
	bool made = false;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	assert_int_equal(mkdirat(fd, LEAF_NAME, 0755), 0);
	own = openat(fd, LEAF_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(text, sizeof(text), "%d", (int)pid);
	assert_int_equal(cgroup_write(own, "cgroup.procs", text, strlen(text)), 0);
	assert_int_equal(leaf_make(inspector, fd, &node, delegation, &made), -EEXIST);
	assert_int_equal(leaf_open(inspector, fd), -ENOENT);
	assert_int_equal(leaf_remove(inspector, fd), 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	/* the dead one is counted a little longer */
	while (unlinkat(fd, LEAF_NAME, AT_REMOVEDIR) < 0)
		usleep(1000);
	close(own);
	cgroup_end(fd, "x");
}

static void test_busy_stays(void **state)
{
	struct node node;
	int fd = cgroup_new("x", &node), leaf, r;
	char text[16];
	bool made = false;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	leaf = leaf_make(inspector, fd, &node, delegation, &made);
	assert_true(leaf >= 0 && made);
	snprintf(text, sizeof(text), "%d", (int)pid);
	assert_int_equal(cgroup_write(leaf, "cgroup.procs", text, strlen(text)), 0);
	assert_int_equal(leaf_remove(inspector, fd), -EBUSY);
	assert_int_equal(faccessat(fd, LEAF_NAME, F_OK, 0), 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	/* the dead one is counted a little longer */
	while ((r = leaf_remove(inspector, fd)) == -EBUSY)
		usleep(1000);
	assert_int_equal(r, 0);
	/* with a child it is no less busy */
	close(leaf);
	leaf = leaf_make(inspector, fd, &node, delegation, &made);
	assert_true(leaf >= 0 && made);
	assert_int_equal(mkdirat(leaf, "c", 0755), 0);
	assert_int_equal(leaf_remove(inspector, fd), -EBUSY);
	assert_int_equal(unlinkat(leaf, "c", AT_REMOVEDIR), 0);
	assert_int_equal(leaf_remove(inspector, fd), 0);
	close(leaf);
	cgroup_end(fd, "x");
}

/* What somebody else made under the name. */
static void test_unmarked(void **state)
{
	struct node node;
	struct stat st;
	int fd = cgroup_new("x", &node), leaf, own;
	bool made = true;
	char id[24];

	assert_int_equal(mkdirat(fd, LEAF_NAME, 0755), 0);
	own = openat(fd, LEAF_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(leaf_open(inspector, fd), -ENOENT);
	/* root's, and not half made */
	assert_int_equal(leaf_make(inspector, fd, &node, delegation, &made), -EEXIST);
	assert_int_equal(fchown(own, OWNER, GROUP + 1), 0);
	assert_int_equal(leaf_make(inspector, fd, &node, delegation, &made), -EEXIST);
	/* a copy of a mark */
	assert_int_equal(fchown(own, OWNER, GROUP), 0);
	assert_int_equal(fstat(fd, &st), 0);
	snprintf(id, sizeof(id), "%ju", (uintmax_t)st.st_ino);
	assert_int_equal(fsetxattr(own, MARK, id, strlen(id), 0), 0);
	assert_int_equal(leaf_open(inspector, fd), -ENOENT);
	/* a cgroup like any other */
	assert_int_equal(mkdirat(own, "c", 0755), 0);
	assert_int_equal(leaf_make(inspector, fd, &node, delegation, &made), -EEXIST);
	assert_int_equal(leaf_open(inspector, fd), -ENOENT);
	assert_int_equal(unlinkat(own, "c", AT_REMOVEDIR), 0);
	/* and never removed as a leaf */
	assert_int_equal(leaf_remove(inspector, fd), 0);
	assert_int_equal(faccessat(fd, LEAF_NAME, F_OK, 0), 0);
	leaf = leaf_make(inspector, fd, &node, delegation, &made);
	assert_true(leaf >= 0 && !made);
	assert_is(leaf, "", OWNER, GROUP, 0755);
	close(leaf);
	close(own);
	assert_int_equal(leaf_remove(inspector, fd), 0);
	assert_int_equal(faccessat(fd, LEAF_NAME, F_OK, 0), -1);
	cgroup_end(fd, "x");
}

/* A daemon that was killed between any two steps. */
static void test_half_made(void **state)
{
	struct node node;
	int fd = cgroup_new("x", &node);

	for (int step = 0; step < 2; step++) {
		bool made = true;
		int leaf;

		assert_int_equal(mkdirat(fd, LEAF_NAME, 0), 0);
		if (step == 1)
			assert_int_equal(fchownat(fd, LEAF_NAME, OWNER, GROUP, 0), 0);
		leaf = leaf_make(inspector, fd, &node, delegation, &made);
		assert_true(leaf >= 0 && !made);
		assert_is(leaf, "", OWNER, GROUP, 0750);
		assert_is(leaf, "cgroup.procs", OWNER, GROUP, 0);
		close(leaf);
		assert_int_equal(leaf_remove(inspector, fd), 0);
	}
	cgroup_end(fd, "x");
}

static void test_undone(void **state)
{
	const char *const bad[] = {"cgroup.procs", "cgroup.procs/none", NULL};
	struct node node;
	int fd = cgroup_new("x", &node);
	bool made = false;

	assert_int_equal(leaf_make(inspector, fd, &node, bad, &made), -ENOTDIR);
	assert_false(made);
	assert_int_equal(faccessat(fd, LEAF_NAME, F_OK, 0), -1);
	cgroup_end(fd, "x");
}

/*
 * Others at the same time.
 */

#define ROUNDS 300

struct racer {
	pthread_t thread;
	pthread_barrier_t *barrier;
	const struct node *node;
	int fd;
	unsigned failed, made;
};

static void *race_make(void *userdata)
{
	struct racer *r = userdata;

	for (unsigned i = 0; i < ROUNDS; i++) {
		bool made = false;
		int leaf;

		pthread_barrier_wait(r->barrier);
		leaf = leaf_make(inspector, r->fd, r->node, delegation, &made);
		r->failed += leaf < 0;
		r->made += made;
		if (leaf >= 0)
			close(leaf);
		pthread_barrier_wait(r->barrier);
	}
	return NULL;
}

/* Of two that make the same leaf both have it, and it is whole. */
static void test_two_at_once(void **state)
{
	struct node node;
	int fd = cgroup_new("x", &node);
	pthread_barrier_t barrier;
	struct racer racers[2] = {0};
	unsigned made = 0;

	pthread_barrier_init(&barrier, NULL, 3);
	for (unsigned i = 0; i < 2; i++) {
		racers[i] = (struct racer){.barrier = &barrier, .node = &node, .fd = fd};
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race_make, &racers[i]), 0);
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		int leaf;

		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		leaf = leaf_open(inspector, fd);
		assert_true(leaf >= 0);
		assert_is(leaf, "", OWNER, GROUP, 0750);
		assert_is(leaf, "cgroup.procs", OWNER, GROUP, 0);
		close(leaf);
		assert_int_equal(leaf_remove(inspector, fd), 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(racers[i].thread, NULL), 0);
		assert_int_equal(racers[i].failed, 0);
		made += racers[i].made;
	}
	assert_int_equal(made, ROUNDS);
	pthread_barrier_destroy(&barrier);
	cgroup_end(fd, "x");
}

static atomic_bool ended;

/* Whose cgroup it is may put a directory of his own there at any moment. */
static void *race_forge(void *userdata)
{
	const struct racer *r = userdata;

	while (!ended) {
		unlinkat(r->fd, LEAF_NAME, AT_REMOVEDIR);
		mkdirat(r->fd, LEAF_NAME, 0705);
	}
	return NULL;
}

static void test_forged_meanwhile(void **state)
{
	struct node node, got;
	int fd = cgroup_new("x", &node);
	struct racer forger = {.fd = fd};

	ended = false;
	assert_int_equal(pthread_create(&forger.thread, NULL, race_forge, &forger), 0);
	for (unsigned i = 0; i < 5 * ROUNDS; i++) {
		bool made = false;
		int leaf = leaf_make(inspector, fd, &node, delegation, &made);

		if (leaf < 0) {
			assert_true(leaf == -EEXIST || leaf == -ENOENT);
			continue;
		}
		/* what is taken for the leaf was not the other's */
		assert_int_equal(cgroup_stat(leaf, &got), 0);
		assert_int_equal(got.uid, OWNER);
		assert_int_equal(got.mode & 07777, 0750);
		close(leaf);
	}
	ended = true;
	assert_int_equal(pthread_join(forger.thread, NULL), 0);
	unlinkat(fd, LEAF_NAME, AT_REMOVEDIR);
	cgroup_end(fd, "x");
}

/* In the place of what was made just now the cgroup's owner has a container. */
static void replace_it(int dirfd)
{
	assert_int_equal(unlinkat(dirfd, LEAF_NAME, AT_REMOVEDIR), 0);
	assert_int_equal(mkdirat(dirfd, LEAF_NAME, 0755), 0);
	assert_int_equal(fchownat(dirfd, LEAF_NAME, OWNER, GROUP, 0), 0);
	assert_int_equal(mkdirat(dirfd, LEAF_NAME "/c", 0755), 0);
}

static void test_replaced_meanwhile(void **state)
{
	struct node node;
	int fd = cgroup_new("x", &node);
	bool made = false;

	after_mkdir = replace_it;
	assert_int_equal(leaf_make(inspector, fd, &node, delegation, &made), -EEXIST);
	assert_null(after_mkdir);
	assert_int_equal(leaf_open(inspector, fd), -ENOENT);
	assert_int_equal(unlinkat(fd, LEAF_NAME "/c", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(fd, LEAF_NAME, AT_REMOVEDIR), 0);
	cgroup_end(fd, "x");
}

/* What was made is gone before it is looked at: another is made. */
static void remove_it(int leaf)
{
	assert_int_equal(unlinkat(leaf, "../" LEAF_NAME, AT_REMOVEDIR), 0);
}

static void test_removed_meanwhile(void **state)
{
	struct node node;
	int fd = cgroup_new("x", &node), leaf;
	bool made = false;

	before_stat = remove_it;
	leaf = leaf_make(inspector, fd, &node, delegation, &made);
	assert_true(leaf >= 0 && made);
	assert_null(before_stat);
	close(leaf);
	assert_int_equal(leaf_remove(inspector, fd), 0);
	cgroup_end(fd, "x");
}

/* Another worker was quicker, and has begun to fill it. */
static void use_it(int leaf)
{
	assert_int_equal(inspect_mark_set(inspector, leaf, MARK_LEAF), 0);
	assert_int_equal(mkdirat(leaf, "c", 0755), 0);
}

static void test_used_meanwhile(void **state)
{
	struct node node;
	int fd = cgroup_new("x", &node), leaf;
	bool made = false;

	before_stat = use_it;
	leaf = leaf_make(inspector, fd, &node, delegation, &made);
	assert_true(leaf >= 0);
	assert_null(before_stat);
	assert_int_equal(unlinkat(leaf, "c", AT_REMOVEDIR), 0);
	close(leaf);
	assert_int_equal(leaf_remove(inspector, fd), 0);
	cgroup_end(fd, "x");
}

/* The hierarchy says no more: the caller tells who. */
static void test_full(void **state)
{
	struct node node;
	int fd = cgroup_new("x", &node);
	bool made = false;

	assert_int_equal(cgroup_write(fd, "cgroup.max.descendants", "0", 1), 0);
	assert_int_equal(leaf_make(inspector, fd, &node, delegation, &made), -EAGAIN);
	cgroup_end(fd, "x");
}

static void assert_fold(const char *path, int expected, const char *folded)
{
	char text[PATH_TEXT_MAX + 1];

	strcpy(text, path);
	assert_int_equal(leaf_fold(inspector, &here, text), expected);
	assert_string_equal(text, folded);
}

static void test_fold(void **state)
{
	struct hierarchy v1 = here;
	char text[] = "/x/" LEAF_NAME;
	struct node node;
	int fd = cgroup_new("x", &node), leaf;
	bool made = false;

	assert_fold("/", 0, "/");
	assert_fold("/x", 0, "/x");
	assert_fold("/x/" LEAF_NAME, 0, "/x/" LEAF_NAME); /* not there */
	assert_int_equal(mkdirat(fd, LEAF_NAME, 0), 0);
	assert_fold("/x/" LEAF_NAME, 0, "/x/" LEAF_NAME); /* not marked */
	close(leaf_make(inspector, fd, &node, delegation, &made));
	assert_fold("/x/" LEAF_NAME, 1, "/x");
	assert_fold("/x/a" LEAF_NAME, 0, "/x/a" LEAF_NAME);
	assert_fold("/x/" LEAF_NAME "/c", 0, "/x/" LEAF_NAME "/c");
	v1.v2 = false;
	assert_int_equal(leaf_fold(inspector, &v1, text), 0);
	assert_int_equal(leaf_remove(inspector, fd), 0);
	cgroup_end(fd, "x");
	leaf = leaf_make(inspector, top, &node, delegation, &made);
	assert_true(leaf >= 0 && made);
	close(leaf);
	assert_fold("/" LEAF_NAME, 1, "/");
	assert_int_equal(leaf_remove(inspector, top), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_made_and_removed, need),
		cmocka_unit_test_setup(test_same_id_elsewhere, need),
		cmocka_unit_test_setup(test_somebodys_own, need),
		cmocka_unit_test_setup(test_busy_stays, need),
		cmocka_unit_test_setup(test_unmarked, need),
		cmocka_unit_test_setup(test_half_made, need),
		cmocka_unit_test_setup(test_undone, need),
		cmocka_unit_test_setup(test_two_at_once, need),
		cmocka_unit_test_setup(test_forged_meanwhile, need),
		cmocka_unit_test_setup(test_replaced_meanwhile, need),
		cmocka_unit_test_setup(test_removed_meanwhile, need),
		cmocka_unit_test_setup(test_used_meanwhile, need),
		cmocka_unit_test_setup(test_full, need),
		cmocka_unit_test_setup(test_fold, need),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
