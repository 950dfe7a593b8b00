/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each rule of security/device_cgroup.c (6.1) in a row, and what always holds on made up ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../policy/device-v1.h"

static void test_parser(void **state)
{
	static const struct {
		const char *text;
		int r;
		struct device_v1_write w;
	} rows[] = {
		{"a", 0, {.all = true}},
		{"a *:* rwm", 0, {.all = true}},
		{" a\n", 0, {.all = true}},
		{"anything", 0, {.all = true}},
		{"c 1:3 rwm", 0, {.type = DEVICE_CHAR, .major = 1, .minor = 3, .access = 7}},
		{"b 8:0 r\n", 0, {.type = DEVICE_BLOCK, .major = 8, .access = DEVICE_READ}},
		{"c *:3 w", 0,
			{.type = DEVICE_CHAR,
				.major = DEVICE_ANY,
				.minor = 3,
				.access = DEVICE_WRITE}},
		{"c 1:* m", 0,
			{.type = DEVICE_CHAR,
				.major = 1,
				.minor = DEVICE_ANY,
				.access = DEVICE_MKNOD}},
		/* any white space, but one */
		{"c\t1:3\tr", 0,
			{.type = DEVICE_CHAR, .major = 1, .minor = 3, .access = DEVICE_READ}},
		{"c\xa0"
		 "1:3 r",
			0, {.type = DEVICE_CHAR, .major = 1, .minor = 3, .access = DEVICE_READ}},
		{"c  1:3 r", -EINVAL, {}},
		{"c 1:3  r", -EINVAL, {}},
		{"c1:3 r", -EINVAL, {}},
		/* three letters, also the same ones; the rest is not looked at */
		{"c 1:3 rrr", 0,
			{.type = DEVICE_CHAR, .major = 1, .minor = 3, .access = DEVICE_READ}},
		{"c 1:3 rwmxyz", 0, {.type = DEVICE_CHAR, .major = 1, .minor = 3, .access = 7}},
		{"c 1:3 r\nx", 0,
			{.type = DEVICE_CHAR, .major = 1, .minor = 3, .access = DEVICE_READ}},
		{"c 1:3 \nx", 0, {.type = DEVICE_CHAR, .major = 1, .minor = 3}},
		{"c 1:3 x", -EINVAL, {}},
		{"c 1:3 R", -EINVAL, {}},
		{"c 1:3 r w", -EINVAL, {}},
		{"c 1:3", -EINVAL, {}},
		{"c 1:3 ", -EINVAL, {}},
		/* numbers */
		{"c 4294967295:3 r", 0,
			{.type = DEVICE_CHAR,
				.major = DEVICE_ANY,
				.minor = 3,
				.access = DEVICE_READ}},
		{"c 4294967296:3 r", -EINVAL, {}},
		{"c 5000:5000000 r", 0,
			{.type = DEVICE_CHAR,
				.major = 5000,
				.minor = 5000000,
				.access = DEVICE_READ}},
		{"c 00000000001:3 r", 0,
			{.type = DEVICE_CHAR, .major = 1, .minor = 3, .access = DEVICE_READ}},
		{"c 000000000001:3 r", -EINVAL, {}},
		{"c 0x1:3 r", -EINVAL, {}},
		{"c -1:3 r", -EINVAL, {}},
		{"c 1:3-5 r", -EINVAL, {}},
		{"c 1:3:4 r", -EINVAL, {}},
		{"c *1:3 r", -EINVAL, {}},
		{"c 1 r", -EINVAL, {}},
		{"c", -EINVAL, {}},
		{"c ", -EINVAL, {}},
		{"x 1:3 r", -EINVAL, {}},
		{"B 1:3 r", -EINVAL, {}},
		{"", -EINVAL, {}},
		{" \n", -EINVAL, {}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct device_v1_write w = {};
		int r = device_v1_parse(i % 2, rows[i].text, &w);

		if (r != rows[i].r)
			fail_msg("'%s': %d", rows[i].text, r);
		if (r < 0)
			continue;
		if (w.all != rows[i].w.all || w.type != rows[i].w.type ||
			w.major != rows[i].w.major || w.minor != rows[i].w.minor ||
			w.access != rows[i].w.access || w.allow != i % 2)
			fail_msg("'%s' is read as another", rows[i].text);
	}
}

/* A cgroup and its child, and what is written to them: a sign for where, '+' allow or '-' deny,
 * the text. */
struct family {
	struct device_rules parent, child;
};

static void family_done(struct family *f)
{
	device_rules_done(&f->parent);
	device_rules_done(&f->child);
}

static int play_one(struct family *f, const char *move)
{
	bool to_child = move[0] == 'C';
	struct device_v1_write w;
	int r = device_v1_parse(move[1] == '+', move + 2, &w);

	if (r < 0)
		return r;
	if (to_child)
		return device_v1_apply(&f->child, &f->parent, false, &w);
	r = device_v1_apply(&f->parent, NULL, move[0] == 'P', &w);
	if (r < 0)
		return r;
	if (move[0] == 'P')
		return device_v1_propagate(&f->child, &f->parent, &w);
	/* 'p': while it has no child; a new one is a copy */
	device_rules_done(&f->child);
	return device_rules_copy(&f->child, &f->parent);
}

static void assert_list(const struct device_rules *r, const char *list, unsigned row)
{
	char *text = device_v1_list(r);

	assert_non_null(text);
	if (strcmp(text, list) != 0)
		fail_msg("row %u: '%s' is not '%s'", row, text, list);
	free(text);
}

#define EVERYTHING "a *:* rwm\n"

/* The last move gives `r`; then parent and child are listed so. */
static void test_moves(void **state)
{
	static const struct {
		const char *moves[8];
		int r;
		const char *parent, *child;
	} rows[] = {
		/* a new child is a copy */
		{{"p-a", "p+c 1:3 rw"}, 0, "c 1:3 rw\n", "c 1:3 rw\n"},
		{{"p-c 1:3 w"}, 0, EVERYTHING, EVERYTHING},
		/* "a" is refused where there are children */
		{{"P-a"}, -EINVAL, EVERYTHING, EVERYTHING},
		{{"P+a"}, -EINVAL, EVERYTHING, EVERYTHING},
		/* allow a: below ALLOW alone, with the exceptions of the parent */
		{{"p-a", "C+a"}, -EPERM, "", ""},
		{{"p-c 1:3 w", "C-a", "C+a", "C-a", "C+c 1:3 w"}, -EPERM, EVERYTHING, ""},
		{{"p-c 1:3 w", "C-a", "C+a", "C+c 1:3 w"}, -EPERM, EVERYTHING, EVERYTHING},
		/* deny a: nothing is left */
		{{"p-a", "p+c 1:3 rw", "C-a"}, 0, "c 1:3 rw\n", ""},
		/* allow in ALLOW: not what the parent denies any part of; else the equal one */
		{{"p-c 1:* w", "C+c 1:3 w"}, -EPERM, EVERYTHING, EVERYTHING},
		{{"p-c 1:3 w", "C+c *:* rwm"}, -EPERM, EVERYTHING, EVERYTHING},
		{{"p-c 1:3 w", "C+c 1:3 r"}, 0, EVERYTHING, EVERYTHING},
		{{"C+c 9:9 r"}, 0, EVERYTHING, EVERYTHING},
		/* allow in DENY below DENY: one exception of the parent contains it all */
		{{"p-a", "p+c 1:3 r", "p+c 1:3 w", "C-a", "C+c 1:3 rw"}, 0, "c 1:3 rw\n",
			"c 1:3 rw\n"},
		{{"p-a", "p+c 1:* r", "p+c 1:3 w", "C-a", "C+c 1:3 rw"}, -EPERM,
			"c 1:* r\nc 1:3 w\n", ""},
		{{"p-a", "p+c 1:3 rw", "C-a", "C+c 1:* r"}, -EPERM, "c 1:3 rw\n", ""},
		{{"p-a", "p+c *:3 rw", "C-a", "C+c 1:3 r"}, 0, "c *:3 rw\n", "c 1:3 r\n"},
		{{"p-a", "p+c 1:3 rw", "C-a", "C+b 1:3 r"}, -EPERM, "c 1:3 rw\n", ""},
		/* allow in DENY below ALLOW: nothing of what the parent denies */
		{{"p-c 1:3 w", "C-a", "C+c 1:* r"}, 0, EVERYTHING, "c 1:* r\n"},
		{{"p-c 1:3 w", "C-a", "C+c 1:* rw"}, -EPERM, EVERYTHING, ""},
		/* an equal one takes the access, in its place; letters come as r, w, m */
		{{"p-a", "p+c 1:3 m", "p+c 1:5 r", "p+c 1:3 w", "p+c 1:3 r"}, 0,
			"c 1:3 rwm\nc 1:5 r\n", "c 1:3 rwm\nc 1:5 r\n"},
		/* deny in DENY: the equal one alone, no holes; and it is a success */
		{{"p-a", "p+c 1:* rw", "p-c 1:3 w"}, 0, "c 1:* rw\n", "c 1:* rw\n"},
		{{"p-a", "p+c 1:* rw", "p-c 1:* w"}, 0, "c 1:* r\n", "c 1:* r\n"},
		{{"p-a", "p+c 1:* rw", "p-c *:* rwm"}, 0, "c 1:* rw\n", "c 1:* rw\n"},
		{{"p-a", "p+c 1:3 rw", "p-c 1:3 rwm"}, 0, "", ""},
		/* a deny reaches down: the equal one goes, and what the parent covers no more */
		{{"p-a", "p+c 1:3 rw", "P-c 1:3 w"}, 0, "c 1:3 r\n", "c 1:3 r\n"},
		{{"p-a", "p+c 1:3 rw", "C-c 1:3 w", "P-c 1:3 w"}, 0, "c 1:3 r\n", "c 1:3 r\n"},
		{{"p-a", "p+c 1:* rw", "C-a", "C+c 1:3 r", "P-c 1:* r"}, 0, "c 1:* w\n", ""},
		{{"p-a", "p+c 1:* rw", "C-a", "C+c 1:3 r", "P-c 1:3 r"}, 0, "c 1:* rw\n", ""},
		{{"C-a", "C+c 1:3 rw", "C+c 1:5 r", "P-c 1:3 w"}, 0, EVERYTHING,
			"c 1:3 r\nc 1:5 r\n"},
		{{"C-a", "C+c 1:3 rw", "C+c 1:5 r", "P-c 1:* w"}, 0, EVERYTHING, "c 1:5 r\n"},
		/* an allow does not */
		{{"p-a", "P+c 1:3 rw"}, 0, "c 1:3 rw\n", ""},
		/* what no device has is kept as it is */
		{{"p-a", "p+c 5000:5000000 r"}, 0, "c 5000:5000000 r\n", "c 5000:5000000 r\n"},
		{{"p-a", "p+c 4294967295:4294967295 r"}, 0, "c *:* r\n", "c *:* r\n"},
		{{"p-a", "p+c 1:3 \nx"}, 0, "c 1:3 \n", "c 1:3 \n"},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct family f = {{.allow = true, .v1 = true}, {.allow = true, .v1 = true}};
		int r = 0;

		for (unsigned k = 0; k < 8 && rows[i].moves[k]; k++) {
			if (r != 0)
				fail_msg("row %u: move %u: %d", i, k - 1, r);
			r = play_one(&f, rows[i].moves[k]);
		}
		if (r != rows[i].r)
			fail_msg("row %u: %d", i, r);
		assert_list(&f.parent, rows[i].parent, i);
		assert_list(&f.child, rows[i].child, i);
		family_done(&f);
	}
}

static void test_checks(void **state)
{
	static const struct {
		const char *moves[4];
		uint32_t minor;
		uint8_t access;
		bool allowed;
	} rows[] = {
		/* ALLOW denies what an exception touches */
		{{"p-c 1:3 w"}, 3, DEVICE_READ, true},
		{{"p-c 1:3 w"}, 3, DEVICE_WRITE, false},
		{{"p-c 1:3 w"}, 3, DEVICE_READ | DEVICE_WRITE, false},
		{{"p-c 1:3 rwm"}, 3, 0, true},
		/* DENY: one exception for all bits */
		{{"p-a", "p+c 1:3 r", "p+c *:3 w"}, 3, DEVICE_READ, true},
		{{"p-a", "p+c 1:3 r", "p+c *:3 w"}, 3, DEVICE_WRITE, true},
		{{"p-a", "p+c 1:3 r", "p+c *:3 w"}, 3, DEVICE_READ | DEVICE_WRITE, false},
		{{"p-a", "p+c 1:3 m"}, 3, 0, true},
		{{"p-a", "p+c 1:3 m"}, 4, 0, false},
		{{"p-a", "p+c 1:3 \nx"}, 3, 0, true},
		{{"p-a", "p+b 1:3 rwm"}, 3, 0, false},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct family f = {{.allow = true, .v1 = true}, {.allow = true, .v1 = true}};
		struct device_policy p;

		for (unsigned k = 0; k < 4 && rows[i].moves[k]; k++)
			assert_int_equal(play_one(&f, rows[i].moves[k]), 0);
		if (device_check(&f.parent, DEVICE_CHAR, 1, rows[i].minor, rows[i].access) !=
			rows[i].allowed)
			fail_msg("row %u", i);
		assert_int_equal(device_policy_compile(&f.parent, &f.parent, 240, &p), 0);
		assert_int_equal(device_policy_check(p.data, p.size, DEVICE_CHAR, 1, rows[i].minor,
					 rows[i].access),
			rows[i].allowed);
		device_policy_done(&p);
		family_done(&f);
	}
}

static uint64_t seed = 1;

static uint32_t draw(uint32_t below)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (uint32_t)((seed * 0x2545f4914f6cdd1dull >> 32) % below);
}

