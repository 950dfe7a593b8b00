/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../policy/lxc-wire.h"

/* As a LXC 5 on x86-64 sends it: perf_event_open of thread 4711, with nine bytes of cookie. */
static const uint8_t sent[] = {0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x12, 0, 0, 0x20, 0x12, 0,
	0,								  /* reserved, two pids */
	80, 0, 24, 0, 64, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0,		  /* sizes, the cookie's */
	0xef, 0xbe, 0xad, 0xde, 1, 0, 0, 0, 0x67, 0x12, 0, 0, 0, 0, 0, 0, /* id, thread, flags */
	0x2a, 1, 0, 0, 0x3e, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0,	  /* nr, arch, ip */
	0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, /* args */
	0xef, 0xbe, 0xad, 0xde, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'c',
	'o', 'n', 't', 'a', 'i', 'n', 'e', 'r'};

static void test_what_is_sent(void **state)
{
	struct lxc_call call;

	(void)state;
	assert_int_equal(sizeof(sent), 136 + 9);
	assert_int_equal(lxc_call_parse(sent, sizeof(sent), &call), 0);
	assert_int_equal(call.monitor_pid, 0x1210);
	assert_int_equal(call.init_pid, 0x1220);
	assert_int_equal(call.cookie_size, 9);
	assert_true(call.notif.id == UINT64_C(0x1deadbeef));
	assert_int_equal(call.notif.pid, 4711);
	assert_int_equal(call.notif.data.nr, 298);
	assert_true(call.notif.data.arch == 0xc000003e);
	assert_true(call.notif.data.args[0] == 0x400000);
	assert_true(call.notif.data.args[3] == UINT64_MAX);
	assert_true(call.notif.data.args[4] == 8);
}

/* A byte of it changed, and what it is then. */
static void test_changed(void **state)
{
	static const struct {
		size_t at;
		uint8_t to;
		int expected;
	} rows[] = {
		{0, 1, -EPROTO},     /* reserved */
		{7, 0x80, -EPROTO},  /* its other end */
		{8, 0, 0},	     /* a monitor: a remark */
		{15, 0x80, -EPROTO}, /* an init below 0 */
		{16, 81, -EPROTO}, {16, 79, -EPROTO}, {17, 1, -EPROTO}, {18, 23, -EPROTO},
		{18, 32, -EPROTO}, {20, 63, -EPROTO}, {20, 72, -EPROTO}, {22, 7, 0}, /* padding */
		{24, 8, -EMSGSIZE},  /* a byte behind the cookie */
		{24, 10, -EMSGSIZE}, /* one is missing */
		{24, 0, -EMSGSIZE},  /* all of it lies behind */
		{25, 4, -EMSGSIZE},  /* 1033 */
		{31, 0x80, -EMSGSIZE} /* more than there is of anything */,
		{43, 0x80, -EPROTO}, /* a thread that is none */
		{48, 0, 0},	     /* another system call: the worker's to see */
		{112, 0, 0},	     /* LXC's own answer */
		{136, 0, 0},	     /* a cookie of any bytes */
	};
	uint8_t bytes[sizeof(sent)];
	struct lxc_call call;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int r;

		memcpy(bytes, sent, sizeof(sent));
		bytes[rows[i].at] = rows[i].to;
		r = lxc_call_parse(bytes, sizeof(bytes), &call);
		if (r != rows[i].expected)
			fail_msg("byte %zu as %u: %s", rows[i].at, rows[i].to, strerror(-r));
	}
}

static void test_pids_of_nobody(void **state)
{
	uint8_t bytes[sizeof(sent)];
	struct lxc_call call = {.monitor_pid = 77};

	(void)state;
	memcpy(bytes, sent, sizeof(sent));
	memset(bytes + 12, 0, 4);
	assert_int_equal(lxc_call_parse(bytes, sizeof(bytes), &call), -EPROTO);
	memcpy(bytes, sent, sizeof(sent));
	memset(bytes + 40, 0, 4);
	assert_int_equal(lxc_call_parse(bytes, sizeof(bytes), &call), -EPROTO);
	assert_int_equal(call.monitor_pid, 77);
}

/* Half of one, wherever it was cut: from memory that ends there. */
static void test_half(void **state)
{
	struct lxc_call call;

	(void)state;
	for (size_t size = 0; size < sizeof(sent); size++) {
		uint8_t *bytes = malloc(size + 1);

		assert_non_null(bytes);
		memcpy(bytes, sent, size);
		assert_int_equal(lxc_call_parse(bytes, size, &call), -EMSGSIZE);
		free(bytes);
	}
}

static void test_cookies(void **state)
{
	static const struct {
		size_t says, has;
		int expected;
	} rows[] = {{0, 0, 0}, {1, 1, 0}, {LXC_COOKIE_MAX, LXC_COOKIE_MAX, 0},
		{LXC_COOKIE_MAX + 1, LXC_COOKIE_MAX + 1, -EMSGSIZE}, {0, 1, -EMSGSIZE},
		{1, 0, -EMSGSIZE}, {SIZE_MAX, 0, -EMSGSIZE}, {SIZE_MAX - 135, 1, -EMSGSIZE}};
	uint8_t bytes[LXC_CALL_MAX + 2] = {0};
	struct lxc_call call;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t says = rows[i].says;

		memcpy(bytes, sent, 136);
		memcpy(bytes + 24, &says, sizeof(says));
		assert_int_equal(lxc_call_parse(bytes, 136 + rows[i].has, &call), rows[i].expected);
	}
}

static void test_answer(void **state)
{
	struct seccomp_notif_resp resp = {.val = 77};
	struct lxc_call call, other;
	uint8_t bytes[137] = {0};

	(void)state;
	assert_int_equal(lxc_call_parse(sent, sizeof(sent), &call), 0);
	other = call;
	lxc_call_answer(&call, 5, 0, 0);
	memcpy(bytes, &call, sizeof(call));
	assert_memory_equal(bytes, sent, 24);
	assert_memory_equal(bytes + 24, (uint8_t[8]){0}, 8);
	assert_memory_equal(bytes + 32, sent + 32, 80 + 8);
	assert_int_equal(lxc_answer_parse(bytes, 137, &other, &resp), -EMSGSIZE);
	assert_int_equal(lxc_answer_parse(bytes, 135, &other, &resp), -EMSGSIZE);
	other.notif.id++;
	assert_int_equal(lxc_answer_parse(bytes, 136, &other, &resp), -EPROTO);
	assert_true(resp.val == 77);
	other.notif.id--;
	assert_int_equal(lxc_answer_parse(bytes, 136, &other, &resp), 0);
	assert_true(resp.val == 5 && resp.error == 0 && resp.flags == 0);
	lxc_call_answer(&call, 0, -ENOSYS, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
	assert_int_equal(lxc_answer_parse(&call, sizeof(call), &other, &resp), 0);
	assert_true(resp.error == -ENOSYS && resp.flags == SECCOMP_USER_NOTIF_FLAG_CONTINUE);
	bytes[16] = 81;
	assert_int_equal(lxc_answer_parse(bytes, 136, &other, &resp), -EPROTO);
	bytes[16] = 80;
	bytes[3] = 1;
	assert_int_equal(lxc_answer_parse(bytes, 136, &other, &resp), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_sent),
		cmocka_unit_test(test_changed),
		cmocka_unit_test(test_pids_of_nobody),
		cmocka_unit_test(test_half),
		cmocka_unit_test(test_cookies),
		cmocka_unit_test(test_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
