/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rows of methods.def: every argument has a field, every output an encoder, and XML is well
 * made. */
#include <errno.h>
#include <fcntl.h>
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
#include "../../dbus/errors.h"
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

static int append_argument(sd_bus_message *m, const char *type)
{
	if (strncmp(type, "as", 2) == 0)
		return sd_bus_message_append(m, "as", 2, "one", "two");
	if (strncmp(type, "a{sv}", 5) == 0)
		return sd_bus_message_append(m, "a{sv}", 0);
	if (strncmp(type, "ay", 2) == 0)
		return sd_bus_message_append_array(m, 'y', "bytes", 5);
	switch (*type) {
	case 's':
		return sd_bus_message_append(m, "s", "text");
	case 't':
		return sd_bus_message_append(m, "t", UINT64_C(1) << 40);
	case 'h':
		return sd_bus_message_append(m, "h", STDERR_FILENO);
	default:
		return sd_bus_message_append(m, "i", 5);
	}
}

static void test_every_argument_has_a_field(void **state)
{
	(void)state;
	for (unsigned i = 0; i < METHOD_MAX; i++) {
		const struct method *method = &methods[i];
		sd_bus_message *m = message_new();
		char detail[DECODE_DETAIL_MAX];
		struct request request;

		for (const char *type = method->in; *type; type += type_length(type))
			assert_true(append_argument(m, type) >= 0);
		assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
		assert_int_equal(decode_request(m, method, &request, detail), REASON_OK);
		assert_ptr_equal(request.method, method);
		if (method->in[0] == 's')
			assert_string_equal(method->flags & METHOD_NATIVE
						    ? request.cgroup ?: request.name
						    : request.controller,
				"text");
		request_done(&request);
		sd_bus_message_unref(m);
	}
}

static void test_event(void **state)
{
	sd_bus_message *m = message_new();
	char detail[DECODE_DETAIL_MAX];
	struct request request;

	(void)state;
	assert_true(sd_bus_message_append_array(m, 'y', "\0\1\2", 3) >= 0);
	assert_true(sd_bus_message_append(m, "iiht", -1, 2, STDERR_FILENO, UINT64_MAX - 1) >= 0);
	assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
	assert_int_equal(
		decode_request(m, &methods[METHOD_OpenPerfEvent], &request, detail), REASON_OK);
	assert_int_equal(request.attr.size, 3);
	assert_memory_equal(request.attr.data, "\0\1\2", 3);
	assert_int_equal(request.pid, -1);
	assert_int_equal(request.cpu, 2);
	assert_true(request.flags == UINT64_MAX - 1);
	request_done(&request);
	sd_bus_message_unref(m);
}

static enum reason decode_revoke(const char *types, int value, struct request *ret, char *detail)
{
	sd_bus_message *m = message_new();
	enum reason reason;

	assert_true(sd_bus_message_append(m, "sas", "a", 1, "cpu") >= 0);
	assert_true(sd_bus_message_append(m, "a{sv}", 1, "kill", types, value) >= 0);
	assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
	reason = decode_request(m, &methods[METHOD_RevokePerf], ret, detail);
	if (reason == REASON_OK)
		assert_string_equal(ret->items[0], "cpu");
	sd_bus_message_unref(m);
	return reason;
}

static void test_boolean_option(void **state)
{
	char detail[DECODE_DETAIL_MAX];
	struct request request;

	(void)state;
	for (int value = 0; value < 2; value++) {
		assert_int_equal(decode_revoke("b", value, &request, detail), REASON_OK);
		assert_int_equal(request.options.given, 1U << OPTION_RevokePerf_kill);
		assert_int_equal(request.options.kill, value);
		request_done(&request);
	}
	assert_int_equal(decode_revoke("u", 1, &request, detail), REASON_OPTION);
	assert_string_equal(detail, "'kill' must be a boolean");
}

static enum reason decode_items(unsigned n, struct request *ret)
{
	sd_bus_message *m = message_new();
	char detail[DECODE_DETAIL_MAX];
	enum reason reason;

