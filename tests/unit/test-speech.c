/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who may speak for whom: a row each, and that facts which were not known change no verdict. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../policy/decide.h"
#include "subjects.h"

static const struct row {
	const char *about;
	enum reason expect;
	enum who who;
	uid_t uid;
	gid_t gid;
	bool hidden, beside;
} rows[] = {
	{"host root for a user", REASON_OK, HOST, ALICE_ID, ALICE_ID},
	{"host root for a container's root", REASON_OK, HOST, C, C},
	{"a container's root for its user", REASON_OK, CROOT, CU, CG},
	{"a container's root for a nested one's", REASON_OK, CROOT, NEST, NEST},
	{"a container's root for host root", REASON_SPEAK_IDS, CROOT, 0, 0},
	{"a mapped uid with an unmapped gid", REASON_SPEAK_IDS, CROOT, CU, 0},
	{"an unmapped uid with a mapped gid", REASON_SPEAK_IDS, CROOT, ALICE_ID, CU},
	{"what its pid namespace does not show", REASON_SPEAK_MISSING, CROOT, CU, CU, true},
	{"in a user namespace beside its own", REASON_SPEAK_MISSING, CROOT, CU, CU, false, true},
	{"in a user namespace above its own", REASON_SPEAK_MISSING, NESTED, NEST, NEST, false,
		true},
	{"a nested one for what it does not map", REASON_SPEAK_IDS, NESTED, CU, CU},
	{"a user of the host", REASON_SPEAK_ROOT, ALICE, ALICE_ID, ALICE_ID},
	{"a user in a namespace of its own", REASON_OK, ALICENS, ALICE_ID, ALICE_ID},
	{"a user of a container", REASON_SPEAK_ROOT, CUSER, CU, CU},
	{"a container's root without capabilities", REASON_SPEAK_ROOT, CBARE, CU, CU},
	{"with another capability", REASON_SPEAK_ROOT, CFOWNER, CU, CU},
	{"without a uid_map", REASON_SPEAK_ROOT, EMPTY, CU, CU},
	{"all capabilities, but not mapped to 0", REASON_SPEAK_ROOT, ENTERED, ALICE_ID, ALICE_ID},
	{"uid 0 without capabilities", REASON_SPEAK_ROOT, WEAK, ALICE_ID, ALICE_ID},
	{"Docker's uid 0", REASON_SPEAK_ROOT, DOCKER, ALICE_ID, ALICE_ID},
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

#define FACTS_ALL (FACT_MAPS | FACT_CAPS | FACT_NS | FACT_VICTIM_NS)

static struct verdict decide_with(const struct row *row, unsigned have, bool grant)
{
	static struct subject subject;
	struct speech s = {
		.proxy = &subject,
		.uid = row->uid,
		.gid = row->gid,
		.visible = !row->hidden,
		.have = have & FACT_VICTIM_NS,
		.below_userns = have & FACT_VICTIM_NS ? !row->beside : grant,
	};

	subject_of(row->who, &subject);
	subject_withhold(&subject, have, grant);
	return decide_speech(&s);
}

static void test_rows(void **state)
{
	unsigned failed = 0;

	(void)state;
	for (size_t i = 0; i < N_ROWS; i++) {
		struct verdict v = decide_with(&rows[i], FACTS_ALL, true);

		if (v.reason == rows[i].expect && v.need == 0)
			continue;
		print_error("%s: %s, need %#x, expected %s\n", rows[i].about,
			reason_row(v.reason)->token, v.need, reason_row(rows[i].expect)->token);
		failed++;
	}
	assert_int_equal(failed, 0);
}

/* Every subset of facts leads to the row's verdict, and never grants on the way. */
static void test_facts(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ROWS; i++)
		for (unsigned first = 0; first <= FACTS_ALL; first++)
			for (int grant = 0; grant < 2; grant++) {
				unsigned have = first & FACTS_ALL;
				struct verdict v = decide_with(&rows[i], have, grant);

				while (v.need != 0) {
					assert_int_equal(v.need & (have | ~(unsigned)FACTS_ALL), 0);
					assert_int_not_equal(v.reason, REASON_OK);
					have |= v.need;
					v = decide_with(&rows[i], have, grant);
				}
				if (v.reason != rows[i].expect)
					fail_msg("%s: %s", rows[i].about,
						reason_row(v.reason)->token);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_facts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
