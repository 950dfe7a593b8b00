/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../dbus/scm-frame.h"

static struct scm_frames frames;

static int setup(void **state)
{
	(void)state;
	frames = (struct scm_frames){0};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	scm_frames_done(&frames);
	return 0;
}

static void make(enum method_id id, struct reply *reply)
{
	assert_int_equal(scm_frames(method_twin(id), reply, SIZE_MAX, &frames), 0);
}

/* Piece number i is exactly these bytes. */
static void assert_piece(unsigned i, const void *data, size_t size)
{
	size_t from = i == 0 ? 0 : frames.ends[i - 1];

	assert_true(i < frames.n);
	assert_int_equal(frames.ends[i] - from, size);
	assert_memory_equal(frames.data + from, data, size);
}

static void assert_number(unsigned i, int32_t number)
{
	assert_piece(i, &number, sizeof(number));
}

static void test_nothing(void **state)
{
	struct reply reply = {.reason = REASON_OK};

	(void)state;
	make(METHOD_MovePid, &reply);
	assert_int_equal(frames.n, 1);
	assert_piece(0, "1", 1);
}

static void test_existed(void **state)
{
	static const struct {
		enum method_id id;
		int32_t number;
		char byte;
	} rows[] = {
		{METHOD_Create, 1, '2'},
		{METHOD_Create, -1, '1'},
		{METHOD_Remove, 1, '2'},
		{METHOD_Remove, -1, '1'},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct reply reply = {.number = rows[i].number};

		make(rows[i].id, &reply);
		assert_int_equal(frames.n, 1);
		assert_piece(0, &rows[i].byte, 1);
		scm_frames_done(&frames);
	}
}

static void test_text(void **state)
{
	static char value[] = "max\n5";
	struct reply reply = {.text = value}, empty = {0};

	(void)state;
	make(METHOD_GetValue, &reply);
	assert_int_equal(frames.n, 1);
	assert_piece(0, "max\n5", 6);
	scm_frames_done(&frames);
	make(METHOD_GetPidCgroup, &empty);
	assert_piece(0, "", 1);
}

static void test_pids(void **state)
{
	struct reply reply = {.n_pids = 2}, empty = {0};

	(void)state;
	reply.pids = malloc(2 * sizeof(int32_t));
	assert_non_null(reply.pids);
	reply.pids[0] = 7;
	reply.pids[1] = 9;
	make(METHOD_GetTasks, &reply);
	assert_int_equal(frames.n, 1);
	assert_number(0, 2);
	assert_int_equal(frames.n_pids, 2);
	assert_int_equal(frames.pids[0], 7);
	assert_int_equal(frames.pids[1], 9);
	assert_null(reply.pids);
	assert_int_equal(reply.n_pids, 0);
	scm_frames_done(&frames);
	make(METHOD_GetTasksRecursive, &empty);
	assert_number(0, 0);
	assert_int_equal(frames.n, 1);
	assert_int_equal(frames.n_pids, 0);
}

static void test_names(void **state)
{
	static char a[] = "a", long_one[] = "long one", *names[] = {a, long_one, NULL};
	struct reply reply = {.names = names}, empty = {0};

	(void)state;
	make(METHOD_ListChildren, &reply);
	assert_int_equal(frames.n, 3);
	assert_number(0, 2);
	assert_number(1, 11);
	assert_piece(2, "a\0long one", 11);
	scm_frames_done(&frames);
	make(METHOD_ListChildren, &empty);
	assert_int_equal(frames.n, 2);
	assert_number(0, 0);
	assert_number(1, 0);
}

static void test_keys(void **state)
{
	static char tasks[] = "tasks", limit[] = "l";
	static struct reply_key keys[] = {
		{.name = limit, .uid = UINT32_MAX, .gid = 5, .mode = 0100644},
		{.name = tasks, .uid = 0, .gid = 1, .mode = 0100444},
	};
	static const char text[] = "l\n-1\n5\n33188\n\0tasks\n0\n1\n33060\n";
	struct reply reply = {.keys = keys, .n_keys = 2};

	(void)state;
	make(METHOD_ListKeys, &reply);
	assert_int_equal(frames.n, 3);
	assert_number(0, 2);
	assert_number(1, sizeof(text));
	assert_piece(2, text, sizeof(text));
}

static void test_failures(void **state)
{
	(void)state;
	for (enum method_id id = 0; id < METHOD_MAX; id++) {
		struct reply reply = {.reason = REASON_NO_READ, .number = 1};
		const char *out = methods[id].out;

		if (!method_twin(id))
			continue;
		make(id, &reply);
		assert_int_equal(frames.n, 1);
		assert_int_equal(frames.n_pids, 0);
		if (out[0] == 'a')
			assert_number(0, -1);
		else if (out[0] == 's')
			assert_int_equal(frames.ends[0], 0);
		else
			assert_piece(0, "0", 1);
		scm_frames_done(&frames);
	}
}

/* What one packet cannot carry is not begun. */
static void test_too_long(void **state)
{
	static char value[] = "0123456789";
	struct reply reply = {.text = value};

	(void)state;
	assert_int_equal(scm_frames(method_twin(METHOD_GetValue), &reply, 10, &frames), -EMSGSIZE);
	assert_null(frames.data);
	assert_int_equal(scm_frames(method_twin(METHOD_GetValue), &reply, 11, &frames), 0);
	assert_piece(0, value, 11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_nothing),
		TEST(test_existed),
		TEST(test_text),
		TEST(test_pids),
		TEST(test_names),
		TEST(test_keys),
		TEST(test_failures),
		TEST(test_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
