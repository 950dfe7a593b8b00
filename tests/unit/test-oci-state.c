/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../policy/oci-state.h"

#define FDS "\"fds\":[\"seccompFd\"]"
#define STATE                                                                                     \
	"{\"ociVersion\":\"1.0.2\"," FDS ",\"pid\":7,\"metadata\":\"a\\n\\u00e9\\\\\",\"state\":" \
	"{\"id\":\"c\",\"status\":\"creating\",\"annotations\":{},\"list\":[1,-2.5e+7,true,null," \
	"[],{\"fds\":[\"other\"]}]}}"

static const struct {
	const char *text;
	int expected;
} rows[] = {
	{STATE, 0},
	{" \r\n\t" STATE "\n", 0},
	{"{" FDS "}", 0},
	{"{ \"fds\" : [ \"seccompFd\" , \"pidFd\" ] }", 0},
	{"{\"f\\u0064s\":[\"\\u0073eccomp\\u0046d\"]}", 0},
	{"{\"a\":0," FDS ",\"b\":-0.1E-2}", 0},
	/* the beginning of one */
	{"", -EAGAIN},
	{"  ", -EAGAIN},
	{"{", -EAGAIN},
	{"{\"fds", -EAGAIN},
	{"{\"fds\\", -EAGAIN},
	{"{\"fds\\u00", -EAGAIN},
	{"{\"fds\":", -EAGAIN},
	{"{\"fds\":[\"seccompFd\"", -EAGAIN},
	{"{" FDS, -EAGAIN},
	{"{" FDS ",", -EAGAIN},
	{"{\"a\":12", -EAGAIN},
	{"{\"a\":-", -EAGAIN},
	{"{\"a\":0", -EAGAIN},
	{"{\"a\":1.", -EAGAIN},
	{"{\"a\":1e", -EAGAIN},
	{"{\"a\":tru", -EAGAIN},
	{"{\"a\":{\"b\":[", -EAGAIN},
	/* other fds */
	{"{}", -ENOENT},
	{"{\"a\":1}", -ENOENT},
	{"{\"fds\":[]}", -ENOENT},
	{"{\"fds\":\"seccompFd\"}", -ENOENT},
	{"{\"fds\":[\"pidFd\",\"seccompFd\"]}", -ENOENT},
	{"{\"fds\":[\"seccompFd2\"]}", -ENOENT},
	{"{\"fds\":[\"seccompF\"]}", -ENOENT},
	{"{\"fds\":[[\"seccompFd\"]]}", -ENOENT},
	{"{\"fds\":null}", -ENOENT},
	{"{\"FDS\":[\"seccompFd\"]}", -ENOENT},
	{"{\"fds\\u0000\":[\"seccompFd\"]}", -ENOENT},
	{"{\"state\":{" FDS "}}", -ENOENT},
	{"{\"\\u0066d\":[\"seccompFd\"]}", -ENOENT},
	/* which of them? */
	{"{" FDS "," FDS "}", -ENOTUNIQ},
	{"{" FDS ",\"\\u0066\\u0064\\u0073\":[]}", -ENOTUNIQ},
	/* no JSON, no object, more than one */
	{"x", -EBADMSG},
	{"\xff", -EBADMSG},
	{"[]", -EBADMSG},
	{"[" FDS "]", -EBADMSG},
	{"\"seccompFd\"", -EBADMSG},
	{"7", -EBADMSG},
	{STATE "x", -EBADMSG},
	{STATE STATE, -EBADMSG},
	{"{}x", -EBADMSG},
	{"{} {}", -EBADMSG},
	{"{,}", -EBADMSG},
	{"{" FDS ",}", -EBADMSG},
	{"{" FDS ";}", -EBADMSG},
	{"{" FDS "]", -EBADMSG},
	{"{fds:[\"seccompFd\"]}", -EBADMSG},
	{"{'fds':[\"seccompFd\"]}", -EBADMSG},
	{"{\"fds\" [\"seccompFd\"]}", -EBADMSG},
	{"{\"fds\":[\"seccompFd\",]}", -EBADMSG},
	{"{\"fds\":[\"seccompFd\"}", -EBADMSG},
	{"{\"a\":[1 2]," FDS "}", -EBADMSG},
	{"{\"a\":}", -EBADMSG},
	{"{\"a\":01}", -EBADMSG},
	{"{\"a\":+1}", -EBADMSG},
	{"{\"a\":.5}", -EBADMSG},
	{"{\"a\":1.}", -EBADMSG},
	{"{\"a\":-}", -EBADMSG},
	{"{\"a\":1e}", -EBADMSG},
	{"{\"a\":1e+-1}", -EBADMSG},
	{"{\"a\":truE}", -EBADMSG},
	{"{\"a\":nul}", -EBADMSG},
	{"{\"a\":NaN}", -EBADMSG},
	{"{\"a\":\"\\x\"}", -EBADMSG},
	{"{\"a\":\"\\u12g4\"}", -EBADMSG},
	{"{\"a\":\"b\nc\"}", -EBADMSG},
	{"{\"a\":\"b\tc\"}", -EBADMSG},
	{"{/**/" FDS "}", -EBADMSG},
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int r = oci_state_check(rows[i].text, strlen(rows[i].text));

		if (r != rows[i].expected)
			fail_msg("%s: %s", rows[i].text, strerror(-r));
	}
}

