/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../daemon/listener.h"

#define ACCEPTED_MAX 256

struct fixture {
	char dir[64], path[96], lock[104];
	sd_event *event;
	struct listener *l;
	unsigned n;
	int fds[ACCEPTED_MAX];
};

static void on_accepted(void *userdata, int fd)
{
	struct fixture *f = userdata;

	assert_true(f->n < ACCEPTED_MAX);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	f->fds[f->n++] = fd;
}

static const struct listener_ops ops = {on_accepted};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->dir, "/tmp/test-listener-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/sub/socket", f->dir);
	snprintf(f->lock, sizeof(f->lock), "%s.lock", f->path);
	assert_true(sd_event_new(&f->event) >= 0);
	*state = f;
	return 0;
}

/* Nothing of ours stays behind in the file system. */
static int teardown(void **state)
{
	struct fixture *f = *state;
	char sub[96];

	f->l = listener_free(f->l);
	for (unsigned i = 0; i < f->n; i++)
		close(f->fds[i]);
	snprintf(sub, sizeof(sub), "%s/sub", f->dir);
	assert_true(rmdir(sub) == 0 || errno == ENOENT);
	assert_int_equal(rmdir(f->dir), 0);
	sd_event_unref(f->event);
	free(f);
	return 0;
}

static void address(struct sockaddr_un *ret, const char *path)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	assert_true(strlen(path) < sizeof(ret->sun_path));
	strcpy(ret->sun_path, path);
}

