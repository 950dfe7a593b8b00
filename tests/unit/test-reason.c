/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "../../policy/reason.h"

static char buf[4096];

static const char *message(
	enum reason r, const char *method, const char *object, const char *detail, size_t size)
{
	memset(buf, '#', sizeof(buf));
	reason_message(r, method, object, detail, buf, size);
	assert_true(memchr(buf, '\0', size) != NULL);
	assert_int_equal(buf[size], '#');
	return buf;
}

static void test_rows(void **state)
{
	(void)state;
	for (int r = 0; r < REASON_MAX; r++) {
		const struct reason_row *row = reason_row((enum reason)r);

		assert_non_null(row->token);
		assert_true(row->why && *row->why);
		assert_true(!row->remedy || *row->remedy);
		assert_int_equal(row->kind == KIND_OK, r == REASON_OK);
		assert_int_equal(row->err == 0, r == REASON_OK);
		assert_true(row->err >= 0);
		for (int other = 0; other < r; other++)
			assert_string_not_equal(row->token, reason_row((enum reason)other)->token);
	}
	assert_string_equal(reason_row(REASON_SCOPE_ROOT)->token, "SCOPE_ROOT");
	assert_ptr_equal(reason_row(REASON_MAX), reason_row(REASON_INTERNAL));
	assert_ptr_equal(reason_row((enum reason) - 1), reason_row(REASON_INTERNAL));
}

/* Nobody learns from an answer whether something is there that he may not know of. */
static void test_outside_reads_like_missing(void **state)
{
	static const enum reason pairs[][2] = {
		{REASON_CGROUP_OUTSIDE, REASON_CGROUP_MISSING},
		{REASON_TASK_OUTSIDE, REASON_TASK_MISSING},
		{REASON_SPEAK_MISSING, REASON_TASK_MISSING},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		const struct reason_row *a = reason_row(pairs[i][0]), *b = reason_row(pairs[i][1]);
		char other[512];

		assert_int_equal(a->kind, b->kind);
		assert_int_equal(a->err, b->err);
		assert_string_equal(a->why, b->why);
		assert_string_equal(a->remedy, b->remedy);
		assert_string_not_equal(a->token, b->token);
		reason_message(pairs[i][0], "MovePid", "x", NULL, other, sizeof(other));
		assert_string_equal(message(pairs[i][1], "MovePid", "x", NULL, 512), other);
	}
}

static void test_message(void **state)
{
	(void)state;
	assert_string_equal(message(REASON_CGROUP_MISSING, "GetValue", "a/b", NULL, 512),
		"GetValue a/b: there is no such cgroup; name a cgroup that ListChildren shows");
	assert_string_equal(message(REASON_CGROUP_MISSING, "GetValue", NULL, NULL, 512),
		"GetValue: there is no such cgroup; name a cgroup that ListChildren shows");
	assert_string_equal(message(REASON_CGROUP_MISSING, "GetValue", "", "", 512),
		"GetValue: there is no such cgroup; name a cgroup that ListChildren shows");
	assert_string_equal(message(REASON_KERNEL, "Create", "a", "No space left on device", 512),
		"Create a: the kernel refused (No space left on device)");
	assert_string_equal(message(REASON_BUSY, "Remove", "a", "2 tasks", 512),
		"Remove a: the cgroup is in use (2 tasks); move its tasks away and remove its "
		"children first");
	assert_string_equal(message(REASON_OK, "Ping", NULL, NULL, 512), "Ping: done");
}

static void test_control_characters(void **state)
{
	(void)state;
	assert_string_equal(message(REASON_TASK_ENDED, "M", "a\nb\x1b[2J\x7f\t", "x\ry", 512),
		"M a?b?[2J??: the task ended meanwhile (x?y)");
	assert_string_equal(message(REASON_TASK_ENDED, "M",
				    "\xc2\x9b"
				    "2J",
				    NULL, 512),
		"M ?2J: the task ended meanwhile");
	/* letters stay, and what is no UTF-8 would make the reply impossible to send */
	assert_string_equal(
		message(REASON_TASK_ENDED, "M", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", NULL, 512),
		"M \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80: the task ended meanwhile");
	assert_string_equal(message(REASON_TASK_ENDED, "M", "a\xffz\x80\xc3", "\xe2\x82", 512),
		"M a?z??: the task ended meanwhile (?)");
}

static void test_every_size(void **state)
{
	const char *full = "SetValue a/b: the kernel refused (why)";

	(void)state;
	reason_message(REASON_KERNEL, "SetValue", "a/b", "why", buf, 0);
	for (size_t size = 1; size < 64; size++) {
		const char *m = message(REASON_KERNEL, "SetValue", "a/b", "why", size);

		assert_true(strlen(m) < size);
		/* what fits is the beginning, but for an object that was shortened */
		if (size >= 20)
			assert_memory_equal(m, full, strlen(m));
		assert_memory_equal(m, "SetValue ", size - 1 < 9 ? size - 1 : 9);
	}
	assert_string_equal(
		message(REASON_KERNEL, "SetValue", "a/b", "why", strlen(full) + 1), full);
}

static void test_long_object_leaves_room(void **state)
{
	char object[4001];
	const char *m;

	(void)state;
	memset(object, 'a', 4000);
	object[4000] = '\0';
	m = message(REASON_CGROUP_MISSING, "GetValue", object, NULL, 512);
	assert_non_null(strstr(m, "aaa...: there is no such cgroup; name a cgroup"));

	/* a cut never leaves half a character */
	for (size_t i = 0; i + 2 < sizeof(object); i += 3)
		memcpy(object + i, "\xe2\x82\xac", 3);
	object[3999] = '\0';
	for (size_t size = 1; size < 200; size++) {
		m = message(REASON_KERNEL, "X", object, NULL, size);
		for (const char *p = m; *p; p++) {
			if ((unsigned char)*p < 0x80)
				continue;
			assert_memory_equal(p, "\xe2\x82\xac", 3);
			p += 2;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_outside_reads_like_missing),
		cmocka_unit_test(test_message),
		cmocka_unit_test(test_control_characters),
		cmocka_unit_test(test_every_size),
		cmocka_unit_test(test_long_object_leaves_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
