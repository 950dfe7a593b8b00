/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../../daemon/account.h"

#define MS UINT64_C(1000000)

static struct accounts as;
static sd_event *event;
static unsigned gone_on;

static void on_go(struct waiter *w)
{
	assert_null(w->account);
	gone_on++;
}

static int setup(void **state)
{
	as = (struct accounts){
		.connections_max = 320,
		.connections_max_account = 80,
		.connections_kept = 20,
		.exchanges_max = 256,
	};
	gone_on = 0;
	if (sd_event_new(&event) < 0)
		return -1;
	return accounts_init(&as, event, on_go);
}

static int teardown(void **state)
{
	accounts_done(&as);
	event = sd_event_unref(event);
	for (size_t i = 0; i < ACCOUNT_BUCKETS; i++)
		assert_true(LIST_EMPTY(&as.buckets[i]));
	assert_int_equal(as.connections, 0);
	assert_int_equal(as.exchanges, 0);
	return 0;
}

/* One record for a number, also where many share a bucket; gone with the last reference. */
static void test_records(void **state)
{
	struct account *a = account_get(&as, 7), *b = account_get(&as, 7 + ACCOUNT_BUCKETS);

	assert_ptr_not_equal(a, b);
	assert_ptr_equal(account_get(&as, 7), a);
	assert_ptr_equal(account_get(&as, 7 + ACCOUNT_BUCKETS), b);
	for (int i = 0; i < 2; i++) {
		assert_null(account_put(a));
		account_put(b);
	}
	assert_true(LIST_EMPTY(&as.buckets[7]));
	assert_null(account_put(NULL));
}

static unsigned connect_all(struct account *a, unsigned n)
{
	unsigned got = 0;

	while (got < n && account_take_connection(a) == 0)
		got++;
	return got;
}

static void disconnect(struct account *a, unsigned n)
{
	while (n-- > 0)
		account_put_connection(a);
}

/* 320 in all: 80 of one account, 20 kept for host root, 20 for who has few. */
static void test_connections(void **state)
{
	struct account *root = account_get(&as, 0), *a[6];

	for (uint64_t i = 0; i < 6; i++)
		a[i] = account_get(&as, 1000 + i);
	assert_int_equal(connect_all(a[0], 1000), 80);
	assert_int_equal(connect_all(a[1], 1000), 80);
	assert_int_equal(connect_all(a[2], 1000), 80);
	assert_int_equal(connect_all(a[3], 1000), 40);
	assert_int_equal(connect_all(a[4], 1000), 16);
	assert_int_equal(connect_all(a[5], 1000), 4);
	assert_int_equal(connect_all(root, 1000), 20);
	assert_int_equal(account_take_connection(a[5]), -EDQUOT);
	/* one that ends makes room, for who has few */
	disconnect(a[0], 1);
	assert_int_equal(account_take_connection(a[0]), -EDQUOT);
	assert_int_equal(account_take_connection(a[5]), -EDQUOT);
	disconnect(root, 20);
	assert_int_equal(account_take_connection(a[0]), -EDQUOT);
	assert_int_equal(connect_all(a[5], 1000), 1);
	disconnect(a[0], 79);
	disconnect(a[1], 80);
	disconnect(a[2], 80);
	/* nobody's share binds host root */
	assert_int_equal(connect_all(root, 1000), 320 - 40 - 16 - 5);
	disconnect(root, 320 - 40 - 16 - 5);
	disconnect(a[3], 40);
	disconnect(a[4], 16);
	disconnect(a[5], 5);
	for (size_t i = 0; i < 6; i++)
		account_put(a[i]);
	account_put(root);
}

/* They outlive the connection. */
static unsigned exchange_all(struct account *a)
{
	unsigned n = 0;

	while (account_take_exchange(a) == 0)
		n++;
	return n;
}

