/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../policy/device.h"

static void test_rules(void **state)
{
	/* as it is written, and as it is shown; NULL: the same */
	static const char *const rows[][2] = {
		{"allow c 1:3 rwm", NULL},
		{"deny b 8:0 r", NULL},
		{"allow c 1:* m", NULL},
		{"allow c *:3 w", NULL},
		{"allow b *:* rw", NULL},
		{"allow a *:* rwm", NULL},
		{"deny a 7:1 rw", NULL},
		{"allow c 4:64-255 rw", NULL},
		{"allow c *:1-2 rw", NULL},
		{"allow c 0:0 r", NULL},
		{"allow c 4095:1048575 r", NULL},
		{"allow gpu:render rw", NULL},
		{"deny kvm w", NULL},
		{"allow gpu@0000:03:00.0 rw", NULL},
		{"allow nvidia:3 rw", NULL},
		{"allow /dev/fuse rw", NULL},
		{"allow /dev/dri/by-path/pci-0000:03:00.0-render rw", NULL},
		{"allow a rwm", "allow a *:* rwm"},
		{"allow c 1:3 mwr", "allow c 1:3 rwm"},
		{"  allow\tc  01:003   r ", "allow c 1:3 r"},
		{"allow c 4:64-64 r", "allow c 4:64 r"},
		{"allow c 4:0-1048575 r", "allow c 4:* r"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[DEVICE_RULE_TEXT_MAX];
		const char *why = "";
		struct device_rule rule;
		bool def = true;

		if (device_rule_parse(rows[i][0], &rule, &def, &why) != REASON_OK || def)
			fail_msg("'%s': %s", rows[i][0], why);
		assert_int_equal(rule.allow, strstr(rows[i][0], "allow") != NULL);
		device_rule_text(&rule, text);
		assert_string_equal(text, rows[i][1] ? rows[i][1] : rows[i][0]);
	}
}

static void test_default(void **state)
{
	char text[DEVICE_RULE_TEXT_MAX];
	struct device_rules r = {};

	(void)state;
	for (unsigned allow = 0; allow < 2; allow++) {
		struct device_rule rule;
		bool def = false;

		r.allow = allow;
		device_default_text(&r, text);
		assert_string_equal(text, allow ? "default allow" : "default deny");
		assert_int_equal(device_rule_parse(text, &rule, &def, NULL), REASON_OK);
		assert_true(def);
		assert_int_equal(rule.allow, allow);
	}
}

/* The longest of all still fits. */
static void test_text_has_room(void **state)
{
	struct device_rule rule = {.access = DEVICE_ALL};
	char text[DEVICE_RULE_TEXT_MAX];

	(void)state;
	memset(rule.name, 'x', DEVICE_NAME_MAX);
	device_rule_text(&rule, text);
	assert_string_equal(text + strlen(text) - 6, "xx rwm");
	rule = (struct device_rule){.access = DEVICE_ALL,
		.allow = true,
		.range = {DEVICE_CHAR, DEVICE_ALL, UINT32_MAX - 1, UINT32_MAX - 1, UINT32_MAX}};
	device_rule_text(&rule, text);
	assert_string_equal(text, "allow c 4294967294:4294967294-4294967295 rwm");
}

static void test_bad_rules(void **state)
{
	static const struct {
		const char *text;
		enum reason r;
	} rows[] = {
		{"", REASON_DEVICE_RULE},
		{"  ", REASON_DEVICE_RULE},
		{"permit c 1:3 r", REASON_DEVICE_RULE},
		{"Allow c 1:3 r", REASON_DEVICE_RULE},
		{"allow", REASON_DEVICE_RULE},
		{"default", REASON_DEVICE_RULE},
		{"default none", REASON_DEVICE_RULE},
		{"default allow r", REASON_DEVICE_RULE},
		{"allow c 1:3 r w", REASON_DEVICE_RULE},
		{"allow fuse kvm rw", REASON_DEVICE_RULE},
		{"allow c rw", REASON_DEVICE_RULE},
		{"allow c 1 r", REASON_DEVICE_RULE},
		{"allow c 1: r", REASON_DEVICE_RULE},
		{"allow c :3 r", REASON_DEVICE_RULE},
		{"allow c 1:3: r", REASON_DEVICE_RULE},
		{"allow c 1:3- r", REASON_DEVICE_RULE},
		{"allow c 1:-3 r", REASON_DEVICE_RULE},
		{"allow c 1:*-3 r", REASON_DEVICE_RULE},
		{"allow c 1:3-* r", REASON_DEVICE_RULE},
		{"allow c 1-2:3 r", REASON_DEVICE_RULE},
		{"allow c 0x1:3 r", REASON_DEVICE_RULE},
		{"allow c +1:3 r", REASON_DEVICE_RULE},
		{"allow c 1:3\n r", REASON_DEVICE_RULE},
		{"allow c 4096:3 r", REASON_DEVICE_NUMBER},
		{"allow c 18446744073709551617:3 r", REASON_DEVICE_NUMBER},
		{"allow c 4294967295:3 r", REASON_DEVICE_NUMBER},
		{"allow c 1:1048576 r", REASON_DEVICE_NUMBER},
		{"allow c 1:4294967297 r", REASON_DEVICE_NUMBER},
		{"allow c 1:0-1048576 r", REASON_DEVICE_NUMBER},
		{"allow c 1:5-4 r", REASON_DEVICE_NUMBER},
		{"allow fuse", REASON_DEVICE_ACCESS},
		{"allow c 1:3", REASON_DEVICE_ACCESS},
		{"allow a", REASON_DEVICE_ACCESS},
		{"allow c 1:3 rr", REASON_DEVICE_ACCESS},
		{"allow c 1:3 rwmr", REASON_DEVICE_ACCESS},
		{"allow c 1:3 x", REASON_DEVICE_ACCESS},
		{"allow c 1:3 RW", REASON_DEVICE_ACCESS},
		{"allow floppy rw", REASON_DEVICE_NAME},
		{"allow d 1:3", REASON_DEVICE_NAME},
		{"allow /etc/passwd rw", REASON_DEVICE_NAME},
		{"allow /dev rw", REASON_DEVICE_NAME},
		{"allow /dev/ rw", REASON_DEVICE_NAME},
		{"allow /dev/../etc/passwd rw", REASON_DEVICE_NAME},
		{"allow /dev/./null rw", REASON_DEVICE_NAME},
		{"allow /dev//null rw", REASON_DEVICE_NAME},
		{"allow /dev/dri/ rw", REASON_DEVICE_NAME},
		{"allow /dev/dri/.. rw", REASON_DEVICE_NAME},
		{"allow /dev/a\x1b[2J rw", REASON_DEVICE_NAME},
		{"allow /dev/a\xc2\x9b rw", REASON_DEVICE_NAME},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct device_rule rule = {.access = 77};
		const char *why = "not touched";
		bool def = false;
		enum reason r = device_rule_parse(rows[i].text, &rule, &def, &why);

		if (r != rows[i].r)
			fail_msg("'%s': %s", rows[i].text, reason_row(r)->token);
		assert_int_equal(rule.access, 77);
		/* a name's form needs no more words than the row has */
		assert_true(r == REASON_DEVICE_NAME ? why == NULL : why && *why);
	}
}

static void test_device_alone(void **state)
{
	char name[DEVICE_NAME_MAX + 2] = "/dev/";
	const char *why = NULL;
	struct device_rule rule;

	(void)state;
	assert_int_equal(device_parse("c 1:3", "rw", &rule, NULL), REASON_OK);
	assert_true(rule.allow);
	assert_int_equal(rule.access, DEVICE_READ | DEVICE_WRITE);
	assert_int_equal(rule.range.major, 1);
	assert_int_equal(device_parse("fuse", "m", &rule, NULL), REASON_OK);
	assert_string_equal(rule.name, "fuse");
	assert_int_equal(device_parse("c 1:3", "", &rule, &why), REASON_DEVICE_ACCESS);
	assert_string_equal(why, "it is empty");
	assert_int_equal(device_parse("c 1:3", "r w", &rule, NULL), REASON_DEVICE_ACCESS);
	assert_int_equal(device_parse("", "r", &rule, NULL), REASON_DEVICE_RULE);
	assert_int_equal(device_parse("c 1:3 r", "r", &rule, NULL), REASON_DEVICE_RULE);

	memset(name + 5, 'x', DEVICE_NAME_MAX - 5);
	assert_int_equal(device_parse(name, "r", &rule, NULL), REASON_OK);
	assert_string_equal(rule.name, name);
	name[DEVICE_NAME_MAX] = 'x';
	assert_int_equal(device_parse(name, "r", &rule, &why), REASON_DEVICE_NAME);
	assert_string_equal(why, "the name is longer than 127 bytes");
}

static void add(struct device_rules *r, const char *text)
{
	struct device_rule rule;
	bool def;

	assert_int_equal(device_rule_parse(text, &rule, &def, NULL), REASON_OK);
	assert_int_equal(device_rules_add(r, &rule), 0);
}

static void test_what_is_decided_anew_goes(void **state)
{
	static const struct {
		const char *lines[5];
		const char *left[5];
	} rows[] = {
		{{"allow c 1:3 rw", "allow c 1:3 rw"}, {"allow c 1:3 rw"}},
		{{"allow c 1:3 rw", "deny c 1:3 rwm"}, {"deny c 1:3 rwm"}},
		{{"allow c 1:3 rw", "deny c 1:3 w"}, {"allow c 1:3 r", "deny c 1:3 w"}},
		{{"allow fuse rw", "deny c 1:3 r", "allow fuse rwm"},
			{"deny c 1:3 r", "allow fuse rwm"}},
		{{"allow c 1:3 r", "allow c 1:3 w", "deny c 1:3 rw"}, {"deny c 1:3 rw"}},
		/* other devices, if also the same numbers */
		{{"allow c 10:229 rw", "deny fuse rw"}, {"allow c 10:229 rw", "deny fuse rw"}},
		{{"allow c 1:3 r", "deny b 1:3 r"}, {"allow c 1:3 r", "deny b 1:3 r"}},
		{{"allow c 1:3 r", "deny c 1:* r"}, {"allow c 1:3 r", "deny c 1:* r"}},
		{{"allow c 1:3 r", "deny a 1:3 r"}, {"allow c 1:3 r", "deny a 1:3 r"}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct device_rules r = {};
		unsigned n = 0;

		for (unsigned k = 0; k < 5 && rows[i].lines[k]; k++)
			add(&r, rows[i].lines[k]);
		for (; n < 5 && rows[i].left[n]; n++) {
			char text[DEVICE_RULE_TEXT_MAX];

			assert_true(n < r.n);
			device_rule_text(&r.rule[n], text);
			assert_string_equal(text, rows[i].left[n]);
		}
		assert_int_equal(r.n, n);
		device_rules_done(&r);
	}
}

/* Exceptions of v1 are device-v1.h's to keep in order. */
static void test_exceptions_stay(void **state)
{
	struct device_rules r = {.v1 = true};

	(void)state;
	add(&r, "allow c 1:3 rw");
	add(&r, "allow c 1:3 r");
	assert_int_equal(r.n, 2);
	assert_int_equal(r.rule[0].access, DEVICE_READ | DEVICE_WRITE);
	device_rules_done(&r);
}

static void test_too_many(void **state)
{
	struct device_rules r = {};
	struct device_rule rule;

	(void)state;
	assert_int_equal(device_parse("c 1:3", "rw", &rule, NULL), REASON_OK);
	for (unsigned i = 0; i < DEVICE_RULES_MAX; i++) {
		rule.range.first = rule.range.last = i;
		assert_int_equal(device_rules_add(&r, &rule), 0);
	}
	/* in the place of another there is still room */
	rule.range.first = rule.range.last = 7;
	assert_int_equal(device_rules_add(&r, &rule), 0);
	assert_int_equal(r.n, DEVICE_RULES_MAX);
	rule.access = DEVICE_READ;
	assert_int_equal(device_rules_add(&r, &rule), -E2BIG);
	assert_int_equal(r.n, DEVICE_RULES_MAX);
	assert_int_equal(r.rule[r.n - 1].access, DEVICE_READ | DEVICE_WRITE);
	rule.range.first = rule.range.last = DEVICE_RULES_MAX;
	assert_int_equal(device_rules_add(&r, &rule), -E2BIG);
	device_rules_done(&r);
}

/* "/dev/one" is two devices, "/dev/none" nothing now; all others are unknown, but for the last. */
static int resolve(void *userdata, const char *name, struct device_range **ret, unsigned *n)
{
	const struct device_range ranges[] = {
		{DEVICE_CHAR, DEVICE_ALL, 9, 1, 1}, {DEVICE_BLOCK, DEVICE_READ, 9, 2, 3}};

	if (strcmp(name, "/dev/none") == 0)
		return 0;
	if (strcmp(name, "/dev/fails") == 0)
		return -EIO;
	if (strcmp(name, "/dev/one") != 0)
		return *(int *)userdata;
	*ret = malloc(sizeof(ranges));
	assert_non_null(*ret);
	memcpy(*ret, ranges, sizeof(ranges));
	*n = 2;
	return 0;
}

static void test_resolve(void **state)
{
	static const char *const lines[] = {"deny /dev/one rw", "allow kvm rw", "allow /dev/none r",
		"deny nvidia:0 r", "allow oci-default r", "allow all-mknod rwm"};
	static const char *const resolved[] = {"deny c 9:1 rw", "deny b 9:2-3 r",
		"allow c 10:232 rw", "allow c 1:3 r", "allow c 1:5 r", "allow c 1:7 r",
		"allow c 1:8 r", "allow c 1:9 r", "allow c 5:0 r", "allow c 5:2 r",
		"allow c 136:* r", "allow c 10:200 r", "allow c *:* m", "allow b *:* m"};
	int nothing[] = {-ENOENT, -ENXIO, -ENOTSUP, -EINVAL};
	struct device_rules r = {.allow = true}, out;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		add(&r, lines[i]);
	for (size_t k = 0; k < sizeof(nothing) / sizeof(nothing[0]); k++) {
		assert_int_equal(device_rules_resolve(&r, resolve, &nothing[k], &out), 0);
		assert_int_equal(out.n, sizeof(resolved) / sizeof(resolved[0]));
		assert_true(out.allow && !out.v1);
		for (unsigned i = 0; i < out.n; i++) {
			char text[DEVICE_RULE_TEXT_MAX];

			device_rule_text(&out.rule[i], text);
			assert_string_equal(text, resolved[i]);
		}
		device_rules_done(&out);
	}
	add(&r, "deny /dev/fails r");
	assert_int_equal(device_rules_resolve(&r, resolve, &nothing[0], &out), -EIO);
	device_rules_done(&r);
}

static void test_check(void **state)
{
	static const struct {
		const char *lines[4];
		bool allow; /* the default */
		uint8_t access;
		bool allowed; /* c 1:3 */
	} rows[] = {
		{{NULL}, true, DEVICE_ALL, true},
		{{NULL}, false, DEVICE_READ, false},
		/* the last that matches, for each bit by itself */
		{{"allow c 1:3 rw", "deny c 1:3 w"}, false, DEVICE_READ, true},
		{{"allow c 1:3 rw", "deny c 1:3 w"}, false, DEVICE_WRITE, false},
		{{"allow c 1:3 rw", "deny c 1:3 w"}, false, DEVICE_READ | DEVICE_WRITE, false},
		{{"deny c 1:* rwm", "allow c 1:3 rwm"}, true, DEVICE_ALL, true},
		{{"allow c 1:3 rwm", "deny c 1:* rwm"}, true, DEVICE_READ, false},
		{{"allow c 1:* r", "allow c *:3 w"}, false, DEVICE_READ | DEVICE_WRITE, true},
		{{"allow b 1:3 rwm", "allow c 1:4 rwm", "allow c 2:3 rwm"}, false, DEVICE_READ,
			false},
		{{"allow a 1:3 r"}, false, DEVICE_READ, true},
		{{"allow c 1:1-3 r"}, false, DEVICE_READ, true},
		{{"allow c 1:1-2 r", "allow c 1:4-9 r"}, false, DEVICE_READ, false},
		/* access(F_OK) */
		{{NULL}, false, 0, false},
		{{NULL}, true, 0, true},
		{{"allow c 1:3 m"}, false, 0, true},
		{{"allow c 1:4 m"}, false, 0, false},
		{{"allow c 1:* rwm", "deny c 1:3 rwm"}, false, 0, false},
		{{"deny c 1:3 rwm"}, true, 0, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct device_rules r = {.allow = rows[i].allow};

		for (unsigned k = 0; k < 4 && rows[i].lines[k]; k++)
			add(&r, rows[i].lines[k]);
		if (device_check(&r, DEVICE_CHAR, 1, 3, rows[i].access) != rows[i].allowed)
			fail_msg("row %zu", i);
		device_rules_done(&r);
	}
}

static void test_copy(void **state)
{
	struct device_rules r = {.allow = true}, copy, empty = {};

	(void)state;
	add(&r, "allow fuse rw");
	assert_int_equal(device_rules_copy(&copy, &r), 0);
	add(&r, "deny kvm rw");
	assert_int_equal(copy.n, 1);
	assert_true(copy.allow);
	assert_string_equal(copy.rule[0].name, "fuse");
	device_rules_done(&copy);
	assert_int_equal(copy.n, 0);
	device_rules_done(&copy);
	assert_int_equal(device_rules_copy(&copy, &empty), 0);
	assert_int_equal(copy.n, 0);
	device_rules_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_default),
		cmocka_unit_test(test_text_has_room),
		cmocka_unit_test(test_bad_rules),
		cmocka_unit_test(test_device_alone),
		cmocka_unit_test(test_what_is_decided_anew_goes),
		cmocka_unit_test(test_exceptions_stay),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_resolve),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
