/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/capability.h>
#include <sys/stat.h>

#include "../../policy/decide.h"
#include "subjects.h"

#define ALL (FACT_MAPS | FACT_CAPS | FACT_GROUPS | FACT_NS)
#define DIR(u, g, m)                                          \
	(struct node)                                         \
	{                                                     \
		.uid = (u), .gid = (g), .mode = S_IFDIR | (m) \
	}

static struct subject subject;

static const struct subject *who(enum who w, unsigned have)
{
	subject_of(w, &subject);
	subject_withhold(&subject, have, false);
	return &subject;
}

#define assert_right(call, right, facts)       \
	do {                                   \
		unsigned need = 0;             \
		assert_int_equal(call, right); \
		assert_int_equal(need, facts); \
	} while (0)

static void test_host_root(void **state)
{
	static const struct {
		enum who who;
		unsigned have;
		enum tri right;
		unsigned need;
	} table[] = {
		{HOST, ALL, YES, 0},
		{HOST, 0, UNKNOWN, FACT_NS},
		{HOST, FACT_NS, UNKNOWN, FACT_CAPS},
		{HOST, FACT_CAPS, UNKNOWN, FACT_NS},
		{WEAK, ALL, NO, 0},
		{WEAK, FACT_CAPS, NO, 0},
		{DOCKER, FACT_NS, NO, 0},
		{UNSHARE, FACT_NS, NO, 0},
		{ALICE, 0, NO, 0},
		{CROOT, 0, NO, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct subject *s = who(table[i].who, table[i].have);

		assert_right(subject_is_host_root(s, &need), table[i].right, table[i].need);
	}
}

/* Each of the three namespaces counts by itself. */
static void test_host_root_in_every_namespace(void **state)
{
	(void)state;
	for (unsigned other = 0; other < 8; other++) {
		subject_of(HOST, &subject);
		subject.own_userns = !(other & 1);
		subject.own_pidns = !(other & 2);
		subject.own_cgroupns = !(other & 4);
		assert_right(subject_is_host_root(&subject, &need), other ? NO : YES, 0);
	}
}

static void test_ns_root(void **state)
{
	static const struct {
		enum who who;
		unsigned have;
		enum tri right;
		unsigned need;
	} table[] = {
		{CROOT, 0, UNKNOWN, FACT_MAPS},
		{CROOT, FACT_MAPS, UNKNOWN, FACT_CAPS},
		{CROOT, FACT_CAPS, UNKNOWN, FACT_MAPS},
		{CROOT, ALL, YES, 0},
		{CBARE, FACT_CAPS, NO, 0},
		{CUSER, FACT_MAPS, NO, 0},
		{EMPTY, FACT_MAPS, NO, 0},
		{ENTERED, FACT_MAPS, NO, 0},
		{NESTED, ALL, YES, 0},
		{ALICENS, ALL, YES, 0},
		{ALICE, FACT_MAPS, NO, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct subject *s = who(table[i].who, table[i].have);

		assert_right(
			subject_is_ns_root(s, CAP_CHOWN, &need), table[i].right, table[i].need);
	}
}

/* The capability that is asked for, and no other. */
static void test_ns_root_by_capability(void **state)
{
	(void)state;
	subject_of(CROOT, &subject);
	subject.caps = UINT64_C(1) << CAP_FOWNER;
	assert_right(subject_is_ns_root(&subject, CAP_FOWNER, &need), YES, 0);
	assert_right(subject_is_ns_root(&subject, CAP_CHOWN, &need), NO, 0);
	subject.caps = UINT64_C(1) << CAP_CHECKPOINT_RESTORE;
	assert_right(subject_is_ns_root(&subject, CAP_CHECKPOINT_RESTORE, &need), YES, 0);
	assert_right(subject_is_ns_root(&subject, CAP_KILL, &need), NO, 0);
}

/* Each right asks for its own capability, and every other one together is not enough. */
static void test_capability_of_each_right(void **state)
{
	const struct victim v = {FACT_VICTIM_NS, true, CU, CU, CU};
	const struct node n = DIR(CU, CU, 0);
	int why;

	(void)state;
	for (int without = 0; without < 2; without++) {
		subject_of(HOST, &subject);
		subject.caps =
			without ? ~(UINT64_C(1) << CAP_SYS_ADMIN) : UINT64_C(1) << CAP_SYS_ADMIN;
		assert_right(subject_is_host_root(&subject, &need), without ? NO : YES, 0);
		subject_of(CROOT, &subject);
		subject.caps = without ? ~(UINT64_C(1) << CAP_KILL) : UINT64_C(1) << CAP_KILL;
		assert_right(subject_over_task(&subject, &v, &need, &why), without ? NO : YES, 0);
		subject.caps = without ? ~(UINT64_C(1) << CAP_DAC_OVERRIDE)
				       : UINT64_C(1) << CAP_DAC_OVERRIDE;
		assert_right(subject_over_cgroup(&subject, &n, &need), without ? NO : YES, 0);
		assert_right(subject_access(&subject, &n, 4, &need), without ? NO : YES, 0);
	}
}

static void test_over_cgroup(void **state)
{
	static const struct {
		enum who who;
		unsigned have;
		uid_t uid;
		gid_t gid;
		enum tri right;
		unsigned need;
	} table[] = {
		{CROOT, 0, C, 0, YES, 0}, /* by its uid alone */
		{CUSER, 0, C, CU, UNKNOWN, FACT_MAPS},
		{CUSER, FACT_MAPS, C, CU, NO, 0},
		{CROOT, 0, CU, CU, UNKNOWN, FACT_MAPS},
		{CROOT, FACT_MAPS, CU, CU, UNKNOWN, FACT_CAPS},
		{CROOT, FACT_MAPS, CU, 0, NO, 0}, /* no need to know its capabilities */
		{CROOT, FACT_MAPS, 0, CU, NO, 0},
		{CROOT, ALL, CU, CU, YES, 0},
		{CBARE, FACT_CAPS, CU, CU, NO, 0},
		{HOST, 0, C, C, UNKNOWN, FACT_NS},
		{HOST, ALL, C, C, YES, 0},
		{UNSHARE, ALL, C, C, NO, 0},
		{UNSHARE, FACT_NS, C, C, UNKNOWN, FACT_MAPS},
		{ALICE, FACT_MAPS, 0, WHEEL, NO, 0},
		{NESTED, ALL, C, C, NO, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct subject *s = who(table[i].who, table[i].have);
		const struct node n = DIR(table[i].uid, table[i].gid, 0777);

		assert_right(subject_over_cgroup(s, &n, &need), table[i].right, table[i].need);
	}
}

static void test_access(void **state)
{
	static const struct {
		enum who who;
		unsigned have;
		uid_t uid;
		gid_t gid;
		unsigned mode, bits;
		enum tri right;
		unsigned need;
	} table[] = {
		{ALICE, 0, ALICE_ID, 0, 0500, 5, YES, 0},
		{ALICE, ALL, ALICE_ID, 0, 0577, 2, NO, 0},
		{ALICE, 0, 0, 0, 0755, 5, YES, 0}, /* group and others agree */
		{ALICE, 0, 0, ALICE_ID, 0750, 5, YES, 0},
		{ALICE, 0, 0, WHEEL, 0750, 5, UNKNOWN, FACT_GROUPS},
		{ALICE, FACT_CAPS | FACT_GROUPS, 0, WHEEL, 0750, 5, YES, 0},
		{ALICE, FACT_CAPS | FACT_GROUPS, 0, C, 0750, 5, NO, 0},
		{ALICE, FACT_CAPS | FACT_GROUPS, 0, C, 0705, 5, YES, 0},
		{ALICE, FACT_CAPS | FACT_GROUPS, 0, WHEEL, 0705, 5, NO, 0},
		{CROWD, FACT_CAPS | FACT_GROUPS, 0, C, 0705, 5, NO, 0},
		{CROWD, FACT_CAPS | FACT_GROUPS, 0, C, 0755, 5, YES, 0},
		{ALICE, 0, 0, 0, 0755, 7, UNKNOWN, FACT_MAPS}, /* every bit must be there */
		{ALICE, FACT_MAPS, 0, 0, 0755, 7, NO, 0},
		{CROOT, 0, C, C, 0400, 4, YES, 0},
		{CROOT, 0, C, C, 0, 4, UNKNOWN, FACT_MAPS},
		{CROOT, ALL, C, C, 0, 7, YES, 0},
		{CROOT, FACT_MAPS, 0, C, 0700, 4, NO, 0},
		{CROOT, ALL, CU, 0, 0, 4, YES, 0},
		{CBARE, ALL, CU, CU, 0700, 4, NO, 0},
		{HOST, ALL, C, C, 0, 7, YES, 0},
		{WEAK, ALL, C, C, 0700, 4, NO, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct subject *s = who(table[i].who, table[i].have);
		const struct node n = DIR(table[i].uid, table[i].gid, table[i].mode);

		assert_right(
			subject_access(s, &n, table[i].bits, &need), table[i].right, table[i].need);
	}
}

static void test_over_task(void **state)
{
	static const struct {
		enum who who;
		unsigned have;
		struct victim victim;
		enum tri right;
		unsigned need;
		int why;
	} table[] = {
		{CUSER, 0, {FACT_VICTIM_NS, true, CU, CU, CU}, YES, 0, -1},
		{CUSER, 0, {0, true, CU, CU, CU}, UNKNOWN, FACT_VICTIM_NS, -1},
		{CUSER, 0, {FACT_VICTIM_NS, false, CU, CU, CU}, NO, 0, REASON_TASK_USERNS},
		{CUSER, FACT_MAPS, {0, true, CU, CU, C}, NO, 0, REASON_TASK_IDS},
		{CUSER, 0, {FACT_VICTIM_NS, false, CU, CU, C}, UNKNOWN, FACT_MAPS, -1},
		{CROOT, ALL, {FACT_VICTIM_NS, true, CU, C, CU}, YES, 0, -1},
		{CROOT, FACT_MAPS, {FACT_VICTIM_NS, true, CU, 0, CU}, NO, 0, REASON_TASK_IDS},
		{CBARE, ALL, {FACT_VICTIM_NS, true, CU, CU, CU}, NO, 0, REASON_TASK_IDS},
		{HOST, ALL, {0, false, C, CU, 0}, YES, 0, -1},
		{UNSHARE, ALL, {FACT_VICTIM_NS, false, 0, 0, 0}, NO, 0, REASON_TASK_USERNS},
		{NESTED, ALL, {FACT_VICTIM_NS, true, C, C, C}, NO, 0, REASON_TASK_IDS},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct subject *s = who(table[i].who, table[i].have);
		int why = -1;

		assert_right(subject_over_task(s, &table[i].victim, &need, &why), table[i].right,
			table[i].need);
		assert_int_equal(why, table[i].why);
	}
}

/* The hierarchy's root, a slice of the host, a container's cgroup, its child, the child's child. */
enum { ROOT_ID = 1, CHAIN_MAX = 5 };

static const struct node container_chain[CHAIN_MAX] = {
	{0, 0, S_IFDIR | 0755, ROOT_ID},
	{0, 0, S_IFDIR | 0755, 10},
	{C, C, S_IFDIR | 0755, 20},
	{C, C, S_IFDIR | 0755, 30},
	{CU, CU, S_IFDIR | 0755, 40},
};

static void test_scope(void **state)
{
	static const struct {
		enum who who;
		unsigned have, n;
		unsigned root; /* FACT_ROOT and its id, or 0: not known */
		uint64_t root_id;
		int scope;
		unsigned need;
	} table[] = {
		{HOST, ALL, 4, FACT_ROOT, 0, 0, 0},
		{HOST, 0, 4, FACT_ROOT, 0, -1, FACT_NS},
		{HOST, ALL, 1, 0, 0, 0, 0},
		/* the root of its cgroup namespace, where that is above it */
		{CROOT, 0, 4, 0, 0, -1, FACT_ROOT},
		{CROOT, 0, 4, FACT_ROOT, 20, 2, 0},
		{CROOT, 0, 4, FACT_ROOT, 30, 3, 0},
		{CUSER, 0, 5, FACT_ROOT, 20, 2, 0},
		{CROOT, 0, 4, FACT_ROOT, 10, 1, 0},
		{DOCKER, ALL, 2, FACT_ROOT, 10, 1, 0},
		/* not in its chain, or the hierarchy's root: by privilege */
		{CROOT, ALL, 4, FACT_ROOT, 99, 2, 0},
		{CROOT, ALL, 4, FACT_ROOT, ROOT_ID, 2, 0},
		{CROOT, ALL, 4, FACT_ROOT, 0, 2, 0},
		{CROOT, 0, 4, FACT_ROOT, 0, -1, FACT_MAPS},
		{CROOT, ALL, 5, FACT_ROOT, 0, 2, 0},
		{CBARE, ALL, 4, FACT_ROOT, 0, 2, 0},
		{CBARE, ALL, 5, FACT_ROOT, 0, 4, 0}, /* a run is not broken by its own */
		{CUSER, ALL, 5, FACT_ROOT, 0, 4, 0},
		{NESTED, ALL, 4, FACT_ROOT, 0, 3, 0}, /* privilege over none: its own */
		{ALICE, ALL, 2, FACT_ROOT, 0, 1, 0},
		{ALICE, ALL, 1, FACT_ROOT, 0, 0, 0},
		/* uid 0 that is not host root owns what is the host's */
		{WEAK, ALL, 2, FACT_ROOT, 0, 1, 0},
		{DOCKER, ALL, 2, FACT_ROOT, 0, 1, 0},
		{UNSHARE, ALL, 2, FACT_ROOT, ROOT_ID, 1, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct subject *s = who(table[i].who, table[i].have);

		assert_right(scope_decide(s, container_chain, table[i].n, true, table[i].root,
				     table[i].root_id, &need),
			table[i].scope, table[i].need);
	}
}

/* From its own cgroup upward, without a gap: what it owns above somebody else's is not in its
 * scope. */
static void test_scope_run_is_unbroken(void **state)
{
	static const struct node chain[] = {
		{0, 0, S_IFDIR | 0755, 1},
		{ALICE_ID, ALICE_ID, S_IFDIR | 0755, 2},
		{0, 0, S_IFDIR | 0755, 3},
		{ALICE_ID, ALICE_ID, S_IFDIR | 0755, 4},
		{ALICE_ID, ALICE_ID, S_IFDIR | 0755, 5},
	};

	(void)state;
	assert_right(scope_decide(who(ALICE, ALL), chain, 5, true, FACT_ROOT, 0, &need), 3, 0);
	assert_right(scope_decide(who(ALICE, ALL), chain, 3, true, FACT_ROOT, 0, &need), 2, 0);
	assert_right(scope_decide(who(ALICE, ALL), chain, 2, true, FACT_ROOT, 0, &need), 1, 0);
}

/* However much of the chain is known: more is asked for, or the answer is the whole chain's. */
static void test_scope_of_part_of_the_chain(void **state)
{
	static const struct node chain[] = {
		{0, 0, S_IFDIR | 0755, 1},
		{0, 0, S_IFDIR | 0755, 2},
		{ALICE_ID, ALICE_ID, S_IFDIR | 0755, 3},
		{ALICE_ID, ALICE_ID, S_IFDIR | 0755, 4},
	};

	(void)state;
	for (uint64_t root_id = 0; root_id <= 5; root_id++) {
		const struct subject *s = who(ALICE, ALL);
		unsigned none = 0;
		int whole = scope_decide(s, chain, 4, true, FACT_ROOT, root_id, &none);
		bool settled = false;

		for (unsigned n = 1; n < 4; n++) {
			unsigned wanted = 0;
			int part = scope_decide(
				s, chain + 4 - n, n, false, FACT_ROOT, root_id, &wanted);

			assert_true(part >= 0 ? wanted == 0 : wanted == FACT_CHAIN);
			assert_false(settled && part < 0);
			settled = part >= 0;
			if (settled)
				assert_int_equal(part + 4 - (int)n, whole);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host_root),
		cmocka_unit_test(test_host_root_in_every_namespace),
		cmocka_unit_test(test_ns_root),
		cmocka_unit_test(test_ns_root_by_capability),
		cmocka_unit_test(test_capability_of_each_right),
		cmocka_unit_test(test_over_cgroup),
		cmocka_unit_test(test_access),
		cmocka_unit_test(test_over_task),
		cmocka_unit_test(test_scope),
		cmocka_unit_test(test_scope_run_is_unbroken),
		cmocka_unit_test(test_scope_of_part_of_the_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