/* An eighth for one account, a quarter for those who have less than four, a sixteenth for root. */
static void test_exchanges(void **state)
{
	static const unsigned wanted[] = {33, 33, 33, 33, 33, 11, 4, 4};
	struct account *root = account_get(&as, 0), *a[8];

	for (size_t i = 0; i < 8; i++) {
		a[i] = account_get(&as, 1000 + i);
		assert_int_equal(exchange_all(a[i]), wanted[i]);
		/* Exchanges hold it. */
		account_put(a[i]);
	}
	assert_int_equal(exchange_all(root), 256 - 184);
	assert_int_equal(account_take_exchange(root), -EDQUOT);
	account_put_exchange(a[0]);
	assert_int_equal(account_take_exchange(a[0]), -EDQUOT);
	assert_int_equal(account_take_exchange(root), 0);
	for (unsigned i = 0; i < 256 - 184 + 1; i++)
		account_put_exchange(root);
	assert_int_equal(account_take_exchange(a[7]), -EDQUOT);
	account_put_exchange(a[7]);
	assert_int_equal(account_take_exchange(a[7]), 0);
	account_put_exchange(a[0]);
	for (size_t i = 0; i < 8; i++)
		for (unsigned n = i == 0 ? 2 : 0; n < wanted[i]; n++)
			account_put_exchange(a[i]);
	account_put(root);
}

/* However many there may be, one account does not get more than this. */
static void test_exchanges_of_many(void **state)
{
	struct account *a = account_get(&as, 1000);

	as.exchanges_max = EXCHANGES_MAX;
	assert_int_equal(exchange_all(a), ACCOUNT_EXCHANGES_MAX);
	for (int i = 0; i < ACCOUNT_EXCHANGES_MAX; i++)
		account_put_exchange(a);
	account_put(a);
}

static void test_unread(void **state)
{
	struct account *a = account_get(&as, 1), *b = account_get(&as, 2);
	size_t first = 0, second = 0, other = 0;

	assert_int_equal(account_set_unread(a, &first, ACCOUNT_UNREAD_MAX - 10), 0);
	assert_int_equal(account_set_unread(a, &second, 10), 0);
	assert_int_equal(account_set_unread(b, &other, 10), 0);
	assert_int_equal(account_set_unread(a, &second, 11), -EDQUOT);
	assert_int_equal(second, 11);
	/* less is no offence, even where it is still too much */
	assert_int_equal(account_set_unread(a, &first, ACCOUNT_UNREAD_MAX - 10), 0);
	assert_int_equal(account_set_unread(a, &first, 0), 0);
	assert_int_equal(a->unread, 11);
	assert_int_equal(account_set_unread(a, &second, 0), 0);
	assert_int_equal(a->unread, 0);
	account_put(a);
	account_put(b);
}

/* Who uses little goes first, who uses much waits while there are others. */
static void test_turns(void **state)
{
	struct account *root = account_get(&as, 0), *a = account_get(&as, 1),
		       *b = account_get(&as, 2), *c = account_get(&as, 3);
	uint64_t now = 1000 * METER_NSEC;

	assert_int_equal(account_turn(a, now), TURN_NOW);
	account_charge(a, now, 5 * MS);
	assert_int_equal(account_turn(a, now), TURN_NOW);
	account_charge(a, now, 1);
	assert_int_equal(account_turn(a, now), TURN_LATER);
	assert_int_equal(account_turn(b, now), TURN_NOW);
	/* alone it may have all */
	now += METER_PRESENT_NSEC + 1;
	account_charge(a, now, 80 * MS);
	assert_int_equal(account_turn(a, now), TURN_LATER);
	account_charge(b, now, 1000);
	assert_int_equal(account_turn(a, now), TURN_WAIT);
	assert_int_equal(account_turn(b, now), TURN_NOW);
	/* the other has not come again */
	now += METER_PRESENT_NSEC + 1;
	assert_int_equal(account_turn(a, now), TURN_LATER);
	/* long afterwards nothing counts */
	now += 3 * METER_NSEC;
	assert_int_equal(account_turn(a, now), TURN_NOW);
	/* the busy share one share */
	account_charge(a, now, 20 * MS);
	account_charge(b, now, 20 * MS);
	account_charge(c, now, 1000);
	assert_int_equal(account_turn(a, now), TURN_WAIT);
	assert_int_equal(account_turn(b, now), TURN_WAIT);
	assert_int_equal(account_turn(c, now), TURN_NOW);
	/* what was used in the span before counts less and less */
	now += METER_NSEC * 7 / 10;
	account_charge(c, now, 1000);
	assert_int_equal(account_turn(a, now), TURN_WAIT);
	now += METER_NSEC / 2;
	account_charge(c, now, 1000);
	assert_int_equal(account_turn(a, now), TURN_LATER);
	/* host root is never busy, and somebody who is there */
	now += 10 * METER_NSEC;
	account_charge(root, now, 99 * MS);
	account_charge(a, now, 60 * MS);
	assert_int_equal(account_turn(root, now), TURN_NOW);
	assert_int_equal(account_turn(a, now), TURN_WAIT);
	account_put(a);
	account_put(b);
	account_put(c);
	account_put(root);
}

