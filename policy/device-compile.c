/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rules to tables of breakpoints, see device-policy.h. A table begins as cells between all the
 * places where any rule begins or ends; the rules are painted over them in their order; neighbours
 * with the same verdicts become one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device-policy.h"
#include "device-source.h"

#define N_WORDS_MAX (DEVICE_POLICY_SIZE_MAX / 4)
#define KEY_END (1ull << 32)

struct build {
	uint32_t *words;
	size_t n;
	const struct device_rules *rules;
	uint8_t type; /* of the tables that are being made */
	/* for one table at a time; room for each rule's two ends, and for 0 */
	uint64_t *cuts;
	uint8_t *cells;
	size_t n_cuts;
	uint32_t spans[2 * (DEVICE_MINORS_MAX + 1)];
	unsigned n_spans;
};

/* Minors that get a table of their own, or all. */
struct minors {
	uint32_t first, last;
};

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static size_t sort_unique(uint64_t *values, size_t n)
{
	size_t kept = 0;

	qsort(values, n, sizeof(*values), compare);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || values[i] != values[kept - 1])
			values[kept++] = values[i];
	return kept;
}

static bool is_all_minors(const struct device_range *r)
{
	return r->first == 0 && r->last >= DEVICE_MINOR_MAX;
}

/* Minors of any major, which keys cannot express. */
static bool is_column(const struct device_range *r)
{
	return r->major == DEVICE_ANY && !is_all_minors(r) && r->first <= DEVICE_MINOR_MAX;
}

/* Where the rule begins and ends in the table for `m`; the bits of other minors never ask there.
 * False: it has no say. */
static bool keys_of(const struct device_range *r, const struct minors *m, uint64_t *ret_first,
	uint64_t *ret_end)
{
	if (r->last < m->first || r->first > m->last)
		return false;
	if (r->major == DEVICE_ANY) {
		/* a column covers all of these minors or none: they were cut at its ends */
		*ret_first = 0;
		*ret_end = KEY_END;
		return r->first <= m->first && r->last >= m->last;
	}
	if (r->major > DEVICE_MAJOR_MAX)
		return false;
	*ret_first = (uint64_t)r->major << 20 | (r->first > m->first ? r->first : 0);
	*ret_end = r->last < m->last ? ((uint64_t)r->major << 20 | r->last) + 1
				     : ((uint64_t)r->major + 1) << 20;
	return true;
}

static bool cells_of(const struct build *b, const struct device_range *r, const struct minors *m,
	size_t *ret_first, size_t *ret_end)
{
	uint64_t first, end;
	const uint64_t *at;

	if (!(r->types & b->type) || !keys_of(r, m, &first, &end))
		return false;
	at = bsearch(&first, b->cuts, b->n_cuts, sizeof(first), compare);
	*ret_first = (size_t)(at - b->cuts);
	at = bsearch(&end, b->cuts, b->n_cuts, sizeof(end), compare);
	*ret_end = at ? (size_t)(at - b->cuts) : b->n_cuts;
	return true;
}

static void cut(struct build *b, const struct minors *m)
{
	uint64_t first, end;
	size_t n = 0;

	b->cuts[n++] = 0;
	for (unsigned i = 0; i < b->rules->n; i++) {
		const struct device_range *r = &b->rules->rule[i].range;

		if (!(r->types & b->type) || !keys_of(r, m, &first, &end))
			continue;
		b->cuts[n++] = first;
		if (end < KEY_END)
			b->cuts[n++] = end;
	}
	b->n_cuts = sort_unique(b->cuts, n);
}

/* The requests, as bits 1 << access, that are allowed where these bits of access are. */
static uint8_t verdicts_of(uint8_t allowed, bool none)
{
	uint8_t bits = none;

	for (unsigned access = 1; access <= DEVICE_ALL; access++)
		if ((access & ~allowed) == 0)
			bits |= (uint8_t)(1u << access);
	return bits;
}

