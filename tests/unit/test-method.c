/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rows of methods.def: every argument has a field, every output an encoder, and XML is well
 * made. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../dbus/codec.h"
#include "../../dbus/introspect.h"

/* A message needs a connection to belong to, in whatever state; none is ever sent. */
static sd_bus_message *message_new(void)
{
	sd_bus *bus = NULL;
	sd_bus_message *m = NULL;
	sd_id128_t id;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_true(sd_id128_randomize(&id) >= 0);
	assert_true(sd_bus_new(&bus) >= 0);
	assert_true(sd_bus_set_fd(bus, pair[0], pair[0]) >= 0);
	assert_true(sd_bus_set_server(bus, 1, id) >= 0);
	assert_true(sd_bus_start(bus) >= 0);
	assert_true(sd_bus_message_new(bus, &m, SD_BUS_MESSAGE_METHOD_CALL) >= 0);
	sd_bus_unref(bus);
	close(pair[1]);
	return m;
}

static void test_every_argument_has_a_field(void **state)
{
	(void)state;
	for (unsigned i = 0; i < METHOD_MAX; i++) {
		const struct method *method = &methods[i];
		sd_bus_message *m = message_new();
		struct request request;

		for (const char *type = method->in; *type; type++)
			assert_true((*type == 's' ? sd_bus_message_append(m, "s", "text")
						  : sd_bus_message_append(m, "i", 5)) >= 0);
		assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
		assert_int_equal(decode_request(m, method, &request), REASON_OK);
		assert_ptr_equal(request.method, method);
		if (method->in[0] == 's')
			assert_string_equal(request.controller, "text");
		sd_bus_message_unref(m);
	}
}

static void test_wrong_signature(void **state)
{
	sd_bus_message *m = message_new();
	struct request request = {.pid = 77};

	(void)state;
	assert_true(sd_bus_message_append(m, "si", "memory", 1) >= 0);
	assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
	assert_int_equal(decode_request(m, &methods[METHOD_Create], &request), REASON_SIGNATURE);
	assert_int_equal(request.pid, 77);
	sd_bus_message_unref(m);
}

static void test_every_output_is_encoded(void **state)
{
	char *names[] = {(char *)"a", (char *)"\xff", (char *)"b", NULL};
	struct reply_key keys[] = {{(char *)"k", 1, 2, 3}};
	int32_t pids[] = {4, 5};
	struct reply reply = {.number = 1,
		.text = (char *)"t",
		.pids = pids,
		.n_pids = 2,
		.names = names,
		.keys = keys,
		.n_keys = 1};

	(void)state;
	for (unsigned i = 0; i < METHOD_MAX; i++) {
		sd_bus_message *m = message_new();

		assert_true(encode_reply(m, &methods[i], &reply) >= 0);
		assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
		assert_string_equal(sd_bus_message_get_signature(m, 1), methods[i].out);
		sd_bus_message_unref(m);
	}
}

static void test_text_must_be_utf8(void **state)
{
	static const struct {
		const char *text;
		bool valid;
	} rows[] = {
		{"plain", true},
		{"", true},
		{"\xc3\xa9", true},
		{"\xe2\x82\xac", true},
		{"\xf0\x9f\x98\x80", true},
		{"\x80", false},
		{"\xc0\x80", false},
		{"\xc3", false},
		{"\xe0\x80\x80", false},
		{"\xed\xa0\x80", false},
		{"\xf4\x90\x80\x80", false},
		{"\xf5\x80\x80\x80", false},
		{"\xff", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct reply reply = {.text = (char *)rows[i].text};
		sd_bus_message *m = message_new();
		int r = encode_reply(m, &methods[METHOD_GetValue], &reply);

		assert_true(rows[i].valid ? r >= 0 : r == -EILSEQ);
		sd_bus_message_unref(m);
	}
}

static void test_objects(void **state)
{
	struct request request = {.method = &methods[METHOD_GetValue],
		.controller = "memory",
		.cgroup = "a/b",
		.key = "memory.stat",
		.pid = 3};
	char text[64], small[8];

	(void)state;
	request_object(&request, text, sizeof(text));
	assert_string_equal(text, "memory:a/b memory.stat");
	request_object(&request, small, sizeof(small));
	assert_string_equal(small, "memory:");
	request.method = &methods[METHOD_MovePid];
	request.key = NULL;
	request_object(&request, text, sizeof(text));
	assert_string_equal(text, "memory:a/b pid 3");
	request = (struct request){.method = &methods[METHOD_Ping]};
	request_object(&request, text, sizeof(text));
	assert_string_equal(text, "");
}

static void test_introspection(void **state)
{
	char *text = introspect_path("/");

	(void)state;
	assert_non_null(strstr(text, "<node name=\"org\"/>"));
	free(text);
	text = introspect_path("/org");
	assert_non_null(strstr(text, "<node name=\"linuxcontainers\"/>"));
	free(text);
	text = introspect_path(CGM_PATH);
	assert_non_null(strstr(text, CGM_INTERFACE));
	assert_non_null(strstr(text, "<arg name=\"output\" type=\"a(suuu)\" direction=\"out\"/>"));
	free(text);
	assert_null(introspect_path("/or"));
	assert_null(introspect_path("/org/linuxcontainers/cgmanager/x"));
	assert_int_equal(errno, ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_argument_has_a_field),
		cmocka_unit_test(test_wrong_signature),
		cmocka_unit_test(test_every_output_is_encoded),
		cmocka_unit_test(test_text_must_be_utf8),
		cmocka_unit_test(test_objects),
		cmocka_unit_test(test_introspection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
