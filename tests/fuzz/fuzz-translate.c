/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * policy/translate on texts: how, a number, a setting's name, a value, what files hold. The name
 * may also be one of the tables', by the number.
 */
#include <stdio.h>
#include <string.h>

#include "../../daemon/cleanup.h"
#include "../../policy/key.h"
#include "../../policy/translate.h"
#include "fuzz.h"

enum how {
	HOW_V2 = 1 << 0,
	HOW_MISSING =
		1 << 1, /* the first file, where it may be; the next three bits for the others */
	HOW_TABLE = 1 << 7,
};

static const char *const names[] = {
#define KEY(name, class, flags) name,
#include "../../policy/keys.def"
#undef KEY
#define SETTING(type, access, neutral, v1, v2, aliases, why) neutral,
#include "../../policy/translate.def"
#undef SETTING
};

#define N_NAMES (sizeof(names) / sizeof(names[0]))

static bool is_known(enum reason r)
{
	return r == REASON_OK || r == REASON_KEY_MAPPING || r == REASON_KEY_MISSING ||
	       r == REASON_VALUE_FORMAT || r == REASON_VALUE_LENGTH || r == REASON_MANY_ENTRIES ||
	       r == REASON_KEY_UNLISTED;
}

static void check_plan(const struct plan *p, const char *name, bool v2)
{
	CHECK(p->v2 == v2 && strcmp(p->name, name) == 0);
	CHECK(p->n > 0 && p->n <= PLAN_FILES_MAX);
	for (unsigned i = 0; i < p->n; i++) {
		CHECK(p->file[i] && (!p->setting || p->file[i] == p->names[i]));
		CHECK(!p->setting || strlen(p->file[i]) < sizeof(p->names[i]));
	}
	CHECK(p->setting || strcmp(p->file[0], name) == 0);
}

static void check_get(const struct plan *p, const char *const *texts, size_t size)
{
	_cleanup_free_ char *buf = calloc(1, size), *larger = calloc(1, PLAN_TEXT_MAX * 64);
	enum reason r, again;

	CHECK(buf && larger);
	r = plan_get(p, texts, buf, size);
	again = plan_get(p, texts, larger, PLAN_TEXT_MAX * 64);
	CHECK(is_known(r) && strlen(buf) < size);
	/* the size of the buffer is all that a smaller one changes */
	if (r != REASON_MANY_ENTRIES)
		CHECK(r == again && (r != REASON_OK || strcmp(buf, larger) == 0));
}

/* What is written is among the plan's files, and may be written again: then as it is. */
static void check_set(const struct plan *p, const char *value, const char *const *texts)
{
	static struct plan_write writes[PLAN_FILES_MAX];
	const char *why = NULL;
	unsigned n = 77;
	enum reason r = plan_set(p, value, texts, writes, &n, &why);

	CHECK(is_known(r));
	CHECK((r == REASON_OK) == (n != 77));
	CHECK(r != REASON_VALUE_FORMAT || why);
	if (r != REASON_OK)
		return;
	CHECK(n <= PLAN_FILES_MAX);
	for (unsigned i = 0; i < n; i++) {
		const struct key *key = key_find(writes[i].file);
		bool among = false;

		for (unsigned j = 0; j < p->n; j++)
			among = among || writes[i].file == p->file[j];
		CHECK(among);
		CHECK(key && (key->class == KEY_LIMIT || key->class == KEY_HOST));
		CHECK(strnlen(writes[i].text, PLAN_TEXT_MAX) < PLAN_TEXT_MAX);
		CHECK(writes[i].text[0] && !strchr(writes[i].text, '\n'));
	}
}

static void check_name(const char *name, const char *value, uint8_t how, const char *const *all)
{
	const char *texts[PLAN_FILES_MAX], *why = NULL;
	bool v2 = how & HOW_V2;
	struct plan p;
	enum reason r = plan_read(name, v2, &p, &why);

	CHECK(r == REASON_OK || (r == REASON_KEY_MAPPING && why) || r == REASON_KEY_MISSING);
	for (unsigned write = 0; write < 2; write++) {
		if (write)
			r = plan_write(name, v2, &p, &why);
		if (r != REASON_OK)
			continue;
		check_plan(&p, name, v2);
		if (!p.setting)
			continue;
		for (unsigned i = 0; i < p.n; i++)
			texts[i] = p.optional[i] && (how & HOW_MISSING << i) ? NULL : all[i];
		if (!write)
			check_get(&p, texts, 1 + how);
		else
			check_set(&p, value, texts);
	}
}

static void check_translation(const char *name, const char *value, const char *given)
{
	static struct translation t;
	const struct given pair = {name, given};
	enum reason r = translate(name, *value ? value : NULL, &pair, *given ? 1 : 0, &t);

	CHECK(is_known(r));
	CHECK(t.fault <= 1);
	CHECK(strnlen(t.neutral, PLAN_TEXT_MAX) < PLAN_TEXT_MAX);
	CHECK(strnlen(t.v1, PLAN_TEXT_MAX) < PLAN_TEXT_MAX);
	CHECK(strnlen(t.v2, PLAN_TEXT_MAX) < PLAN_TEXT_MAX);
	if (r == REASON_OK)
		CHECK((*t.v1 && *t.v2) || t.why);
}

/* Monotonic, and the smallest number of shares is the smallest. */
static void check_shares(uint32_t shares)
{
	unsigned weight = shares_to_weight(shares);
	unsigned long long least = weight_to_shares(weight);

	CHECK(weight <= 10000 && (weight > 0) == (shares > 0));
	if (shares < 2)
		return;
	CHECK(least >= 2 && least <= shares && shares_to_weight(least) == weight);
	CHECK(least == 2 || shares_to_weight(least - 1) == weight - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t how = input_byte(&in);
	uint32_t shares = input_u32(&in);
	_cleanup_free_ char *typed = input_text(&in);
	_cleanup_free_ char *value = input_text(&in);
	_cleanup_free_ char *one = input_text(&in);
	_cleanup_free_ char *two = input_text(&in);
	_cleanup_free_ char *three = input_text(&in);
	const char *const texts[PLAN_FILES_MAX] = {one, two, three, one};
	const char *name = how & HOW_TABLE ? names[shares % N_NAMES] : typed;

	if (!name)
		return 0;
	check_name(name, value, how, texts);
	check_translation(name, value, one);
	check_shares(shares);
	return 0;
}