static void paint(struct build *b, const struct minors *m)
{
	uint8_t verdicts[DEVICE_ALL + 1];
	size_t first, end;

	for (unsigned i = 0; i <= DEVICE_ALL; i++)
		verdicts[i] = verdicts_of((uint8_t)i, b->rules->allow || i != 0);
	memset(b->cells, b->rules->allow ? DEVICE_ALL : 0, b->n_cuts);
	for (unsigned i = 0; i < b->rules->n; i++) {
		const struct device_rule *rule = &b->rules->rule[i];
		uint8_t set = rule->allow ? rule->access : 0;
		uint8_t keep = (uint8_t)~rule->access;

		if (!cells_of(b, &rule->range, m, &first, &end))
			continue;
		for (size_t cell = first; cell < end; cell++)
			b->cells[cell] = (uint8_t)((b->cells[cell] & keep) | set);
	}
	for (size_t cell = 0; cell < b->n_cuts; cell++)
		b->cells[cell] = verdicts[b->cells[cell] & DEVICE_ALL];
}

/* Exceptions of v1 have no order: each denies what it touches, or allows what it contains. */
static void paint_v1(struct build *b, const struct minors *m)
{
	size_t first, end;

	memset(b->cells, b->rules->allow ? 0xff : 0, b->n_cuts);
	for (unsigned i = 0; i < b->rules->n; i++) {
		const struct device_rule *rule = &b->rules->rule[i];
		uint8_t contains = verdicts_of(rule->access, true);
		uint8_t spares = verdicts_of((uint8_t)~rule->access & DEVICE_ALL, true);

		if (!cells_of(b, &rule->range, m, &first, &end))
			continue;
		for (size_t cell = first; cell < end; cell++)
			if (b->rules->allow)
				b->cells[cell] &= spares;
			else
				b->cells[cell] |= contains;
	}
}

static void merge(struct build *b)
{
	size_t kept = 1;

	for (size_t i = 1; i < b->n_cuts; i++) {
		if (b->cells[i] == b->cells[kept - 1])
			continue;
		b->cuts[kept] = b->cuts[i];
		b->cells[kept++] = b->cells[i];
	}
	b->n_cuts = kept;
}

static size_t table_words(size_t n)
{
	return n + (n + 3) / 4;
}

/* One that is there already and says the same. */
static uint32_t find_same(const struct build *b, const uint32_t *table)
{
	for (unsigned i = 0; i < b->n_spans; i++)
		if (b->spans[i] >> 16 == b->n_cuts &&
			memcmp(b->words + (b->spans[i] & 0xffff), table,
				table_words(b->n_cuts) * sizeof(*table)) == 0)
			return b->spans[i];
	return 0;
}

static int put_table(struct build *b, uint32_t *ret_span)
{
	uint32_t *table = b->words + b->n;
	uint32_t same;

	if (table_words(b->n_cuts) > N_WORDS_MAX - b->n)
		return -E2BIG;
	for (size_t i = 0; i < b->n_cuts; i++)
		table[i] = (uint32_t)b->cuts[i];
	/* what is behind the last byte is zero, and so is not different in the same table */
	memset(table + b->n_cuts, 0, (table_words(b->n_cuts) - b->n_cuts) * sizeof(*table));
	memcpy(table + b->n_cuts, b->cells, b->n_cuts);
	same = find_same(b, table);
	*ret_span = same ? same : (uint32_t)(b->n | b->n_cuts << 16);
	if (!same) {
		b->spans[b->n_spans++] = *ret_span;
		b->n += table_words(b->n_cuts);
	}
	return 0;
}

static int put_minors_table(struct build *b, const struct minors *m, uint32_t *ret_span)
{
	cut(b, m);
	if (b->rules->v1)
		paint_v1(b, m);
	else
		paint(b, m);
	merge(b);
	return put_table(b, ret_span);
}

/* Does a rule for minors of any major speak of these? */
static bool has_column(const struct build *b, uint32_t minor)
{
	for (unsigned i = 0; i < b->rules->n; i++) {
		const struct device_range *r = &b->rules->rule[i].range;

		if ((r->types & b->type) && is_column(r) && r->first <= minor && minor <= r->last)
			return true;
	}
	return false;
}

/* Minors at which the columns begin and end, into b->cuts. */
static void cut_columns(struct build *b)
{
	size_t n = 0;

	b->cuts[n++] = 0;
	for (unsigned i = 0; i < b->rules->n; i++) {
		const struct device_range *r = &b->rules->rule[i].range;

		if (!(r->types & b->type) || !is_column(r))
			continue;
		b->cuts[n++] = r->first;
		if (r->last < DEVICE_MINOR_MAX)
			b->cuts[n++] = (uint64_t)r->last + 1;
	}
	b->n_cuts = sort_unique(b->cuts, n);
}

