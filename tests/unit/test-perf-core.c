/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Perf in the core, with workers that are this test: listeners and connections, what it believes of
 * what workers say, and what becomes of a slot when they end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../daemon/cleanup.h"
#include "perf-core.h"

static void test_attach(void **state)
{
	struct fixture *f = *state;
	int users;
	uint32_t slot = attach(f, MINE, &users);

	assert_true(kept[slot] >= 0);
	assert_int_equal(atomic_load(&f->perf->registry->slot[slot].kind), PERF_SLOT_NOTIFY);
	assert_int_equal(f->perf->registry->slot[slot].account, MINE);
	close(users);
}

static void test_quota(void **state)
{
	struct fixture *f = *state;
	int users[4], more;

	attach(f, MINE, &users[0]);
	attach(f, MINE, &users[1]);
	assert_int_equal(perf_attach(f->perf, MINE, listener_new(&more)), -EDQUOT);
	close(more);
	assert_int_equal(n_slots(f), 2);
	attach(f, OTHERS, &users[2]);
	/* One that ends makes room. */
	say(0, PERF_DONE, NULL, 0, -EBADF);
	die(f, 0);
	attach(f, MINE, &users[3]);
	for (unsigned i = 0; i < 4; i++)
		close(users[i]);
}

static unsigned attach_all(struct fixture *f, uint64_t account, int *users)
{
	for (unsigned n = 0;; n++) {
		int r = perf_attach(f->perf, account, listener_new(&users[n]));

		if (r < 0) {
			assert_int_equal(r, -EDQUOT);
			close(users[n]);
			return n;
		}
	}
}

/* A listener takes some five fds here. */
static void need_files(rlim_t n)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_max = limit.rlim_max < n ? n : limit.rlim_max;
	limit.rlim_cur = limit.rlim_cur < n ? n : limit.rlim_cur;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		skip();
}

/* However many have all that they may, there are some for the next one. */
static void test_shares(void **state)
{
	struct fixture *f = *state;
	int users[WORKERS_MAX_HERE];
	unsigned n = 0;

	need_files(4096);
	f->options.perf_listeners_max = 256;
	for (uint64_t account = 1000; account < 1005; account++) {
		unsigned got = attach_all(f, account, users + n);

		assert_true(got > 0);
		n += got;
	}
	assert_int_equal(perf_attach(f->perf, 0, listener_new(&users[n])), 0);
	for (unsigned i = 0; i <= n; i++)
		close(users[i]);
}

static void test_host_root(void **state)
{
	struct fixture *f = *state;
	int users[4];

	for (unsigned i = 0; i < 4; i++)
		attach(f, 0, &users[i]);
	for (unsigned i = 0; i < 4; i++)
		close(users[i]);
}

static void test_facts(void **state)
{
	struct perf_ask ask = {.tid = 4711};
	struct fixture *f = *state;
	int users, fd;

	attach(f, MINE, &users);
	perf_changed(f->perf);
	say(0, PERF_FACTS, &ask, sizeof(ask), -EBADF);
	turn(f);
	assert_int_equal(asked_about, 4711);
	fd = hear(0, sizeof(struct perf_facts_are));
	assert_int_equal(heard.head.type, PERF_FACTS_ARE);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(heard.facts.tid, 4711);
	assert_int_equal(heard.facts.result, 0);
	assert_int_equal(heard.facts.scope_id, 77);
	assert_int_equal(heard.facts.generation, atomic_load(&f->perf->registry->generation));
	assert_true(heard.facts.grant.cpu);
	facts_error = -ESRCH;
	say(0, PERF_FACTS, &ask, sizeof(ask), -EBADF);
	turn(f);
	assert_true(hear(0, sizeof(struct perf_facts_are)) < 0);
	assert_int_equal(heard.facts.result, -ESRCH);
	assert_false(heard.facts.grant.cpu);
	close(users);
}

/* Another takes its place, in the same slot and with the same listener. */
static void test_death(void **state)
{
	struct fixture *f = *state;
	int users;
	uint32_t slot = attach(f, MINE, &users);

	die(f, 0);
	assert_int_equal(n_workers, 2);
	assert_int_equal(hear_begin(1, PERF_SERVE_NOTIFY), slot);
	assert_true(is_closed(0));
	assert_true(kept[slot] >= 0);
	assert_int_equal(n_slots(f), 1);
	close(users);
}

static void test_death_again_and_again(void **state)
{
	struct fixture *f = *state;
	int users;
	uint32_t slot = attach(f, MINE, &users);

	for (unsigned i = 0; i < n_workers; i++)
		die(f, i);
	assert_int_equal(n_workers, 10);
	/* It is kept for when the minute is over. */
	assert_true(kept[slot] >= 0);
	LIST_FIRST(&f->perf->lives)->begun -= 60000;
	life_look(LIST_FIRST(&f->perf->lives), perf_msec());
	assert_int_equal(n_workers, 11);
	close(users);
}

