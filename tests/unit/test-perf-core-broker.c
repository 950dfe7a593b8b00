/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Perf in the core, with workers that are this test: what is asked of an account's broker, and who
 * is answered when it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../../daemon/cleanup.h"
#include "perf-core.h"

/* Of a daemon that ends with it still waiting. */
static void op_left(struct fixture *f, struct op *op)
{
	unsigned before = n_done;

	f->perf = perf_free(f->perf);
	assert_int_equal(n_done, before + 1);
	reply_done(&op->reply);
	free(op);
}

/* What was asked of the broker, and by which cookie. */
static uint64_t hear_open(unsigned w, bool has_group)
{
	int fd = hear(w, sizeof(struct perf_open));

	assert_int_equal(heard.head.type, PERF_OPEN);
	assert_int_equal(heard.open.tid, 4711);
	assert_int_equal(heard.open.pid, -1);
	assert_int_equal(heard.open.cpu, 3);
	assert_int_equal(heard.open.flags, 8);
	assert_int_equal(heard.open.size, 64);
	assert_int_equal(heard.open.attr[2], 3);
	assert_int_equal(heard.open.has_group, has_group);
	assert_int_equal(fd >= 0, has_group);
	close_fd(&fd);
	return heard.open.cookie;
}

static void say_opened(unsigned w, uint64_t cookie, int32_t result, uint32_t reason, int fd)
{
	struct perf_opened opened = {.cookie = cookie, .result = result, .reason = reason};

	say(w, PERF_OPENED, &opened, sizeof(opened), fd);
}

static void test_open(void **state)
{
	struct fixture *f = *state;
	struct op *a = op_here(f, MINE), *b = op_here(f, MINE), *c = op_here(f, OTHERS);
	int event = eventfd(0, EFD_CLOEXEC);
	uint64_t first, second;

	assert_int_equal(perf_open_for(f->perf, a, event, on_done), 0);
	assert_int_equal(perf_open_for(f->perf, b, -EBADF, on_done), 0);
	assert_int_equal(n_workers, 1);
	assert_int_equal(perf_open_for(f->perf, c, -EBADF, on_done), 0);
	assert_int_equal(n_workers, 2);
	hear_begin(0, PERF_SERVE_BROKER);
	hear_begin(1, PERF_SERVE_BROKER);
	first = hear_open(0, true);
	second = hear_open(0, false);
	assert_int_not_equal(first, second);
	say_opened(0, second, 0, 0, event);
	turn(f);
	assert_int_equal(n_done, 1);
	assert_int_equal(b->reply.reason, REASON_OK);
	assert_true(b->reply.has_fd);
	say_opened(0, first, -EACCES, REASON_PERF_GRANT, -EBADF);
	turn(f);
	assert_int_equal(n_done, 2);
	assert_int_equal(a->reply.reason, REASON_PERF_GRANT);
	say_opened(1, hear_open(1, false), -ENOENT, REASON_OK, -EBADF);
	turn(f);
	assert_int_equal(n_done, 3);
	assert_int_equal(c->reply.reason, REASON_KERNEL);
	assert_string_equal(c->reply.detail, strerror(ENOENT));
	reply_done(&c->reply);
	c->reply = (struct reply){0};
	assert_int_equal(perf_open_for(f->perf, c, -EBADF, on_done), 0);
	say_opened(1, hear_open(1, false), -EACCES, REASON_OK, -EBADF);
	turn(f);
	assert_int_equal(c->reply.reason, REASON_PERF_GRANT);
	close(event);
	op_gone(a);
	op_gone(b);
	op_gone(c);
}

static void test_open_no_event(void **state)
{
	struct fixture *f = *state;
	struct op *a = op_here(f, MINE);

	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), 0);
	hear_begin(0, PERF_SERVE_BROKER);
	say_opened(0, hear_open(0, false), 0, 0, -EBADF);
	turn(f);
	assert_int_equal(n_done, 1);
	assert_int_equal(a->reply.reason, REASON_INTERNAL);
	op_gone(a);
}

static void test_open_large(void **state)
{
	struct fixture *f = *state;
	struct op *a = op_here(f, MINE);

	a->request.attr.size = PERF_ATTR_BYTES_MAX + 1;
	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), -E2BIG);
	assert_int_equal(n_workers, 0);
	op_gone(a);
}