/* Half of one is half of one, wherever it was cut; and nothing behind it is read. */
static void test_each_beginning(void **state)
{
	(void)state;
	for (size_t size = 0; size < sizeof(STATE) - 1; size++) {
		char *part = malloc(size + 1);

		assert_non_null(part);
		memcpy(part, STATE, size);
		assert_int_equal(oci_state_check(part, size), -EAGAIN);
		free(part);
	}
}

static void test_nul_is_no_blank(void **state)
{
	(void)state;
	assert_int_equal(oci_state_check(STATE, sizeof(STATE)), -EBADMSG);
	assert_int_equal(oci_state_check("{\0}", 3), -EBADMSG);
	assert_int_equal(oci_state_check("{\"\0\":1}", 7), -EBADMSG);
}

/* "{FDS,"a":" with `depth` arrays around one number, of which the object is the first. */
static int nested(unsigned depth, char open, char close)
{
	static char text[OCI_STATE_MAX];
	int n = snprintf(text, sizeof(text), "{" FDS ",\"a\":");
	size_t size = (size_t)n;

	for (unsigned i = 1; i < depth; i++) {
		text[size++] = open;
		if (open == '{')
			size += (size_t)snprintf(text + size, 8, "\"k\":");
	}
	text[size++] = '1';
	for (unsigned i = 1; i < depth; i++)
		text[size++] = close;
	text[size++] = '}';
	return oci_state_check(text, size);
}

static void test_depth(void **state)
{
	(void)state;
	assert_int_equal(nested(OCI_STATE_DEPTH_MAX, '[', ']'), 0);
	assert_int_equal(nested(OCI_STATE_DEPTH_MAX, '{', '}'), 0);
	assert_int_equal(nested(OCI_STATE_DEPTH_MAX + 1, '[', ']'), -E2BIG);
	assert_int_equal(nested(OCI_STATE_DEPTH_MAX + 1, '{', '}'), -E2BIG);
	assert_int_equal(nested(1000, '[', ']'), -E2BIG);
	assert_int_equal(nested(1000, '{', '}'), -E2BIG);
}

static void test_size(void **state)
{
	static char text[OCI_STATE_MAX + 1];

	(void)state;
	memset(text, ' ', sizeof(text));
	memcpy(text, STATE, sizeof(STATE) - 1);
	assert_int_equal(oci_state_check(text, OCI_STATE_MAX), 0);
	assert_int_equal(oci_state_check(text, OCI_STATE_MAX + 1), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_each_beginning),
		cmocka_unit_test(test_nul_is_no_blank),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