static void test_done(void **state)
{
	struct fixture *f = *state;
	int users;
	uint32_t slot = attach(f, MINE, &users);

	say(0, PERF_DONE, NULL, 0, -EBADF);
	turn(f);
	die(f, 0);
	assert_int_equal(n_workers, 1);
	assert_int_equal(n_slots(f), 0);
	assert_true(kept[slot] < 0);
	assert_true(LIST_EMPTY(&f->perf->lives));
	close(users);
}

/* It says so right before it ends: both come at once. */
static void test_done_and_gone(void **state)
{
	struct fixture *f = *state;
	int users;

	attach(f, MINE, &users);
	say(0, PERF_DONE, NULL, 0, -EBADF);
	close_fd(&workers[0].channel);
	die(f, 0);
	assert_int_equal(n_workers, 1);
	assert_int_equal(n_slots(f), 0);
	close(users);
}

static void test_no_users(void **state)
{
	struct fixture *f = *state;
	int users;

	attach(f, MINE, &users);
	close(users);
	die(f, 0);
	assert_int_equal(n_workers, 1);
	assert_int_equal(n_slots(f), 0);
}

static void test_spawner_fails(void **state)
{
	struct fixture *f = *state;
	int users;

	spawn_error = -ENOBUFS;
	assert_int_equal(perf_attach(f->perf, MINE, listener_new(&users)), 0);
	assert_int_equal(n_slots(f), 1);
	spawn_error = 0;
	life_look(LIST_FIRST(&f->perf->lives), perf_msec());
	assert_int_equal(n_workers, 1);
	hear_begin(0, PERF_SERVE_NOTIFY);
	close(users);
}

static void test_busy(void **state)
{
	struct fixture *f = *state;
	struct perf_life *l;
	struct perf_slot *slot;
	int users;

	slot = &f->perf->registry->slot[attach(f, MINE, &users)];
	l = LIST_FIRST(&f->perf->lives);
	atomic_store(&slot->busy, 1000);
	life_look(l, 1000 + PERF_WORKER_MSEC);
	assert_int_equal(atomic_load(&slot->condemned), 0);
	life_look(l, 1000 + PERF_WORKER_MSEC + 1);
	assert_int_equal(atomic_load(&slot->condemned), 1);
	assert_true(was_killed(0));
	turn(f);
	assert_int_equal(n_workers, 2);
	assert_int_equal(atomic_load(&slot->busy), 0);
	assert_int_equal(atomic_load(&slot->condemned), 1);
	assert_ptr_equal(slot, &f->perf->registry->slot[hear_begin(1, PERF_SERVE_NOTIFY)]);
	close(users);
}

/* What it waits for is us. */
static void test_busy_waiting(void **state)
{
	struct perf_ask ask = {.tid = 1};
	struct fixture *f = *state;
	struct perf_slot *slot;
	int users;

	slot = &f->perf->registry->slot[attach(f, MINE, &users)];
	atomic_store(&slot->busy, 1000);
	say(0, PERF_FACTS, &ask, sizeof(ask), -EBADF);
	life_look(LIST_FIRST(&f->perf->lives), 1000000);
	assert_int_equal(atomic_load(&slot->condemned), 0);
	close(users);
}

static void test_wedged(void **state)
{
	struct fixture *f = *state;
	struct perf_life *l;
	int users, more;
	uint32_t slot = attach(f, MINE, &users);

	l = LIST_FIRST(&f->perf->lives);
	/* As if it had been told to end. */
	l->killed = true;
	l->since = 1000;
	life_look(l, 2000);
	assert_false(l->wedged);
	life_look(l, 1000000);
	assert_true(l->wedged);
	assert_true(kept[slot] < 0);
	/* The slot is still written to, perhaps. */
	assert_int_equal(n_slots(f), 1);
	assert_int_equal(perf_attach(f->perf, MINE, listener_new(&more)), -EDQUOT);
	close(more);
	die(f, 0);
	assert_int_equal(n_slots(f), 0);
	assert_int_equal(n_workers, 1);
	attach(f, MINE, &more);
	close(more);
	close(users);
}

static void unbelieved(struct fixture *f, uint32_t type, size_t size)
{
	unsigned char junk[256];
	int users;
	unsigned w = n_workers;

	memset(junk, 0xee, sizeof(junk));
	attach(f, 0, &users);
	close(users);
	say(w, type, junk, size, -EBADF);
	turn(f);
	assert_true(is_closed(w));
	assert_true(was_killed(w));
	turn(f);
	assert_int_equal(n_slots(f), 0);
}