static void draw_move(char *move, size_t size)
{
	static const char *const numbers[] = {"*", "0", "1", "2"};
	static const char *const access[] = {"r", "w", "m", "rw", "rm", "wm", "rwm"};

	if (draw(12) == 0)
		snprintf(move, size, "%c%ca", "CP"[draw(2)], "+-"[draw(2)]);
	else
		snprintf(move, size, "%c%c%c %s:%s %s", "CP"[draw(2)], "+-"[draw(2)], "bc"[draw(2)],
			numbers[draw(4)], numbers[draw(4)], access[draw(7)]);
}

/* A child never has what its parent has not, and what fails changes nothing. */
static void assert_below(const struct family *f, const char *move)
{
	for (uint8_t type = 1; type <= 2; type++)
		for (unsigned device = 0; device < 16; device++)
			for (uint8_t access = 1; access <= DEVICE_ALL; access++)
				if (device_check(&f->child, type, device / 4, device % 4, access) &&
					!device_check(
						&f->parent, type, device / 4, device % 4, access))
					fail_msg("%s: type %u %u:%u access %u", move, type,
						device / 4, device % 4, access);
}

static void test_children_have_no_more(void **state)
{
	(void)state;
	seed = 3;
	for (unsigned round = 0; round < 2000; round++) {
		struct family f = {{.allow = true, .v1 = true}, {.allow = true, .v1 = true}};
		char move[64] = "p-a";

		if (draw(2))
			assert_int_equal(play_one(&f, move), 0);
		for (unsigned i = 0; i < 24; i++) {
			char *before, *after;
			int r;

			draw_move(move, sizeof(move));
			before = device_v1_list(move[0] == 'C' ? &f.child : &f.parent);
			r = play_one(&f, move);
			after = device_v1_list(move[0] == 'C' ? &f.child : &f.parent);
			assert_true(r == 0 || r == -EPERM || r == -EINVAL);
			if (r < 0)
				assert_string_equal(before, after);
			assert_below(&f, move);
			free(before);
			free(after);
		}
		family_done(&f);
	}
}