	assert_true(sd_bus_message_append(m, "s", "a") >= 0);
	assert_true(sd_bus_message_open_container(m, 'a', "s") >= 0);
	for (unsigned i = 0; i < n; i++)
		assert_true(sd_bus_message_append(m, "s", "cpu") >= 0);
	assert_true(sd_bus_message_close_container(m) >= 0);
	assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
	reason = decode_request(m, &methods[METHOD_GrantPerf], ret, detail);
	sd_bus_message_unref(m);
	return reason;
}

static void test_items(void **state)
{
	struct request request = {.pid = 77};

	(void)state;
	assert_int_equal(decode_items(PERF_ITEMS_MAX + 1, &request), REASON_PERF_MANY);
	assert_int_equal(request.pid, 77);
	assert_int_equal(decode_items(PERF_ITEMS_MAX, &request), REASON_OK);
	assert_null(request.items[PERF_ITEMS_MAX]);
	request_done(&request);
	assert_null(request.items);
}

/* The answer has a copy; the reply's own is closed with the reply. */
static void test_fd(void **state)
{
	struct reply reply = {.has_fd = true, .fd = dup(STDERR_FILENO)};
	sd_bus_message *m = message_new();
	int fd = reply.fd, copy;

	(void)state;
	assert_true(fd >= 0);
	assert_true(encode_values(m, "h", &reply) >= 0);
	assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
	assert_true(sd_bus_message_read(m, "h", &copy) > 0);
	assert_int_not_equal(copy, fd);
	reply_done(&reply);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_true(fcntl(copy, F_GETFD) >= 0);
	sd_bus_message_unref(m);
	m = message_new();
	assert_int_equal(encode_values(m, "h", &reply), -EINVAL);
	sd_bus_message_unref(m);
}

static void test_wrong_signature(void **state)
{
	sd_bus_message *m = message_new();
	struct request request = {.pid = 77};
	char detail[DECODE_DETAIL_MAX];

	(void)state;
	assert_true(sd_bus_message_append(m, "si", "memory", 1) >= 0);
	assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
	assert_int_equal(
		decode_request(m, &methods[METHOD_Create], &request, detail), REASON_SIGNATURE);
	assert_int_equal(request.pid, 77);
	sd_bus_message_unref(m);
}

static enum reason decode_rules(size_t n, struct request *ret)
{
	sd_bus_message *m = message_new();
	char detail[DECODE_DETAIL_MAX];
	enum reason reason;

	assert_true(sd_bus_message_append(m, "s", "a") >= 0);
	assert_true(sd_bus_message_open_container(m, 'a', "s") >= 0);
	for (size_t i = 0; i < n; i++)
		assert_true(sd_bus_message_append(m, "s", i == n - 1 ? "last" : "rule") >= 0);
	assert_true(sd_bus_message_close_container(m) >= 0);
	assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
	reason = decode_request(m, &methods[METHOD_SetDevices], ret, detail);
	if (reason == REASON_OK && n > 0)
		assert_string_equal(ret->rules[n - 1], "last");
	sd_bus_message_unref(m);
	return reason;
}

static void test_rules(void **state)
{
	static const size_t numbers[] = {0, 1, 15, 16, 17, DEVICE_RULES_MAX};
	struct request request = {.pid = 77}, taken;

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		assert_int_equal(decode_rules(numbers[i], &request), REASON_OK);
		assert_null(request.rules[numbers[i]]);
		taken = request_take(&request);
		assert_null(request.rules);
		assert_non_null(taken.rules);
		request_done(&taken);
		assert_null(taken.rules);
	}
	request = (struct request){.pid = 77};
	assert_int_equal(decode_rules(DEVICE_RULES_MAX + 1, &request), REASON_DEVICE_MANY);
	assert_int_equal(request.pid, 77);
	assert_null(request.rules);
}

#define BIT(name) (1U << OPTION_AddDevice_##name)