static int dial(const char *path)
{
	struct sockaddr_un addr;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	address(&addr, path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	close(fd);
	return -EBADF;
}

static int bound(const char *path, bool listening)
{
	struct sockaddr_un addr;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	address(&addr, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	if (listening)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void spin(struct fixture *f)
{
	while (sd_event_run(f->event, 0) > 0)
		;
}

static int open_listener(struct fixture *f, struct listener **ret)
{
	return listener_new_path(f->event, NULL, f->path, &ops, f, ret);
}

static void test_accepts(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fds[100];

	assert_int_equal(open_listener(f, &f->l), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);
	for (unsigned i = 0; i < 100; i++) {
		fds[i] = dial(f->path);
		assert_true(fds[i] >= 0);
	}
	spin(f);
	assert_int_equal(f->n, 100);
	for (unsigned i = 0; i < 100; i++)
		close(fds[i]);
	f->l = listener_free(f->l);
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(access(f->lock, F_OK), -1);
}

static void test_second_instance(void **state)
{
	struct fixture *f = *state;
	struct listener *second = NULL;
	int fd;

	assert_int_equal(open_listener(f, &f->l), 0);
	assert_int_equal(open_listener(f, &second), -EADDRINUSE);
	assert_null(second);
	fd = dial(f->path);
	assert_true(fd >= 0);
	spin(f);
	assert_int_equal(f->n, 1);
	assert_int_equal(access(f->lock, F_OK), 0);
	close(fd);
}

/* Of a daemon that was killed: lock file and socket are there, nobody holds or answers them. */
static void test_stale_socket(void **state)
{
	struct fixture *f = *state;
	char sub[96];
	int fd;

	snprintf(sub, sizeof(sub), "%s/sub", f->dir);
	assert_int_equal(mkdir(sub, 0755), 0);
	close(bound(f->path, true));
	fd = open(f->lock, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(open_listener(f, &f->l), 0);
	fd = dial(f->path);
	assert_true(fd >= 0);
	spin(f);
	assert_int_equal(f->n, 1);
	close(fd);
}

/* Somebody else serves it, without a lock of ours. */
static void test_served_by_another(void **state)
{
	struct fixture *f = *state;
	char sub[96];
	int fd;

	snprintf(sub, sizeof(sub), "%s/sub", f->dir);
	assert_int_equal(mkdir(sub, 0755), 0);
	fd = bound(f->path, true);
	assert_int_equal(open_listener(f, &f->l), -EADDRINUSE);
	assert_int_equal(access(f->path, F_OK), 0);
	assert_int_equal(access(f->lock, F_OK), -1);
	close(fd);
	assert_int_equal(unlink(f->path), 0);
}

/* What was put in our place is not ours to remove. */
static void test_replaced_socket(void **state)
{
	struct fixture *f = *state;
	int fd;

	assert_int_equal(open_listener(f, &f->l), 0);
	assert_int_equal(unlink(f->path), 0);
	fd = bound(f->path, true);
	f->l = listener_free(f->l);
	assert_int_equal(access(f->path, F_OK), 0);
	close(fd);
	assert_int_equal(unlink(f->path), 0);
}

static void test_bad_paths(void **state)
{
	struct fixture *f = *state;
	char longer[200] = "/tmp/";

	memset(longer + 5, 'x', sizeof(longer) - 6);
	assert_int_equal(listener_new_path(f->event, NULL, "relative", &ops, f, &f->l), -EINVAL);
	assert_int_equal(listener_new_path(f->event, NULL, longer, &ops, f, &f->l), -ENAMETOOLONG);
	snprintf(longer, sizeof(longer), "%s/a/b/socket", f->dir);
	assert_int_equal(listener_new_path(f->event, NULL, longer, &ops, f, &f->l), -ENOENT);
	assert_null(f->l);
}

static void test_inherited(void **state)
{
	struct fixture *f = *state;
	char path[96];
	int fd, client;

	snprintf(path, sizeof(path), "%s/inherited", f->dir);
	fd = bound(path, true);
	assert_int_equal(listener_new_fd(f->event, NULL, fd, &ops, f, &f->l), 0);
	client = dial(path);
	assert_true(client >= 0);
	spin(f);
	assert_int_equal(f->n, 1);
	close(client);
	f->l = listener_free(f->l);
	/* Whoever made it removes it. */
	assert_int_equal(unlink(path), 0);
}

static void test_inherited_but_no_listener(void **state)
{
	struct fixture *f = *state;
	char path[96];
	int fds[2];

	snprintf(path, sizeof(path), "%s/inherited", f->dir);
	assert_int_equal(
		listener_new_fd(f->event, NULL, bound(path, false), &ops, f, &f->l), -EINVAL);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(listener_new_fd(f->event, NULL, fds[0], &ops, f, &f->l), -EINVAL);
	close(fds[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(listener_new_fd(f->event, NULL, fds[0], &ops, f, &f->l), -EINVAL);
	close(fds[1]);
	assert_null(f->l);
}

/* Without fds: the waiting client gets an end of file, the loop sleeps, and later ones are served.
 */
static void test_55_out_of_fds(void **state)
{
	struct fixture *f = *state;
	struct rlimit saved, none;
	unsigned wakes = 0;
	int first, second;
	char c;

	assert_int_equal(open_listener(f, &f->l), 0);
	first = dial(f->path);
	second = dial(f->path);
	assert_true(first >= 0 && second >= 0);
	/* The timer's fd is made before there are none. */
	sd_event_source *timer = NULL;
	assert_true(sd_event_add_time(
			    f->event, &timer, CLOCK_MONOTONIC, UINT64_MAX, 0, NULL, NULL) >= 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved), 0);
	none = saved;
	/* The highest number in use may lie far up: fill what is below it. */
	none.rlim_cur = second + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	while (sd_event_run(f->event, 0) > 0)
		wakes++;
	assert_int_equal(f->n, 0);
	assert_in_range(wakes, 1, 3);
	assert_int_equal(recv(first, &c, 1, MSG_DONTWAIT), 0);
	assert_int_equal(recv(second, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &saved), 0);
	for (unsigned i = 0; i < 100 && f->n == 0; i++)
		assert_true(sd_event_run(f->event, 100000) >= 0);
	assert_int_equal(f->n, 1);
	sd_event_source_unref(timer);
	close(first);
	close(second);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_accepts),
		TEST(test_second_instance),
		TEST(test_stale_socket),
		TEST(test_served_by_another),
		TEST(test_replaced_socket),
		TEST(test_bad_paths),
		TEST(test_inherited),
		TEST(test_inherited_but_no_listener),
		TEST(test_55_out_of_fds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