/* All minors that no column speaks of share a table, in which columns have no say. */
static int put_columns(struct build *b, const uint32_t *starts, size_t n, uint32_t *spans)
{
	const struct minors all = {0, DEVICE_MINOR_MAX};
	uint32_t others = 0;
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		struct minors m = {starts[i], i + 1 < n ? starts[i + 1] - 1 : DEVICE_MINOR_MAX};

		if (has_column(b, m.first)) {
			r = put_minors_table(b, &m, &spans[i]);
			continue;
		}
		if (others == 0)
			r = put_minors_table(b, &all, &others);
		spans[i] = others;
	}
	return r;
}

static int put_type(struct build *b, unsigned index)
{
	const struct minors all = {0, DEVICE_MINOR_MAX};
	uint32_t starts[DEVICE_MINORS_MAX], spans[DEVICE_MINORS_MAX];
	size_t n;
	int r;

	cut_columns(b);
	n = b->n_cuts;
	if (n == 1 && !has_column(b, 0))
		return put_minors_table(b, &all, &b->words[DEVICE_POLICY_TABLE + index]);
	if (n > DEVICE_MINORS_MAX)
		return -E2BIG;
	for (size_t i = 0; i < n; i++)
		starts[i] = (uint32_t)b->cuts[i];
	r = put_columns(b, starts, n, spans);
	if (r < 0)
		return r;
	if (2 * n > N_WORDS_MAX - b->n)
		return -E2BIG;
	memcpy(b->words + b->n, starts, n * sizeof(*starts));
	memcpy(b->words + b->n + n, spans, n * sizeof(*spans));
	b->words[DEVICE_POLICY_MINORS + index] = (uint32_t)(b->n | n << 16);
	b->n += 2 * n;
	return 0;
}

static int put_source(struct build *b, const struct device_rules *source, size_t max, size_t *ret)
{
	static const size_t classes[] = DEVICE_POLICY_CLASSES;
	size_t at = b->n * sizeof(*b->words), used;
	int r = device_source_put(
		source, (uint8_t *)b->words + at, DEVICE_POLICY_SIZE_MAX - at, &used);

	if (r < 0)
		return r;
	b->words[DEVICE_POLICY_HEAD] =
		DEVICE_POLICY_VERSION | (source->allow ? DEVICE_POLICY_ALLOW << 8 : 0) |
		(source->v1 ? DEVICE_POLICY_V1 << 8 : 0) | (uint32_t)source->n << 16;
	b->words[DEVICE_POLICY_SOURCE] = (uint32_t)(at | used << 16);
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (at + used <= classes[i] && classes[i] <= max) {
			*ret = classes[i];
			return 0;
		}
	return -E2BIG;
}

static int compile(
	struct build *b, const struct device_rules *source, size_t max, struct device_policy *ret)
{
	static const uint8_t types[] = {DEVICE_BLOCK, DEVICE_CHAR};
	size_t size = 0, n = 2 * (size_t)b->rules->n + 1;
	void *data;
	int r = 0;

	b->words = calloc(1, DEVICE_POLICY_SIZE_MAX);
	b->cuts = calloc(n, sizeof(*b->cuts));
	b->cells = calloc(n, 1);
	if (!b->words || !b->cuts || !b->cells)
		return -ENOMEM;
	b->n = DEVICE_POLICY_TABLES;
	for (unsigned i = 0; i < 2 && r == 0; i++) {
		b->type = types[i];
		r = put_type(b, i);
	}
	if (r == 0)
		r = put_source(b, source, max, &size);
	if (r < 0)
		return r;
	data = calloc(1, size);
	if (!data)
		return -ENOMEM;
	/* a table that was there already may have left its copy behind: only what is used */
	memcpy(data, b->words,
		(b->words[DEVICE_POLICY_SOURCE] & 0xffff) + (b->words[DEVICE_POLICY_SOURCE] >> 16));
	*ret = (struct device_policy){size, data};
	return 0;
}

int device_policy_compile(const struct device_rules *source, const struct device_rules *resolved,
	size_t max, struct device_policy *ret)
{
	struct build b = {.rules = resolved};
	int r = compile(&b, source, max, ret);

	free(b.words);
	free(b.cuts);
	free(b.cells);
	return r;
}
