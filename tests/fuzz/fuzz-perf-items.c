/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Items of perf: an item's text, then three that are taken for records: a cgroup's, what is above
 * it, and what is given to it or taken from it. */
#include <errno.h>
#include <string.h>

#include "../../daemon/cleanup.h"
#include "../../policy/perf-items.h"
#include "fuzz.h"

static bool same(const struct perf_items *a, const struct perf_items *b)
{
	if (a->n != b->n)
		return false;
	for (unsigned k = 0; k < a->n; k++)
		if (a->item[k].kind != b->item[k].kind ||
			strcmp(a->item[k].name, b->item[k].name) != 0)
			return false;
	return true;
}

static void check_item(const char *text)
{
	char printed[PERF_ITEM_TEXT_MAX + 1];
	struct perf_item item;
	int r = perf_item_parse(text, &item);

	CHECK(r == 0 || r == -EINVAL);
	if (r < 0)
		return;
	perf_item_print(&item, printed);
	CHECK(strcmp(printed, text) == 0);
	/* what becomes a path leads nowhere else */
	CHECK(!strchr(text, '/') && strcmp(item.name, "..") != 0 && strcmp(item.name, ".") != 0);
	CHECK((item.kind >= PERF_ITEM_PMU) == (item.name[0] != '\0'));
	CHECK((item.kind == PERF_ITEM_TRACEPOINT) == !!strchr(item.name, ':'));
}

static void check_sorted(const struct perf_items *items)
{
	CHECK(items->n <= PERF_ITEMS_MAX);
	for (unsigned k = 1; k < items->n; k++) {
		const struct perf_item *a = &items->item[k - 1], *b = &items->item[k];

		CHECK(a->kind < b->kind || (a->kind == b->kind && strcmp(a->name, b->name) < 0));
	}
}

static bool record_take(const char *text, struct perf_record *ret)
{
	char printed[PERF_RECORD_TEXT_MAX + 1], again[PERF_RECORD_TEXT_MAX + 1];
	struct perf_record read;
	int r = perf_record_parse(text, ret);

	CHECK(r == 0 || r == -EINVAL || r == -E2BIG);
	if (r < 0)
		return false;
	check_sorted(&ret->given);
	check_sorted(&ret->limit);
	/* blanks between may be fewer than are printed */
	r = perf_record_print(ret, printed, sizeof(printed));
	CHECK(r == 0 || (r == -E2BIG && strlen(text) > PERF_RECORD_TEXT_MAX - 4));
	if (r < 0)
		return false;
	CHECK(perf_record_parse(printed, &read) == 0);
	CHECK(read.limited == ret->limited && same(&read.given, &ret->given));
	CHECK(same(&read.limit, &ret->limit));
	CHECK(perf_record_print(&read, again, sizeof(again)) == 0 && strcmp(again, printed) == 0);
	CHECK(perf_record_empty(ret) == (*printed == '\0'));
	return true;
}

static void check_sets(const struct perf_items *a, const struct perf_items *b)
{
	struct perf_items both = *a, other = *b, all = *a;

	perf_items_intersect(&both, b);
	perf_items_intersect(&other, a);
	CHECK(same(&both, &other));
	check_sorted(&both);
	CHECK(!perf_items_beyond(&both, a) && !perf_items_beyond(&both, b));
	for (unsigned k = 0; k < a->n; k++)
		CHECK(perf_items_have(&both, &a->item[k]) == perf_items_have(b, &a->item[k]));
	if (perf_items_union(&all, b) < 0) {
		CHECK(same(&all, a));
		return;
	}
	check_sorted(&all);
	CHECK(!perf_items_beyond(a, &all) && !perf_items_beyond(b, &all));
	for (unsigned k = 0; k < all.n; k++)
		CHECK(perf_items_have(a, &all.item[k]) || perf_items_have(b, &all.item[k]));
}

/* What a cgroup has; false: too many. */
static bool have(
	const struct perf_record *record, const struct perf_items *above, struct perf_items *ret)
{
	*ret = *above;
	if (perf_items_descend(ret, record, NULL) < 0)
		return false;
	check_sorted(ret);
	for (unsigned k = 0; k < ret->n; k++)
		CHECK(perf_items_have(above, &ret->item[k]) ||
			perf_items_have(&record->given, &ret->item[k]));
	return true;
}

static void check_grant(const struct perf_record *record, const struct perf_items *above, bool host,
	const struct perf_items *items)
{
	const struct perf_item *beyond = NULL;
	struct perf_record then = *record;
	struct perf_items before, after;
	int r = perf_record_grant(&then, above, host, items, &beyond);

	CHECK(r == 0 || r == -E2BIG || (r == -EACCES && !host));
	CHECK((r == -EACCES) == !!beyond);
	if (beyond)
		CHECK(!perf_items_have(above, beyond) && perf_items_have(items, beyond));
	if (r < 0) {
		CHECK(same(&then.given, &record->given) && same(&then.limit, &record->limit));
		return;
	}
	if (!host)
		CHECK(same(&then.given, &record->given));
	if (have(&then, above, &after)) {
		CHECK(!perf_items_beyond(items, &after));
		if (have(record, above, &before))
			CHECK(!perf_items_beyond(&before, &after));
	}
}

static void check_revoke(const struct perf_record *record, const struct perf_items *above,
	const struct perf_items *items)
{
	struct perf_record then = *record;
	struct perf_items before, after;
	int r = perf_record_revoke(&then, above, items);

	CHECK(r == 0 || r == -E2BIG);
	if (r < 0) {
		CHECK(same(&then.given, &record->given) && same(&then.limit, &record->limit));
		return;
	}
	if (!have(&then, above, &after))
		return;
	for (unsigned k = 0; k < items->n; k++)
		CHECK(!perf_items_have(&after, &items->item[k]));
	if (!have(record, above, &before))
		return;
	CHECK(!perf_items_beyond(&after, &before));
	/* there was nothing of it, and nothing changed */
	for (unsigned k = 0; k < items->n; k++)
		if (perf_items_have(&before, &items->item[k]) ||
			perf_items_have(&record->given, &items->item[k]))
			return;
	CHECK(then.limited == record->limited && same(&then.given, &record->given));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	_cleanup_free_ char *item = input_text(&in);
	_cleanup_free_ char *own = input_text(&in);
	_cleanup_free_ char *over = input_text(&in);
	_cleanup_free_ char *some = input_text(&in);
	struct perf_record record, above, items;

	check_item(item);
	if (!record_take(own, &record) || !record_take(over, &above) || !record_take(some, &items))
		return 0;
	check_sets(&above.given, &items.given);
	check_sets(&record.given, &record.limit);
	check_grant(&record, &above.given, true, &items.given);
	check_grant(&record, &above.given, false, &items.given);
	check_revoke(&record, &above.given, &items.given);
	return 0;
}