static void test_nonsense(void **state)
{
	struct fixture *f = *state;

	unbelieved(f, PERF_FACTS, sizeof(struct perf_ask) - 1);
	unbelieved(f, PERF_FACTS, sizeof(struct perf_ask) + 1);
	unbelieved(f, PERF_FACTS, 0);
	unbelieved(f, PERF_FACTS, 256);
	unbelieved(f, PERF_FOUND, 0);
	unbelieved(f, PERF_FOUND, 1);
	unbelieved(f, PERF_OPENED, sizeof(struct perf_opened));
	unbelieved(f, PERF_OPENED, 1);
	unbelieved(f, PERF_REVOKED, sizeof(struct perf_revoked));
	unbelieved(f, PERF_NEWS, 0);
	unbelieved(f, PERF_DONE, 1);
	unbelieved(f, 99, 0);
}

static void test_short(void **state)
{
	struct fixture *f = *state;
	int users;

	attach(f, MINE, &users);
	close(users);
	assert_int_equal(send(workers[0].channel, "abc", 3, 0), 3);
	turn(f);
	assert_true(was_killed(0));
	turn(f);
	assert_int_equal(n_slots(f), 0);
}

/* Neither too many in a second, nor of a kind that there is not. */
static void test_news(void **state)
{
	struct fixture *f = *state;
	int users;

	attach(f, MINE, &users);
	for (uint32_t i = 0; i < PERF_NEWS_MAX + 2; i++) {
		struct perf_ask ask = {.news = i};

		say(0, PERF_NEWS, &ask, sizeof(ask), -EBADF);
	}
	turn(f);
	assert_true(is_silent(0));
	assert_int_equal(n_workers, 1);
	close(users);
}

/*
 * What an earlier daemon left.
 */

static void test_take_over(void **state)
{
	struct fixture *f = *state;
	struct op *a = op_here(f, MINE);
	uint64_t generation;
	uint32_t first, second;
	int users[2];

	first = attach(f, MINE, &users[0]);
	second = attach(f, OTHERS, &users[1]);
	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), 0);
	f->perf->registry->slot[first].notif_words[0] = 99;
	generation = atomic_load(&f->perf->registry->generation);
	f->perf = perf_free(f->perf);
	fakes_end();
	/* Meanwhile nobody has the second any more. */
	close_fd(&kept[second]);
	begin(f);
	assert_int_equal(n_workers, 1);
	assert_int_equal(hear_begin(0, PERF_SERVE_NOTIFY), first);
	assert_int_equal(f->perf->registry->slot[first].notif_words[0], 99);
	assert_true(atomic_load(&f->perf->registry->generation) > generation);
	assert_int_equal(atomic_load(&f->perf->registry->slot[second].kind), PERF_SLOT_FREE);
	assert_int_equal(n_slots(f), 1);
	close(users[0]);
	close(users[1]);
	op_gone(a);
}

/* A registry that cannot be read: the listeners are served all the same. */
static void test_take_over_listeners(void **state)
{
	struct fixture *f = *state;
	int users[2];

	f->perf = perf_free(f->perf);
	close_fd(&kept_registry);
	kept_registry = eventfd(0, EFD_CLOEXEC);
	kept[7] = listener_new(&users[0]);
	kept[0] = listener_new(&users[1]);
	begin(f);
	assert_int_equal(n_workers, 2);
	hear_begin(0, PERF_SERVE_NOTIFY);
	hear_begin(1, PERF_SERVE_NOTIFY);
	assert_int_equal(n_slots(f), 2);
	assert_true(kept[7] < 0);
	close(users[0]);
	close(users[1]);
}

/*
 * OCI: a connection without a slot.
 */

static struct perf_life *connection(struct fixture *f, enum perf_serve_kind kind, int *ret_peer)
{
	struct account *account = account_get(&f->manager.accounts, MINE);
	uint32_t slot = PERF_NO_SLOT;
	struct perf_life *l;

	if (kind == PERF_SERVE_LXC)
		slot = (uint32_t)life_slot(f->perf, PERF_SLOT_LXC, account);
	assert_int_equal(life_new(f->perf, kind, account, slot, listener_new(ret_peer), &l), 0);
	account_put(account);
	life_start(l);
	assert_int_equal(hear_begin(n_workers - 1, kind), slot);
	return l;
}