static void test_open_death(void **state)
{
	struct fixture *f = *state;
	struct op *a = op_here(f, MINE);

	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), 0);
	die(f, 0);
	assert_int_equal(n_done, 1);
	assert_int_equal(a->reply.reason, REASON_INTERNAL);
	assert_int_equal(n_workers, 1);
	assert_int_equal(n_slots(f), 0);
	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), 0);
	assert_int_equal(n_workers, 2);
	assert_int_equal(n_slots(f), 1);
	op_left(f, a);
}

static void test_open_cookie(void **state)
{
	struct fixture *f = *state;
	struct op *a = op_here(f, MINE);

	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), 0);
	hear_begin(0, PERF_SERVE_BROKER);
	say_opened(0, hear_open(0, false) + 1, 0, 0, -EBADF);
	turn(f);
	assert_true(was_killed(0));
	turn(f);
	assert_int_equal(n_done, 1);
	op_gone(a);
}

/* More than a channel takes: they go one after the other. */
static void test_open_many(void **state)
{
	struct fixture *f = *state;
	struct op *ops[PERF_WAITING_MAX + 1];

	for (unsigned i = 0; i <= PERF_WAITING_MAX; i++) {
		ops[i] = op_here(f, MINE);
		assert_int_equal(perf_open_for(f->perf, ops[i], -EBADF, on_done),
			i < PERF_WAITING_MAX ? 0 : -EDQUOT);
	}
	hear_begin(0, PERF_SERVE_BROKER);
	for (unsigned i = 0; i < PERF_WAITING_MAX; i++) {
		say_opened(0, hear_open(0, false), -EINVAL, REASON_OK, -EBADF);
		turn(f);
	}
	assert_int_equal(n_done, PERF_WAITING_MAX);
	assert_true(is_silent(0));
	for (unsigned i = 0; i <= PERF_WAITING_MAX; i++)
		op_gone(ops[i]);
}

static void test_broker_idle(void **state)
{
	struct fixture *f = *state;
	struct op *a = op_here(f, MINE);
	struct perf_life *l;

	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), 0);
	l = LIST_FIRST(&f->perf->lives);
	life_look(l, l->since + 1000000);
	assert_false(is_closed(0));
	hear_begin(0, PERF_SERVE_BROKER);
	say_opened(0, hear_open(0, false), -EINVAL, REASON_OK, -EBADF);
	turn(f);
	life_look(l, l->since + 1);
	assert_false(is_closed(0));
	life_look(l, l->since + 1000000);
	assert_true(is_closed(0));
	/* One that comes while it ends waits for the next. */
	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), 0);
	assert_int_equal(n_workers, 1);
	die(f, 0);
	assert_int_equal(n_workers, 2);
	hear_begin(1, PERF_SERVE_BROKER);
	hear_open(1, false);
	op_left(f, a);
}

static void test_revoke(void **state)
{
	struct perf_revoked revoked = {.disabled = 3, .holders = 2, .killed = 1, .unknown = 4};
	struct fixture *f = *state;
	struct op *a = op_here(f, 0);
	int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;

	assert_int_equal(perf_revoke_in(f->perf, a, dir, true, on_done), 0);
	hear_begin(0, PERF_SERVE_BROKER);
	fd = hear(0, sizeof(struct perf_revoke));
	assert_int_equal(heard.head.type, PERF_REVOKE);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(heard.revoke.kill, 1);
	revoked.cookie = heard.revoke.cookie;
	say(0, PERF_REVOKED, &revoked, sizeof(revoked), -EBADF);
	turn(f);
	assert_int_equal(n_done, 1);
	assert_int_equal(a->reply.reason, REASON_OK);
	assert_int_equal(a->reply.n_pairs, 5);
	assert_string_equal(a->reply.pairs[0].key, "disabled");
	assert_string_equal(a->reply.pairs[0].value, "3");
	assert_non_null(strstr(a->reply.pairs[4].value, "1 processes hold"));
	assert_non_null(strstr(a->reply.pairs[4].value, "4 perf events"));
	close(dir);
	op_gone(a);
}

/* Who waits when the daemon ends is answered. */
static void test_free_while_waiting(void **state)
{
	struct fixture *f = *state;
	struct op *a = op_here(f, MINE);

	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), 0);
	op_left(f, a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_open),
		TEST(test_open_no_event),
		TEST(test_open_large),
		TEST(test_open_death),
		TEST(test_open_cookie),
		TEST(test_open_many),
		TEST(test_broker_idle),
		TEST(test_revoke),
		TEST(test_free_while_waiting),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
