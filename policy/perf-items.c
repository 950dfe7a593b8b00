/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "perf-items.h"

#include <errno.h>
#include <string.h>

#define BLANKS " \t"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

static const struct {
	const char *word; /* with ':': a name follows */
	unsigned parts;	  /* of the name, with ':' between */
} kinds[PERF_ITEM_KIND_MAX] = {
	[PERF_ITEM_CPU] = {"cpu", 0},
	[PERF_ITEM_KERNEL] = {"kernel", 0},
	[PERF_ITEM_GPU] = {"gpu", 0},
	[PERF_ITEM_POWER] = {"power", 0},
	[PERF_ITEM_PMU] = {"pmu:", 1},
	[PERF_ITEM_TRACEPOINT] = {"tracepoint:", 2},
};

/* ---- an item */

/* They become names of directories in sysfs and tracefs. */
static bool part_valid(const char *part, size_t len)
{
	return len > 0 && !(part[0] == '.' && (len == 1 || (len == 2 && part[1] == '.')));
}

static bool name_valid(const char *name, unsigned parts)
{
	size_t len;

	for (; parts > 0; parts--, name += len + 1) {
		len = strspn(name, LETTERS);
		if (!part_valid(name, len) || name[len] != (parts > 1 ? ':' : '\0'))
			return false;
	}
	return true;
}

int perf_item_parse(const char *text, struct perf_item *ret)
{
	for (unsigned k = 0; k < PERF_ITEM_KIND_MAX; k++) {
		size_t word = strlen(kinds[k].word);
		const char *name = text + word;

		if (strncmp(text, kinds[k].word, word) != 0)
			continue;
		if (kinds[k].parts ? !name_valid(name, kinds[k].parts) : *name != '\0')
			continue;
		if (strlen(name) > PERF_NAME_MAX)
			return -EINVAL;
		*ret = (struct perf_item){.kind = k};
		memcpy(ret->name, name, strlen(name) + 1);
		return 0;
	}
	return -EINVAL;
}

void perf_item_print(const struct perf_item *item, char *buf)
{
	size_t word = strlen(kinds[item->kind].word);

	memcpy(buf, kinds[item->kind].word, word);
	memcpy(buf + word, item->name, strlen(item->name) + 1);
}

/* ---- sets of items */

static int compare(const struct perf_item *a, const struct perf_item *b)
{
	return a->kind != b->kind ? (a->kind < b->kind ? -1 : 1) : strcmp(a->name, b->name);
}

/* Where it is, or is to be. */
static bool find(const struct perf_items *items, const struct perf_item *item, unsigned *ret)
{
	int order = 1;

	for (*ret = 0; *ret < items->n; (*ret)++) {
		order = compare(&items->item[*ret], item);
		if (order >= 0)
			break;
	}
	return order == 0;
}

static bool has_kind(const struct perf_items *items, enum perf_item_kind kind)
{
	const struct perf_item item = {.kind = kind};
	unsigned at;

	return find(items, &item, &at);
}

int perf_items_add(struct perf_items *items, const struct perf_item *item)
{
	/* it may be one of those that are moved */
	const struct perf_item added = *item;
	unsigned at;

	if (find(items, &added, &at))
		return 0;
	if (items->n == PERF_ITEMS_MAX)
		return -E2BIG;
	memmove(&items->item[at + 1], &items->item[at], (items->n - at) * sizeof(added));
	items->item[at] = added;
	items->n++;
	return 0;
}

static void drop(struct perf_items *items, const struct perf_item *item)
{
	unsigned at;

	if (!find(items, item, &at))
		return;
	items->n--;
	memmove(&items->item[at], &items->item[at + 1], (items->n - at) * sizeof(*item));
	memset(&items->item[items->n], 0, sizeof(*item));
}

void perf_items_remove(struct perf_items *items, const struct perf_item *item)
{
	const struct perf_item removed = *item, kernel = {.kind = PERF_ITEM_KERNEL};

	drop(items, &removed);
	if (removed.kind == PERF_ITEM_CPU)
		drop(items, &kernel);
}

bool perf_items_have(const struct perf_items *items, const struct perf_item *item)
{
	unsigned at;

	return find(items, item, &at) ||
	       (item->kind == PERF_ITEM_CPU && has_kind(items, PERF_ITEM_KERNEL));
}

const struct perf_item *perf_items_beyond(
	const struct perf_items *items, const struct perf_items *in)
{
	for (unsigned k = 0; k < items->n; k++)
		if (!perf_items_have(in, &items->item[k]))
			return &items->item[k];
	return NULL;
}

int perf_items_union(struct perf_items *items, const struct perf_items *more)
{
	struct perf_items both = *items;

	for (unsigned k = 0; k < more->n; k++) {
		int r = perf_items_add(&both, &more->item[k]);

		if (r < 0)
			return r;
	}
	*items = both;
	return 0;
}

