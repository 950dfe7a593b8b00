/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../../daemon/log.h"

struct fixture {
	int saved, in;
	char text[65536];
};

/* Standard error becomes a pipe. Nothing is asserted while it is. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fds[2];

	if (!f || pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	f->saved = dup(STDERR_FILENO);
	f->in = fds[0];
	if (dup2(fds[1], STDERR_FILENO) < 0)
		return -1;
	/* The daemon's standard error may block: lines must not. */
	if (fcntl(STDERR_FILENO, F_SETFL, 0) < 0)
		return -1;
	close(fds[1]);
	*state = f;
	return 0;
}

static void restore(struct fixture *f)
{
	if (f->saved < 0)
		return;
	dup2(f->saved, STDERR_FILENO);
	close(f->saved);
	f->saved = -EBADF;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	restore(f);
	if (f->in >= 0)
		close(f->in);
	free(f);
	return 0;
}

static void collect(struct fixture *f)
{
	size_t n = strlen(f->text);
	ssize_t r;

	while ((r = read(f->in, f->text + n, sizeof(f->text) - 1 - n)) > 0)
		n += r;
	f->text[n] = '\0';
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	while ((text = strstr(text, what))) {
		n++;
		text++;
	}
	return n;
}

static void test_line(void **state)
{
	struct fixture *f = *state;

	errno = ENOENT;
	log_line(LOG_ERR, "a %s: %m", "b\nc\033[31m");
	log_line(LOG_DEBUG, "not this");
	restore(f);
	collect(f);
	assert_string_equal(f->text, "a b\\x0ac\\x1b[31m: No such file or directory\n");
}

static void test_errno_is_kept(void **state)
{
	struct log_denial d = {.method = "Create"};
	int line, denial;

	errno = ENXIO;
	log_line(LOG_ERR, "x");
	line = errno;
	log_denial(&d);
	denial = errno;
	restore(*state);
	assert_int_equal(line, ENXIO);
	assert_int_equal(denial, ENXIO);
}

static void test_long_line(void **state)
{
	struct fixture *f = *state;
	char longer[5000];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	log_line(LOG_ERR, "%s", longer);
	restore(f);
	collect(f);
	assert_in_range(strlen(f->text), 900, 1024);
	assert_int_equal(f->text[strlen(f->text) - 1], '\n');
	assert_int_equal(count(f->text, "\n"), 1);
}

static void test_denial(void **state)
{
	struct fixture *f = *state;
	struct log_denial d = {
		"SetValue", "a\" REASON=\"OK\n\\", "OUTSIDE_SCOPE", 17, 100000, 100000};

	log_denial(&d);
	restore(f);
	collect(f);
	assert_string_equal(f->text,
		"denied METHOD=\"SetValue\" REQUESTOR_PID=17 REQUESTOR_UID=100000 "
		"REASON=\"OUTSIDE_SCOPE\" CGROUP=\"a\\x22 REASON=\\x22OK\\x0a\\x5c\"\n");
}

