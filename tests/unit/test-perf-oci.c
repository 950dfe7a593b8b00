/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The connections of OCI runtimes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wires.h"

#define STATE "{\"ociVersion\":\"1.0.2\",\"fds\":[\"seccompFd\"],\"pid\":7,\"state\":{}}"

static struct stand oci(void)
{
	return stand_new(SOCK_STREAM, perf_worker_oci, "");
}

static void test_state(void **state)
{
	struct stand s = oci();

	(void)state;
	packet_send(s.sock, STATE, strlen(STATE), &trapped, 1);
	assert_int_equal(told(&s), TOLD_FOUND);
	assert_int_equal(told(&s), -2);
	stand_end(&s);
}

static void test_state_in_pieces(void **state)
{
	struct stand s = oci();

	(void)state;
	packet_send(s.sock, STATE, 1, &trapped, 1);
	for (size_t i = 1; i < strlen(STATE); i++)
		packet_send(s.sock, &STATE[i], 1, NULL, 0);
	assert_int_equal(told(&s), TOLD_FOUND);
	stand_end(&s);
	/* The fd last. */
	s = oci();
	packet_send(s.sock, STATE, strlen(STATE) - 1, NULL, 0);
	packet_send(s.sock, "}", 1, &trapped, 1);
	assert_int_equal(told(&s), TOLD_FOUND);
	stand_end(&s);
}

/* A start that failed. */
static void test_nothing(void **state)
{
	struct stand s = oci();

	(void)state;
	/* However long that takes. */
	assert_int_equal(told_within(&s, 400), -1);
	shutdown(s.sock, SHUT_WR);
	assert_int_equal(told(&s), TOLD_DONE);
	stand_end(&s);
}

static void test_wrong_states(void **state)
{
	static const char spaces[(64 << 10) + 2];
	const int two[] = {trapped, trapped}, wrong[] = {other[0]};
	const struct {
		const char *text;
		size_t size;
		const int *fds;
		unsigned n;
		enum perf_news news;
		bool waits; /* for more */
	} rows[] = {
		{STATE, strlen(STATE) - 1, &trapped, 1, PERF_NEWS_HALF, true},
		{"{", 1, &trapped, 1, PERF_NEWS_HALF, true},
		{"{}", 2, &trapped, 1, PERF_NEWS_JSON, false},
		{"x", 1, &trapped, 1, PERF_NEWS_JSON, false},
		{"{\"fds\":[\"pidFd\"]}", 17, &trapped, 1, PERF_NEWS_JSON, false},
		{spaces, sizeof(spaces), &trapped, 1, PERF_NEWS_JSON, false},
		{STATE, strlen(STATE), NULL, 0, PERF_NEWS_FDS, false},
		{STATE, strlen(STATE), two, 2, PERF_NEWS_FDS, false},
		{STATE, strlen(STATE), wrong, 1, PERF_NEWS_FDS, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct stand s = oci();

		packet_send(s.sock, rows[i].text, rows[i].size, rows[i].fds, rows[i].n);
		/* Half of it, whether the peer goes or stays. */
		if (rows[i].waits && i % 2)
			shutdown(s.sock, SHUT_WR);
		dropped_for(&s, rows[i].news);
		stand_end(&s);
	}
}

static void test_two_fds_apart(void **state)
{
	struct stand s = oci();

	(void)state;
	packet_send(s.sock, STATE, 5, &trapped, 1);
	packet_send(s.sock, &STATE[5], 5, &trapped, 1);
	dropped_for(&s, PERF_NEWS_FDS);
	stand_end(&s);
}

static void test_too_large(void **state)
{
	static char text[(64 << 10) + 1];
	struct stand s = oci();

	(void)state;
	memset(text, ' ', sizeof(text));
	text[0] = '{';
	for (size_t at = 0; at < sizeof(text); at += 4096) {
		size_t left = sizeof(text) - at;

		packet_send(s.sock, text + at, left < 4096 ? left : 4096, &trapped, at == 0);
	}
	dropped_for(&s, PERF_NEWS_SIZE);
	stand_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state),
		cmocka_unit_test(test_state_in_pieces),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_wrong_states),
		cmocka_unit_test(test_two_fds_apart),
		cmocka_unit_test(test_too_large),
	};

	if (geteuid() != 0) {
		print_message("not root: skipped\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, wires_begin, NULL);
}