static void test_found(void **state)
{
	struct fixture *f = *state;
	int peer, users, listener = listener_new(&users);
	struct perf_life *l = connection(f, PERF_SERVE_OCI, &peer);
	uint32_t slot;

	assert_int_equal(n_slots(f), 0);
	say(0, PERF_FOUND, NULL, 0, listener);
	close(listener);
	turn(f);
	assert_true(hear(0, sizeof(struct perf_serve)) < 0);
	assert_int_equal(heard.head.type, PERF_SLOT_IS);
	assert_int_equal(heard.serve.kind, PERF_SERVE_NOTIFY);
	slot = heard.serve.slot;
	assert_int_equal(l->slot, slot);
	assert_true(kept[slot] >= 0);
	/* From here on as any other. */
	die(f, 0);
	assert_int_equal(n_workers, 2);
	assert_int_equal(hear_begin(1, PERF_SERVE_NOTIFY), slot);
	close(users);
	close(peer);
}

static void test_found_twice(void **state)
{
	struct fixture *f = *state;
	int peer, users, listener = listener_new(&users);

	connection(f, PERF_SERVE_OCI, &peer);
	say(0, PERF_FOUND, NULL, 0, listener);
	say(0, PERF_FOUND, NULL, 0, listener);
	close(listener);
	close(users);
	turn(f);
	assert_true(was_killed(0));
	close(peer);
	turn(f);
	assert_int_equal(n_slots(f), 0);
}

static void test_found_nothing(void **state)
{
	struct fixture *f = *state;
	struct perf_life *l;
	int peer;

	l = connection(f, PERF_SERVE_OCI, &peer);
	life_look(l, l->since + 1);
	assert_false(is_closed(0));
	life_look(l, l->since + 1000000);
	assert_true(is_closed(0));
	die(f, 0);
	assert_true(LIST_EMPTY(&f->perf->lives));
	close(peer);
}

/* Its connection ends with the worker: LXC connects anew. */
static void test_lxc(void **state)
{
	struct fixture *f = *state;
	int peer;
	char c;

	connection(f, PERF_SERVE_LXC, &peer);
	assert_int_equal(n_slots(f), 1);
	die(f, 0);
	assert_int_equal(n_workers, 1);
	assert_int_equal(n_slots(f), 0);
	assert_int_equal(recv(peer, &c, 1, MSG_DONTWAIT), 0);
	close(peer);
}

static void test_lxc_refused(void **state)
{
	struct fixture *f = *state;
	int peer;

	spawn_error = -ENOBUFS;
	{
		struct account *account = account_get(&f->manager.accounts, MINE);
		struct perf_life *l;
		char c;

		assert_int_equal(life_new(f->perf, PERF_SERVE_OCI, account, PERF_NO_SLOT,
					 listener_new(&peer), &l),
			0);
		account_put(account);
		life_start(l);
		assert_int_equal(recv(peer, &c, 1, MSG_DONTWAIT), 0);
	}
	assert_true(LIST_EMPTY(&f->perf->lives));
	close(peer);
}

static void test_off(void **state)
{
	struct fixture *f = *state;
	struct perf *p;
	int users;

	(void)state;
	assert_int_equal(perf_new(&f->manager, NULL, "a reason", &p), 0);
	assert_string_equal(perf_off(p), "a reason");
	assert_int_equal(perf_attach(p, MINE, listener_new(&users)), -EOPNOTSUPP);
	close(users);
	perf_changed(p);
	perf_free(p);
}

static void test_tally(void **state)
{
	struct fixture *f = *state;
	struct perf_tally t;
	int users[2];
	struct perf_slot *slot = &f->perf->registry->slot[attach(f, MINE, &users[0])];

	attach(f, OTHERS, &users[1]);
	atomic_store(&slot->calls, 5);
	assert_int_equal(
		perf_ledger_add(f->perf->registry, slot, &(struct perf_entry){.id = 9}), 0);
	perf_tally(f->perf, MINE, &t);
	assert_int_equal(t.listeners, 1);
	assert_int_equal(t.calls, 5);
	assert_int_equal(t.events, 1);
	perf_tally(f->perf, OTHERS, &t);
	assert_int_equal(t.calls, 0);
	perf_tally(f->perf, PERF_ALL, &t);
	assert_int_equal(t.listeners, 2);
	close(users[0]);
	close(users[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_attach),
		TEST(test_quota),
		TEST(test_shares),
		TEST(test_host_root),
		TEST(test_facts),
		TEST(test_death),
		TEST(test_death_again_and_again),
		TEST(test_done),
		TEST(test_done_and_gone),
		TEST(test_no_users),
		TEST(test_spawner_fails),
		TEST(test_busy),
		TEST(test_busy_waiting),
		TEST(test_wedged),
		TEST(test_nonsense),
		TEST(test_short),
		TEST(test_news),
		TEST(test_take_over),
		TEST(test_take_over_listeners),
		TEST(test_found),
		TEST(test_found_twice),
		TEST(test_found_nothing),
		TEST(test_lxc),
		TEST(test_lxc_refused),
		TEST(test_off),
		TEST(test_tally),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