/* Nobody is forgotten by leaving for a moment. */
static void test_gone_and_back(void **state)
{
	struct account *a = account_get(&as, 1);
	uint64_t now = clock_monotonic();

	account_charge(a, now, 60 * MS);
	account_put(a);
	a = account_get(&as, 1);
	assert_int_equal(account_turn(a, now), TURN_LATER);
	account_put(a);
	/* an older one goes when another comes by */
	a = account_get(&as, 2 * ACCOUNT_BUCKETS + 1);
	a->meter = (struct meter){.window = 1, .now = 60 * MS};
	account_put(a);
	assert_null(LIST_NEXT(LIST_FIRST(&as.buckets[1]), list));
}

/* Taking on connections counts, whoever they are; nobody is there only because he came. */
static void test_accepting(void **state)
{
	struct account *root = account_get(&as, 0), *a = account_get(&as, 1);
	uint64_t now = 1000 * METER_NSEC;

	account_charge_accept(a, now, 40 * MS);
	account_charge_accept(root, now, 40 * MS);
	assert_int_equal(accounts_pause(&as, now), 0);
	account_charge(root, now, 1);
	assert_true(accounts_pause(&as, now) > 0);
	assert_int_equal(account_turn(a, now), TURN_WAIT);
	now += METER_PRESENT_NSEC + 1;
	assert_int_equal(accounts_pause(&as, now), 0);
	/* host root's own are no reason */
	now += 10 * METER_NSEC;
	account_charge_accept(root, now, 90 * MS);
	account_charge(root, now, 1);
	assert_int_equal(accounts_pause(&as, now), 0);
	account_put(a);
	account_put(root);
}

/* Those that wait go on from the loop; who is cancelled does not. */
static void test_waiters(void **state)
{
	struct account *root = account_get(&as, 0), *a = account_get(&as, 1),
		       *b = account_get(&as, 2);
	struct waiter waiters[4] = {};
	uint64_t now = clock_monotonic();

	account_charge(a, now, 70 * MS);
	account_charge(b, now, 70 * MS);
	account_charge(root, now, 1 * MS);
	assert_int_equal(account_turn(a, now), TURN_WAIT);
	for (int i = 0; i < 3; i++)
		account_wait(a, &waiters[i]);
	account_wait(a, &waiters[0]);
	account_wait(b, &waiters[3]);
	waiter_cancel(&waiters[1]);
	waiter_cancel(&waiters[1]);
	for (int i = 0; gone_on < 3 && i < 1000; i++)
		assert_true(sd_event_run(event, 1000000) >= 0);
	assert_int_equal(gone_on, 3);
	for (int i = 0; i < 4; i++)
		assert_null(waiters[i].account);
	assert_true(LIST_EMPTY(&as.late));
	/* and again */
	account_wait(a, &waiters[0]);
	waiter_cancel(&waiters[0]);
	assert_true(LIST_EMPTY(&as.late));
	account_put(a);
	account_put(b);
	account_put(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_records, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connections, setup, teardown),
		cmocka_unit_test_setup_teardown(test_exchanges, setup, teardown),
		cmocka_unit_test_setup_teardown(test_exchanges_of_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unread, setup, teardown),
		cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_accepting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waiters, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