static struct device_rules rules_of(const char *const *lines)
{
	struct device_rules r = {}, resolved;
	struct device_rule rule;
	bool def;

	for (; *lines; lines++) {
		assert_int_equal(device_rule_parse(*lines, &rule, &def, NULL), REASON_OK);
		if (def)
			r.allow = rule.allow;
		else
			assert_int_equal(device_rules_add(&r, &rule), 0);
	}
	assert_int_equal(device_rules_resolve(&r, NULL, NULL, &resolved), 0);
	device_rules_done(&r);
	return resolved;
}

/* too many to write them here */
#define MANY "many"

static void test_from_rules(void **state)
{
	static const struct {
		const char *rules[8];
		const char *list; /* of the exceptions; NULL: v1 has none */
	} rows[] = {
		{{"default deny"}, ""},
		{{"default allow"}, ""},
		{{"allow a rwm"}, "b *:* rwm\nc *:* rwm\n"},
		{{"allow oci-default rwm"},
			"b *:* m\nc *:* m\nc 1:3 rwm\nc 1:5 rwm\nc 1:7 rwm\nc 1:8 rwm\nc 1:9 rwm\n"
			"c 5:0 rwm\nc 5:2 rwm\nc 10:200 rwm\nc 136:* rwm\n"},
		{{"allow c 1:3 r", "allow c 1:3 w"}, "c 1:3 rw\n"},
		{{"allow c 1:3-5 r"}, "c 1:3 r\nc 1:4 r\nc 1:5 r\n"},
		{{"allow c 1:* r", "allow c 1:3 w"}, "c 1:* r\nc 1:3 rw\n"},
		{{"allow c *:3 r", "allow c 1:3 w"}, "c *:3 r\nc 1:3 rw\n"},
		{{"allow c *:* r", "allow c *:3 w"}, "c *:* r\nc *:3 rw\n"},
		{{"allow c 1:* rwm", "deny c 1:* w"}, "c 1:* rm\n"},
		{{"allow c 1:* rwm", "deny c 1:3 w"}, NULL},
		{{"allow c *:* rwm", "deny c 1:* w"}, NULL},
		{{"allow c *:3 rwm", "deny c 1:3 w"}, NULL},
		{{"allow c 1:0-255 r", "allow b 259:* r"}, MANY},
		{{"allow c 1:0-256 r"}, NULL},
		{{"default allow", "deny c 10:232 rwm"}, "c 10:232 rwm\n"},
		{{"default allow", "deny c 10:232 w", "deny c *:232 r"},
			"c *:232 r\nc 10:232 rw\n"},
		{{"default allow", "deny c 10:* rwm", "allow c 10:200 rwm"}, NULL},
		{{"default allow", "deny c 10:* rwm", "allow c 10:* r"}, "c 10:* wm\n"},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct device_rules from = rules_of(rows[i].rules), r = {};
		int error = device_v1_from(&from, &r);

		if (error != (rows[i].list ? 0 : -EOPNOTSUPP))
			fail_msg("row %u: %d", i, error);
		if (error == 0) {
			assert_int_equal(r.allow, from.allow);
			assert_true(r.v1);
			r.allow = false; /* so that exceptions are listed */
			if (strcmp(rows[i].list, MANY) != 0)
				assert_list(&r, rows[i].list, i);
		}
		device_rules_done(&r);
		device_rules_done(&from);
	}
}