static void test_options(void **state)
{
	static const struct {
		const char *keys[3], *types[3];
		unsigned given;	    /* 0: refused */
		const char *detail; /* a part of it */
	} rows[] = {
		{{"uid"}, {"u"}, BIT(uid), ""},
		{{"path", "mode"}, {"s", "u"}, BIT(path) | BIT(mode), ""},
		{{"gid", "uid", "mode"}, {"u", "u", "u"}, BIT(gid) | BIT(uid) | BIT(mode), ""},
		{{"owner"}, {"u"}, 0, "'owner' is none of them"},
		{{""}, {"u"}, 0, "'' is none of them"},
		{{"uid"}, {"i"}, 0, "'uid' must be a 'u'"},
		{{"uid"}, {"s"}, 0, "'uid' must be a 'u'"},
		{{"path"}, {"u"}, 0, "'path' must be a string"},
		{{"path"}, {"o"}, 0, "'path' must be a string"},
		{{"mode", "gid", "mode"}, {"u", "u", "u"}, 0, "'mode' is there twice"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		sd_bus_message *m = message_new();
		struct request request = {.pid = 77};
		char detail[DECODE_DETAIL_MAX];
		enum reason reason;

		assert_true(sd_bus_message_append(m, "sss", "a", "b", "rw") >= 0);
		assert_true(sd_bus_message_open_container(m, 'a', "{sv}") >= 0);
		for (unsigned n = 0; n < 3 && rows[i].keys[n]; n++) {
			const char *key = rows[i].keys[n], *type = rows[i].types[n];

			assert_true(
				(*type == 's' || *type == 'o'
						? sd_bus_message_append(m, "{sv}", key, type, "/x")
						: sd_bus_message_append(
							  m, "{sv}", key, type, 40 + n)) >= 0);
		}
		assert_true(sd_bus_message_close_container(m) >= 0);
		assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
		reason = decode_request(m, &methods[METHOD_AddDevice], &request, detail);
		assert_int_equal(reason, rows[i].given ? REASON_OK : REASON_OPTION);
		assert_non_null(strstr(detail, rows[i].detail));
		assert_int_equal(request.options.given, rows[i].given);
		if (rows[i].given & BIT(path))
			assert_string_equal(request.options.path, "/x");
		if (rows[i].given & BIT(gid)) {
			assert_int_equal(request.options.gid, 40);
			assert_int_equal(request.options.uid, 41);
			assert_int_equal(request.options.mode, 42);
		}
		sd_bus_message_unref(m);
	}
}

/* A member of each kind; what is left out goes out as "". */
static struct reply full_reply(void)
{
	static char *names[] = {(char *)"a", (char *)"\xff", (char *)"b", NULL};
	static struct reply_key keys[] = {{(char *)"k", 1, 2, 3}};
	static struct reply_pair pairs[] = {{(char *)"memory", (char *)"/x\xff"}};
	static struct reply_triple triples[] = {
		{{(char *)"allow a", (char *)"\xc3", NULL}}, {{NULL, NULL, (char *)"cgmd"}}};
	static struct reply_device devices[] = {
		{'c', 10, 229, (char *)"/dev/fuse"}, {'b', 8, UINT32_MAX, NULL}};
	static struct reply_gpu gpus[] = {{.address = (char *)"0000:03:00.0", .nodes = names}, {0}};
	static int32_t pids[] = {4, 5};

	return (struct reply){.number = 1,
		.text = (char *)"t",
		.pids = pids,
		.n_pids = 2,
		.names = names,
		.keys = keys,
		.n_keys = 1,
		.allowed = true,
		.who = (char *)"/a\xff",
		.pairs = pairs,
		.n_pairs = 1,
		.triples = triples,
		.n_triples = 2,
		.devices = devices,
		.n_devices = 2,
		.gpus = gpus,
		.n_gpus = 2,
		.has_fd = true,
		.fd = STDERR_FILENO};
}

static sd_bus_message *encoded(const char *signature)
{
	struct reply reply = full_reply();
	sd_bus_message *m = message_new();

	assert_true(encode_values(m, signature, &reply) >= 0);
	assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
	assert_string_equal(sd_bus_message_get_signature(m, 1), signature);
	return m;
}

static void test_every_output_is_encoded(void **state)
{
	(void)state;
	for (unsigned i = 0; i < METHOD_MAX; i++)
		sd_bus_message_unref(encoded(methods[i].out));
	for (unsigned i = 0; i < PROPERTY_MAX; i++)
		sd_bus_message_unref(encoded(properties[i].type));
}

static void assert_texts(sd_bus_message *m, const char *const *texts)
{
	const char *text;

	for (; *texts; texts++) {
		assert_true(sd_bus_message_read(m, "s", &text) > 0);
		assert_string_equal(text, *texts);
	}
}

static void test_structs(void **state)
{
	sd_bus_message *m = encoded("bss");
	uint32_t major, minor;
	const char *a, *b;
	int allowed;

	(void)state;
	assert_true(sd_bus_message_read(m, "bss", &allowed, &a, &b) > 0);
	assert_true(allowed);
	assert_string_equal(a, "/a?");
	assert_string_equal(b, "");
	sd_bus_message_unref(m);

	m = encoded("a(sss)");
	assert_true(sd_bus_message_enter_container(m, 'a', "(sss)") > 0);
	assert_true(sd_bus_message_enter_container(m, 'r', "sss") > 0);
	assert_texts(m, (const char *const[]){"allow a", "?", "", NULL});
	assert_true(sd_bus_message_exit_container(m) >= 0);
	assert_true(sd_bus_message_enter_container(m, 'r', "sss") > 0);
	assert_texts(m, (const char *const[]){"", "", "cgmd", NULL});
	sd_bus_message_unref(m);

	m = encoded("a(suus)");
	assert_true(sd_bus_message_enter_container(m, 'a', "(suus)") > 0);
	assert_true(sd_bus_message_read(m, "(suus)", &a, &major, &minor, &b) > 0);
	assert_string_equal(a, "c");
	assert_int_equal(major, 10);
	assert_int_equal(minor, 229);
	assert_string_equal(b, "/dev/fuse");
	assert_true(sd_bus_message_read(m, "(suus)", &a, &major, &minor, &b) > 0);
	assert_string_equal(a, "b");
	assert_int_equal(minor, UINT32_MAX);
	assert_string_equal(b, "");
	sd_bus_message_unref(m);
}

static void test_reply_size(void **state)
{
	struct reply reply = full_reply(), less = full_reply();
	const size_t whole = reply_size(&reply);

	(void)state;
	less.n_triples = less.n_devices = less.n_gpus = less.n_pairs = 0;
	assert_true(reply_size(&less) < whole);
	less = full_reply();
	less.n_gpus = 1;
	assert_true(reply_size(&less) == whole);
	less.n_gpus = 0;
	assert_true(reply_size(&less) < whole);
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
		int r = encode_values(m, "s", &reply);

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
	request = (struct request){.method = &methods[METHOD_AllowDevices],
		.cgroup = "a/b",
		.device = "gpu:render",
		.access = "rw"};
	request_object(&request, text, sizeof(text));
	assert_string_equal(text, "a/b gpu:render rw");
	request_object(&request, small, sizeof(small));
	assert_string_equal(small, "a/b gpu");
	request.cgroup = "";
	request_object(&request, text, sizeof(text));
	assert_string_equal(text, "gpu:render rw");
	request = (struct request){.method = &methods[METHOD_ResolveDevice], .name = "fuse"};
	request_object(&request, text, sizeof(text));
	assert_string_equal(text, "fuse");
	request = (struct request){.method = &methods[METHOD_ListGpus]};
	request_object(&request, text, sizeof(text));
	assert_string_equal(text, "");
}

static void test_types(void **state)
{
	static const struct {
		const char *signature;
		size_t length;
	} rows[] = {{"", 0}, {"s", 1}, {"ss", 1}, {"as", 2}, {"asas", 2}, {"aas", 3}, {"a{sv}s", 5},
		{"(suus)i", 6}, {"a(sssssas)a", 10}, {"a(s(ii)a{s(as)})u", 16}, {"a", 1},
		{"(s", 2}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(type_length(rows[i].signature), rows[i].length);
}

/* Each interface finds its own alone, and natives have no twins. */
static void test_finding(void **state)
{
	const struct interface *old = &interfaces[INTERFACE_CGMANAGER],
			       *native = &interfaces[INTERFACE_NATIVE];

	(void)state;
	assert_ptr_equal(method_find(old, "Create"), &methods[METHOD_Create]);
	assert_non_null(method_find(old, "CreateScm"));
	assert_null(method_find(native, "Create"));
	assert_null(method_find(native, "CreateScm"));
	assert_ptr_equal(method_find(native, "SetDevices"), &methods[METHOD_SetDevices]);
	assert_null(method_find(old, "SetDevices"));
	assert_null(method_find(native, "SetDevicesScm"));
	assert_null(method_find(native, "SetDevice"));
	for (unsigned i = 0; i < METHOD_MAX; i++)
		assert_true(method_interface(&methods[i]) == old || !method_twin(i));
}

/* What sd_bus_call() makes of a name, and not EIO as of any other. */
static void test_errors(void **state)
{
	static const int errnos[] = {
#define ERROR(kind, name, err) [KIND_##kind] = err,
#include "../../dbus/errors.def"
#undef ERROR
	};

	(void)state;
	assert_int_equal(errors_register(), 0);
	assert_int_equal(errors_register(), 0);
	for (enum reason_kind kind = KIND_OK + 1; kind <= KIND_FAILED; kind++) {
		sd_bus_error error = SD_BUS_ERROR_NULL;

		assert_int_equal(
			sd_bus_error_set_const(&error, error_name(kind), ""), -errnos[kind]);
		assert_int_equal(sd_bus_error_get_errno(&error), errnos[kind]);
		assert_true(sd_bus_interface_name_is_valid(error_name(kind)) > 0);
		for (enum reason_kind other = KIND_OK + 1; other < kind; other++)
			assert_string_not_equal(error_name(other), error_name(kind));
	}
	assert_string_equal(error_name(KIND_ACCESS_DENIED), "org.cgmd1.Error.AccessDenied");
	for (int r = REASON_OK + 1; r < REASON_MAX; r++)
		assert_true(strlen(error_name(reason_row((enum reason)r)->kind)) > 0);
}

static unsigned count(const char *text, const char *part)
{
	unsigned n = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		n++;
	return n;
}

static void test_introspection(void **state)
{
	char *text = introspect_path("/");

	(void)state;
	assert_int_equal(count(text, "<node name="), 1);
	assert_non_null(strstr(text, "<node name=\"org\"/>"));
	free(text);
	text = introspect_path("/org");
	assert_int_equal(count(text, "<node name="), 2);
	assert_non_null(strstr(text, "<node name=\"linuxcontainers\"/>"));
	assert_non_null(strstr(text, "<node name=\"cgmd1\"/>"));
	free(text);
	text = introspect_path(CGM_PATH);
	assert_non_null(strstr(text, CGM_INTERFACE));
	assert_non_null(strstr(text, "<arg name=\"output\" type=\"a(suuu)\" direction=\"out\"/>"));
	assert_null(strstr(text, NATIVE_INTERFACE));
	assert_null(strstr(text, "SetDevices"));
	free(text);
	text = introspect_path(NATIVE_PATH);
	assert_non_null(strstr(text, NATIVE_INTERFACE));
	assert_non_null(strstr(text, "<arg name=\"rules\" type=\"as\" direction=\"in\"/>"));
	assert_non_null(strstr(text, "<arg name=\"gpus\" type=\"a(sssssas)\" direction=\"out\"/>"));
	assert_non_null(strstr(text, "<arg name=\"why\" type=\"s\" direction=\"out\"/>"));
	assert_non_null(strstr(text, "<annotation name=\"org.cgmd1.Option.mode\" value=\"u\"/>"));
	assert_non_null(strstr(text, "<property name=\"Scope\" type=\"a{ss}\" access=\"read\">"));
	assert_null(strstr(text, "Scm"));
	free(text);
	assert_null(introspect_path("/or"));
	assert_null(introspect_path("/org/linuxcontainers/cgmanager/x"));
	assert_null(introspect_path("/org/cgmd"));
	assert_int_equal(errno, ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_argument_has_a_field),
		cmocka_unit_test(test_event),
		cmocka_unit_test(test_boolean_option),
		cmocka_unit_test(test_items),
		cmocka_unit_test(test_fd),
		cmocka_unit_test(test_wrong_signature),
		cmocka_unit_test(test_every_output_is_encoded),
		cmocka_unit_test(test_text_must_be_utf8),
		cmocka_unit_test(test_objects),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_structs),
		cmocka_unit_test(test_reply_size),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_finding),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_introspection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
