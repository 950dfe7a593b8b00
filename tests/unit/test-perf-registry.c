/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../daemon/perf/registry.h"

#define SCOPE 4711

struct fixture {
	struct perf_registry *r;
	int fd;
};

static int setup(void **state)
{
	static struct fixture f;

	f.fd = perf_registry_new(&f.r);
	assert_true(f.fd >= 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	perf_registry_unmap(f->r);
	close(f->fd);
	return 0;
}

static int add(struct perf_registry *r, unsigned slot, uint64_t id, unsigned cpu, bool watched)
{
	struct perf_entry e = {.scope_id = SCOPE, .cpu = (uint16_t)cpu, .config = id * 10};

	atomic_store(&e.id, id);
	atomic_store(&e.watched, watched);
	return perf_ledger_add(r, &r->slot[slot], &e);
}

static void test_map_sees_the_same(void **state)
{
	struct fixture *f = *state;
	struct perf_registry *again;
	int slot = perf_slot_take(f->r, PERF_SLOT_NOTIFY, 1000);

	assert_int_equal(slot, 0);
	assert_int_equal(add(f->r, 0, 7, 1, false), 0);
	assert_int_equal(perf_registry_map(f->fd, &again), 0);
	assert_int_equal(again->slot[0].account, 1000);
	assert_int_equal(again->slot[0].kind, PERF_SLOT_NOTIFY);
	assert_int_equal(perf_ledger_find(again, 7)->config, 70);
	assert_int_equal(perf_ledger_count(again, SCOPE, 1), 1);
	perf_registry_unmap(again);
}

static void expect_unfit(int fd)
{
	struct perf_registry *r = NULL;

	assert_int_equal(perf_registry_map(fd, &r), -EPROTO);
	assert_null(r);
}

static void test_map_refuses_another_version(void **state)
{
	struct fixture *f = *state;

	f->r->magic++;
	expect_unfit(f->fd);
	f->r->magic--;
	f->r->size--;
	expect_unfit(f->fd);
	f->r->size++;
	atomic_store(&f->r->n_slots, PERF_SLOTS_MAX + 1);
	expect_unfit(f->fd);
	atomic_store(&f->r->n_slots, 1);
	atomic_store(&f->r->slot[0].n_ledger, PERF_LEDGER_MAX + 1);
	expect_unfit(f->fd);
	atomic_store(&f->r->slot[0].n_ledger, 0);
	atomic_store(&f->r->slot[0].kind, 99);
	expect_unfit(f->fd);
}

static void test_map_refuses_what_can_shrink(void **state)
{
	struct perf_registry *r = NULL;
	int fd = memfd_create("short", MFD_CLOEXEC | MFD_ALLOW_SEALING), devnull;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sizeof(*r)), 0);
	expect_unfit(fd);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
	expect_unfit(fd); /* its magic is 0 */
	close(fd);
	fd = memfd_create("small", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
	expect_unfit(fd);
	close(fd);
	devnull = open("/dev/null", O_RDWR | O_CLOEXEC);
	expect_unfit(devnull);
	close(devnull);
}

static void test_size_is_sealed(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ftruncate(f->fd, 0), -1);
	assert_int_equal(errno, EPERM);
}

static void test_slots_end(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < PERF_SLOTS_MAX; i++)
		assert_int_equal(perf_slot_take(f->r, PERF_SLOT_LXC, i), i);
	assert_int_equal(perf_slot_take(f->r, PERF_SLOT_LXC, 1), -EDQUOT);
	perf_slot_put(f->r, 100);
	assert_int_equal(perf_slot_take(f->r, PERF_SLOT_BROKER, 5), 100);
	assert_int_equal(f->r->slot[100].account, 5);
}

/* What was opened by way of a listener that has gone counts on. */
static void test_put_keeps_events(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(perf_slot_take(f->r, PERF_SLOT_NOTIFY, 1), 0);
	add(f->r, 0, 7, 1, true);
	f->r->slot[0].notif_words[0] = 9;
	atomic_store(&f->r->slot[0].calls, 3);
	perf_slot_put(f->r, 0);
	assert_int_equal(f->r->slot[0].notif_words[0], 0);
	assert_int_equal(perf_ledger_count(f->r, SCOPE, 1), 1);
	assert_non_null(perf_ledger_find(f->r, 7));
	/* Another is taken as long as there is one. */
	assert_int_equal(perf_slot_take(f->r, PERF_SLOT_NOTIFY, 1), 1);
	perf_slot_put(f->r, 1);
	assert_int_equal(perf_ledger_keep(f->r, SCOPE, NULL, 0), 1);
	assert_int_equal(perf_slot_take(f->r, PERF_SLOT_NOTIFY, 2), 0);
	assert_int_equal(f->r->slot[0].calls, 0);
}