/* There is room: names are in both, and `cpu` comes in place of a `kernel` of one. */
void perf_items_intersect(struct perf_items *items, const struct perf_items *with)
{
	const struct perf_item cpu = {.kind = PERF_ITEM_CPU};
	struct perf_items both = {0};

	for (unsigned k = 0; k < items->n; k++)
		if (perf_items_have(with, &items->item[k]))
			perf_items_add(&both, &items->item[k]);
	if (has_kind(with, PERF_ITEM_CPU) && perf_items_have(items, &cpu))
		perf_items_add(&both, &cpu);
	*items = both;
}

/* ---- a cgroup's record */

/* The items up to `end`; a '|' before it is none. */
static int items_parse(const char *text, const char *end, struct perf_items *ret)
{
	char word[PERF_ITEM_TEXT_MAX + 1];
	struct perf_item item;
	int r = 0;

	for (text += strspn(text, BLANKS); r == 0 && text < end; text += strspn(text, BLANKS)) {
		size_t len = strcspn(text, BLANKS "|");

		if (len > PERF_ITEM_TEXT_MAX)
			return -EINVAL;
		memcpy(word, text, len);
		word[len] = '\0';
		text += len;
		r = perf_item_parse(word, &item);
		if (r == 0)
			r = perf_items_add(ret, &item);
	}
	return r;
}

int perf_record_parse(const char *text, struct perf_record *ret)
{
	struct perf_record record = {0};
	size_t len = strlen(text);
	const char *bar = strchr(text, '|');
	int r;

	if (len > PERF_RECORD_TEXT_MAX)
		return -E2BIG;
	r = items_parse(text, bar ? bar : text + len, &record.given);
	if (r == 0 && bar) {
		record.limited = true;
		r = items_parse(bar + 1, text + len, &record.limit);
	}
	if (r == 0)
		*ret = record;
	return r;
}

static int text_add(char *buf, size_t size, size_t *len, const char *word)
{
	size_t n = strlen(word), blank = *len > 0;

	if (*len + blank + n >= size || *len + blank + n > PERF_RECORD_TEXT_MAX)
		return -E2BIG;
	if (blank)
		buf[(*len)++] = ' ';
	memcpy(buf + *len, word, n + 1);
	*len += n;
	return 0;
}

static int items_print(const struct perf_items *items, char *buf, size_t size, size_t *len)
{
	char word[PERF_ITEM_TEXT_MAX + 1];
	int r = 0;

	for (unsigned k = 0; k < items->n && r == 0; k++) {
		perf_item_print(&items->item[k], word);
		r = text_add(buf, size, len, word);
	}
	return r;
}

int perf_record_print(const struct perf_record *record, char *buf, size_t size)
{
	size_t len = 0;
	int r;

	if (size == 0)
		return -E2BIG;
	buf[0] = '\0';
	r = items_print(&record->given, buf, size, &len);
	if (r == 0 && record->limited)
		r = text_add(buf, size, &len, "|");
	if (r == 0 && record->limited)
		r = items_print(&record->limit, buf, size, &len);
	return r;
}

bool perf_record_empty(const struct perf_record *record)
{
	return !record->limited && record->given.n == 0;
}

/* What comes from above, within the limit. */
static void inherit(struct perf_items *have, const struct perf_record *record)
{
	if (record->limited)
		perf_items_intersect(have, &record->limit);
}

int perf_items_descend(
	struct perf_items *have, const struct perf_record *record, const struct perf_items *policy)
{
	struct perf_items own = *have;
	int r;

	inherit(&own, record);
	r = perf_items_union(&own, &record->given);
	if (r == 0 && policy)
		r = perf_items_union(&own, policy);
	if (r == 0)
		*have = own;
	return r;
}

int perf_record_grant(struct perf_record *record, const struct perf_items *above, bool host,
	const struct perf_items *items, const struct perf_item **ret_beyond)
{
	const struct perf_item *beyond;

	if (host)
		return perf_items_union(&record->given, items);
	beyond = perf_items_beyond(items, above);
	if (beyond) {
		*ret_beyond = beyond;
		return -EACCES;
	}
	/* without a limit it has them */
	return record->limited ? perf_items_union(&record->limit, items) : 0;
}

/* From a limit: who loses the kernel's side keeps the `cpu` that was in it. */
static int limit_remove(struct perf_items *limit, const struct perf_item *item)
{
	const struct perf_item cpu = {.kind = PERF_ITEM_CPU};
	bool rest = item->kind == PERF_ITEM_KERNEL && has_kind(limit, PERF_ITEM_KERNEL);

	perf_items_remove(limit, item);
	return rest ? perf_items_add(limit, &cpu) : 0;
}

int perf_record_revoke(
	struct perf_record *record, const struct perf_items *above, const struct perf_items *items)
{
	struct perf_record left = *record;
	int r = 0;

	for (unsigned k = 0; k < items->n && r == 0; k++) {
		const struct perf_item *item = &items->item[k];
		struct perf_items inherited = *above;

		perf_items_remove(&left.given, item);
		inherit(&inherited, &left);
		if (!perf_items_have(&inherited, item))
			continue;
		if (!left.limited)
			left.limit = *above;
		left.limited = true;
		r = limit_remove(&left.limit, item);
	}
	if (r == 0)
		*record = left;
	return r;
}