static void test_long_fields(void **state)
{
	struct fixture *f = *state;
	char longer[5000];
	struct log_denial d = {longer, longer, longer, 1, 1, 1};

	memset(longer, '\n', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	log_denial(&d);
	restore(f);
	collect(f);
	assert_int_equal(count(f->text, "\n"), 1);
	assert_in_range(strlen(f->text), 500, 1024);
}

static void test_denials_are_limited(void **state)
{
	struct fixture *f = *state;
	struct log_denial d = {"Create", "x", "BUSY", 1, 1, 1};

	for (unsigned i = 0; i < 400; i++)
		log_denial(&d);
	restore(f);
	collect(f);
	/* A second may have ended midway. */
	assert_in_range(count(f->text, "denied "), 1, 20);
}

/* So that what follows happens in one second, with nothing of it used up. */
static void second_wait(void)
{
	struct timespec now, left = {0};

	clock_gettime(CLOCK_MONOTONIC, &now);
	left.tv_nsec = 1000000000 - now.tv_nsec;
	if (left.tv_nsec == 1000000000)
		return;
	nanosleep(&left, NULL);
}

static void test_none_hides_another(void **state)
{
	struct fixture *f = *state;
	struct log_denial loud = {"Create", "x", "BUSY", 1, 1, 0};
	struct log_denial quiet = {"Remove", "y", "NO_WRITE", 2, 2, UINT64_C(1) << 32 | 2};

	second_wait();
	/* More than are written in all: uids do not count, the account does. */
	for (unsigned i = 0; i < 100; i++) {
		loud.uid = i;
		log_denial(&loud);
		log_limited(LOG_WARNING, 0, "warning %u", i);
		log_limited(LOG_DEBUG, 7, "not this, and it does not count");
	}
	log_denial(&quiet);
	errno = ENXIO;
	log_limited(LOG_WARNING, 3, "%m");
	second_wait();
	log_denial(&quiet);
	restore(f);
	collect(f);
	assert_int_equal(count(f->text, "METHOD=\"Create\""), 5);
	assert_int_equal(count(f->text, "warning "), 5);
	assert_int_equal(count(f->text, "No such device or address\n"), 1);
	assert_int_equal(count(f->text, "METHOD=\"Remove\""), 2);
	assert_int_equal(count(f->text, "190 more denials and warnings were not logged\n"), 1);
	assert_int_equal(count(f->text, "not this"), 0);
}

static void test_limit_in_all(void **state)
{
	struct fixture *f = *state;

	second_wait();
	for (unsigned i = 0; i < 1000; i++)
		log_limited(LOG_WARNING, i % 100, "line");
	second_wait();
	log_limited(LOG_WARNING, 0, "end");
	restore(f);
	collect(f);
	assert_int_equal(count(f->text, "line\n"), 50);
	assert_int_equal(count(f->text, "950 more denials and warnings were not logged\nend\n"), 1);
}

#define THREADS 4
#define LINES 300000

static void *log_much(void *unused)
{
	for (uint64_t i = 0; i < LINES; i++)
		log_limited(LOG_WARNING, i, "from a thread");
	return unused;
}

/* Workers log, too: each line is there or counted. */
static void test_threads(void **state)
{
	struct fixture *f = *state;
	unsigned long told = 0, n;
	pthread_t threads[THREADS];
	int pipe = dup(STDERR_FILENO), file = memfd_create("log", MFD_CLOEXEC);
	static char text[1024 * 1024];
	ssize_t size;

	dup2(file, STDERR_FILENO);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, log_much, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	second_wait();
	log_limited(LOG_WARNING, 1, "last");
	dup2(pipe, STDERR_FILENO);
	close(pipe);
	restore(f);
	size = pread(file, text, sizeof(text) - 1, 0);
	close(file);
	assert_true(size > 0);
	told = count(text, "from a thread");
	for (char *at = text; (at = strstr(at, " more denials")); at++) {
		char *line = at;

		while (line > text && line[-1] != '\n')
			line--;
		assert_int_equal(sscanf(line, "%lu more", &n), 1);
		told += n;
	}
	assert_int_equal(told, THREADS * LINES);
}

static void test_full_pipe(void **state)
{
	struct fixture *f = *state;

	/* Nobody reads: this must end, and say later what was lost. */
	for (unsigned i = 0; i < 20000; i++)
		log_line(LOG_ERR, "line");
	collect(f);
	f->text[0] = '\0';
	log_line(LOG_ERR, "again");
	restore(f);
	collect(f);
	assert_int_equal(count(f->text, "log lines could not be written\nagain\n"), 1);
}

static void test_no_reader(void **state)
{
	struct fixture *f = *state;

	/* No SIGPIPE. */
	close(f->in);
	f->in = -EBADF;
	log_line(LOG_ERR, "line");
	restore(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_line),
		TEST(test_errno_is_kept),
		TEST(test_long_line),
		TEST(test_denial),
		TEST(test_long_fields),
		TEST(test_denials_are_limited),
		TEST(test_none_hides_another),
		TEST(test_limit_in_all),
		TEST(test_threads),
		TEST(test_full_pipe),
		TEST(test_no_reader),
	};

	unsetenv("JOURNAL_STREAM");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