static void test_take_of_one_with_events(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < PERF_SLOTS_MAX; i++)
		perf_slot_take(f->r, PERF_SLOT_NOTIFY, 1);
	add(f->r, 3, 7, 1, true);
	perf_slot_put(f->r, 3);
	assert_int_equal(perf_slot_take(f->r, PERF_SLOT_NOTIFY, 1), 3);
	assert_null(perf_ledger_find(f->r, 7));
	assert_int_equal(perf_ledger_count(f->r, SCOPE, 1), 0);
	assert_int_equal(perf_ledger_sum(f->r, SCOPE, 1), 0);
}

static void test_count_is_of_scope_and_cpu(void **state)
{
	struct fixture *f = *state;

	perf_slot_take(f->r, PERF_SLOT_NOTIFY, 1);
	perf_slot_take(f->r, PERF_SLOT_NOTIFY, 1);
	for (unsigned i = 0; i < 10; i++)
		add(f->r, i % 2, 100 + i, i % 3 == 0 ? PERF_CPUS_MAX : 2, true);
	assert_int_equal(perf_ledger_count(f->r, SCOPE, 2), 6);
	assert_int_equal(perf_ledger_count(f->r, SCOPE, PERF_CPUS_MAX), 4);
	assert_int_equal(perf_ledger_count(f->r, SCOPE, 3), 0);
	assert_int_equal(perf_ledger_count(f->r, SCOPE + 1, 2), 0);
	assert_true(perf_ledger_sum(f->r, SCOPE, 2) >= 6);
	assert_true(perf_ledger_sum(f->r, SCOPE, PERF_CPUS_MAX) >= 4);
}

static void test_drop_once(void **state)
{
	struct fixture *f = *state;
	struct perf_entry *e;

	perf_slot_take(f->r, PERF_SLOT_NOTIFY, 1);
	add(f->r, 0, 7, 1, true);
	e = perf_ledger_find(f->r, 7);
	perf_ledger_drop(f->r, e, 8); /* not that */
	assert_ptr_equal(perf_ledger_find(f->r, 7), e);
	perf_ledger_drop(f->r, e, 7);
	perf_ledger_drop(f->r, e, 7);
	perf_ledger_drop(f->r, e, 0);
	assert_null(perf_ledger_find(f->r, 7));
	assert_int_equal(perf_ledger_sum(f->r, SCOPE, 1), 0);
	/* Its place is taken again. */
	assert_int_equal(add(f->r, 0, 9, 1, true), 0);
	assert_null(perf_ledger_find(f->r, 0));
}

static void test_keep(void **state)
{
	static const uint64_t held[] = {101, 104, 900};
	struct fixture *f = *state;

	perf_slot_take(f->r, PERF_SLOT_NOTIFY, 1);
	for (unsigned i = 0; i < 6; i++)
		add(f->r, 0, 100 + i, 1, i == 5);
	assert_int_equal(perf_ledger_keep(f->r, SCOPE + 1, NULL, 0), 0);
	assert_true(perf_ledger_strays(f->r, SCOPE));
	assert_false(perf_ledger_strays(f->r, SCOPE + 1));
	assert_int_equal(perf_ledger_keep(f->r, SCOPE, held, 3), 3);
	assert_non_null(perf_ledger_find(f->r, 101));
	assert_non_null(perf_ledger_find(f->r, 104));
	assert_non_null(perf_ledger_find(f->r, 105)); /* watched */
	assert_int_equal(perf_ledger_count(f->r, SCOPE, 1), 3);
	perf_ledger_unwatch(&f->r->slot[0]);
	assert_int_equal(perf_ledger_keep(f->r, SCOPE, held, 3), 1);
	assert_int_equal(perf_ledger_keep(f->r, SCOPE, NULL, 0), 2);
	assert_false(perf_ledger_strays(f->r, SCOPE));
	add(f->r, 0, 300, 1, true);
	assert_false(perf_ledger_strays(f->r, SCOPE));
}

static void test_ledger_full(void **state)
{
	struct fixture *f = *state;

	perf_slot_take(f->r, PERF_SLOT_NOTIFY, 1);
	for (unsigned i = 0; i < PERF_LEDGER_MAX; i++)
		assert_int_equal(add(f->r, 0, 1 + i, 1, true), i);
	assert_int_equal(add(f->r, 0, 5000, 1, true), -EDQUOT);
	assert_int_equal(perf_ledger_count(f->r, SCOPE, 1), PERF_LEDGER_MAX);
	perf_ledger_drop(f->r, &f->r->slot[0].ledger[17], 18);
	assert_int_equal(add(f->r, 0, 5000, 1, true), 17);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_map_sees_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(test_map_refuses_another_version, setup, teardown),
		cmocka_unit_test(test_map_refuses_what_can_shrink),
		cmocka_unit_test_setup_teardown(test_size_is_sealed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slots_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_put_keeps_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_take_of_one_with_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_count_is_of_scope_and_cpu, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drop_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ledger_full, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
