/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Answers about devices: which cgroup is the one that was named, columns, and JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../client/device.h"
#include "../../client/json.h"
#include "../../client/table.h"

static json_t *parse(const char *text)
{
	json_t *json = json_loads(text, 0, NULL);

	assert_non_null(json);
	return json;
}

static void test_runtime_sits_on(void **state)
{
	static const struct {
		const char *whose, *cgroup, *named, *own, *other;
		bool sits;
	} rows[] = {
		{"runc", "/c1", "/c1", "/", "/", true},
		{"runc", "/c1", "/c1/", "/", "/", true},
		{"runc", "/c1", "/c2", "/", "/", false},
		{"runc", "/c1", "/c1/x", "/", "/", false},
		{"runc", "/c1/x", "/c1", "/", "/", false},
		{"runc", "/c11", "/c1", "/", "/", false},
		{"runc", "/c1", "c1", "/", "/", true},
		{"runc", "/a/c1", "c1", "/a", "/", true},
		{"runc", "/a/c1", "c1", "/", "/a/", true},
		{"runc", "/a/c1", "c1", "/b", "/", false},
		{"runc", "/ac1", "c1", "/a", "/b", false},
		{"runc", "/a", "", "/a", "/b", true},
		{"runc", "/", "", "/", "/b", true},
		{"runc", "/", "/", "/a", "/b", true},
		{"runc", "/a", "", "/", "/b", false},
		{"runc", "", "", "/", "/", false},
		{"runc", "/c1/c1", "c1", "/c1", "/c1", true},
		{"runc", "/c1", "c1", "/c1", "/c1", false},
		{"unknown program x", "/c1", "/c1", "/", "/", true},
		{"", "/c1", "/c1", "/", "/", true},
		{"cgmd", "/c1", "/c1", "/", "/", false},
		{"cgmd v1", "/c1", "/c1", "/", "/", false},
		{"v1", "/c1", "/c1", "/", "/", false},
		{"sd_devices", "/c1", "/c1", "/", "/", false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *rules = json_pack("[{s:s, s:s, s:s}, {s:s, s:s, s:s}]", "rule",
			"default allow", "cgroup", rows[i].named, "whose", "cgmd", "rule",
			"default deny", "cgroup", rows[i].cgroup, "whose", rows[i].whose);
		json_t *scope =
			json_pack("{s:s, s:s}", "unified", rows[i].own, "devices", rows[i].other);

		assert_int_equal(device_runtime_sits_on(rules, rows[i].named, scope), rows[i].sits);
		json_decref(rules);
		json_decref(scope);
	}
}

static void test_verdicts(void **state)
{
	static const struct {
		bool allowed;
		const char *why;
		enum device_answer verdict;
	} rows[] = {
		{true, "allowed", ANSWER_ALLOWED},
		{false, "denied: by what is unknown", ANSWER_DENIED},
		{false, "unknown: it uses maps", ANSWER_UNKNOWN},
		/* a doubt is no consent */
		{false, "allowed", ANSWER_DENIED},
		{false, "", ANSWER_DENIED},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *answer =
			json_pack("{s:b, s:s}", "allowed", rows[i].allowed, "why", rows[i].why);
		enum device_answer verdict;

		assert_int_equal(device_verdict(answer, &verdict), 0);
		assert_int_equal(verdict, rows[i].verdict);
		assert_null(json_object_get(answer, "allowed"));
		assert_non_null(json_object_get(answer, "verdict"));
		json_decref(answer);
	}
}

static char *table_text(const char *rows, enum escape escape)
{
	static const char *const names[] = {"a", "long", "b", NULL};
	json_t *json = parse(rows);
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	assert_int_equal(table_print(out, json, names, escape), 0);
	fclose(out);
	json_decref(json);
	return text;
}

static void test_tables(void **state)
{
	static const struct {
		enum escape escape;
		const char *rows, *text;
	} rows[] = {
		{ESCAPE_NONE, "[]", ""},
		{ESCAPE_NONE, "[{\"a\": \"x\", \"long\": 7, \"b\": null}]",
			"A  LONG  B\nx  7     -\n"},
		{ESCAPE_NONE, "[{\"a\": \"wider\", \"long\": \"\", \"b\": []}, {}]",
			"A      LONG  B\nwider        -\n-      -     -\n"},
		{ESCAPE_NONE, "[{\"a\": \"\xc3\xa9\", \"b\": [\"p\", \"q\"]}]",
			"A  LONG  B\n\xc3\xa9  -     p q\n"},
		{ESCAPE_ALL, "[{\"a\": \"\\u001b\", \"b\": \"\\n\"}]",
			"A     LONG  B\n\\x1b  -     \\x0a\n"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = table_text(rows[i].rows, rows[i].escape);

		assert_string_equal(text, rows[i].text);
		free(text);
	}
}

/* Control characters reach no terminal, nor does what only looks harmless as UTF-8. */
static void test_json_on_terminals(void **state)
{
	json_t *json = json_string("\xc2\x9b\x7f\033\n");

	for (int terminal = 0; terminal < 2; terminal++) {
		char *text = NULL;
		size_t size;
		FILE *out = open_memstream(&text, &size);

		assert_non_null(out);
		assert_int_equal(json_print(out, json, terminal), 0);
		fclose(out);
		assert_null(strchr(text, '\033'));
		assert_int_equal(!strchr(text, '\xc2'), terminal);
		assert_int_equal(!strchr(text, '\x7f'), terminal);
		assert_string_equal(text + strlen(text) - 4, "\\n\"\n");
		free(text);
	}
	json_decref(json);
}

static sd_bus_message *message(sd_bus **bus, int *peer)
{
	sd_bus_message *m;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	*peer = fds[1];
	assert_true(sd_bus_new(bus) >= 0);
	assert_true(sd_bus_set_fd(*bus, fds[0], fds[0]) >= 0);
	assert_true(sd_bus_start(*bus) >= 0);
	assert_true(sd_bus_message_new_method_call(*bus, &m, NULL, "/a", "b.c", "D") >= 0);
	return m;
}

/* Of the kinds that the wire has: what is null, and what is not. */
static void test_json_values(void **state)
{
	json_t *json = NULL,
	       *wanted = parse("[{\"name\": null, \"uid\": null, \"gid\": 0, \"mode\": "
			       "4294967294}]");
	sd_bus *bus = NULL;
	int peer;
	sd_bus_message *m = message(&bus, &peer);

	assert_true(sd_bus_message_append(m, "a(suuu)", 1, "", UINT32_MAX, 0, UINT32_MAX - 1) >= 0);
	assert_true(sd_bus_message_append(m, "as", 1, "") >= 0);
	assert_true(sd_bus_message_append(m, "a{ss}", 2, "k", "v", "l", "") >= 0);
	assert_true(sd_bus_message_append(m, "d", 1.0) >= 0);
	assert_true(sd_bus_message_seal(m, 1, 0) >= 0);

	assert_int_equal(json_read(m, verb_find("listkeys"), &json), 0);
	assert_true(json_equal(json, wanted));
	json_decref(json);
	json_decref(wanted);

	assert_int_equal(json_read(m, verb_find("listchildren"), &json), 0);
	assert_string_equal(json_string_value(json_array_get(json, 0)), "");
	json_decref(json);

	assert_int_equal(json_read_texts(m, &json), 0);
	assert_int_equal(json_object_size(json), 2);
	assert_string_equal(json_string_value(json_object_get(json, "k")), "v");
	json_decref(json);

	json = NULL;
	assert_true(json_read(m, verb_find("listchildren"), &json) < 0);
	assert_null(json);
	sd_bus_message_unref(m);
	sd_bus_unref(bus);
	close(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runtime_sits_on),
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_json_on_terminals),
		cmocka_unit_test(test_json_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