static struct device_rules draw_rules(void)
{
	struct device_rules r = {.allow = draw(2)};
	unsigned n = draw(7);

	for (unsigned i = 0; i < n; i++) {
		struct device_rule rule = {
			.allow = draw(4) ? !r.allow : r.allow,
			.access = (uint8_t)(1 + draw(DEVICE_ALL)),
			.range = {.types = (uint8_t)(1 + draw(3)),
				.access = DEVICE_ALL,
				.major = draw(4) ? draw(3) : DEVICE_ANY,
				.last = DEVICE_MINOR_MAX},
		};

		if (draw(4)) {
			rule.range.first = draw(4);
			rule.range.last = rule.range.first + draw(3);
		}
		assert_int_equal(device_rules_add(&r, &rule), 0);
	}
	return r;
}

static void test_from_rules_gives_the_same_verdicts(void **state)
{
	unsigned said = 0;

	(void)state;
	seed = 5;
	for (unsigned round = 0; round < 400; round++) {
		struct device_rules from = draw_rules(), r;
		int error = device_v1_from(&from, &r);

		assert_true(error == 0 || error == -EOPNOTSUPP);
		for (unsigned i = 0; error == 0 && i < 2 * 5 * 9 * 8; i++) {
			uint8_t type = (uint8_t)(1 + i % 2), access = (uint8_t)(i / 2 % 8);
			uint32_t major = i / 16 % 5, minor = i / 80;

			if (device_check(&from, type, major, minor, access) !=
				device_check(&r, type, major, minor, access))
				fail_msg("round %u: type %u %u:%u access %u", round, type, major,
					minor, access);
		}
		if (error == 0) {
			said++;
			device_rules_done(&r);
		}
		device_rules_done(&from);
	}
	assert_in_range(said, 100, 399);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parser),
		cmocka_unit_test(test_moves),
		cmocka_unit_test(test_checks),
		cmocka_unit_test(test_children_have_no_more),
		cmocka_unit_test(test_from_rules),
		cmocka_unit_test(test_from_rules_gives_the_same_verdicts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
