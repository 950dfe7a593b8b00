/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rules as people write them to exceptions of v1, by way of the compiled form, in which devices
 * with the same verdicts lie side by side.
 *
 * An exception is for all devices of a type, for a major, for a minor of any major, or for one
 * device. Where v1's behaviour is DENY one exception must have all that a device is allowed, and
 * where it is ALLOW they may share what it is denied. So from the widest kind to the narrowest each
 * gets what all of its devices have in common, and what then is missing cannot be said.
 */
#include <errno.h>
#include <string.h>

#include "device-policy.h"
#include "device-v1.h"

/* A v1 range is said minor by minor. */
#define MINORS_MAX 256

struct from {
	const uint32_t *words;
	size_t n_words;
	unsigned index;			   /* of the type */
	bool allow;			   /* v1's behaviour */
	uint8_t all;			   /* what all devices of the type have */
	uint8_t column[DEVICE_MINORS_MAX]; /* what all majors have there */
	struct device_rules *ret;
};

/* Minors of one major with the same exceptions. */
struct piece {
	uint32_t first, last;
	uint8_t access;
	unsigned column;
};

static uint32_t span_of(const struct from *f, uint32_t minor, struct piece *ret)
{
	uint32_t minors = f->words[DEVICE_POLICY_MINORS + f->index];
	size_t start = minors & 0xffff, n = minors >> 16, at;

	ret->column = 0;
	ret->last = DEVICE_MINOR_MAX;
	if (!minors)
		return f->words[DEVICE_POLICY_TABLE + f->index];
	at = device_policy_find(f->words, f->n_words, minors, minor);
	ret->column = (unsigned)(at - start);
	if (ret->column + 1 < n)
		ret->last = f->words[at + 1] - 1;
	return f->words[at + n];
}

static struct piece piece_at(const struct from *f, uint32_t major, uint32_t minor)
{
	struct piece p = {.first = minor};
	uint32_t span = span_of(f, minor, &p), key = major << 20 | minor;
	size_t start = span & 0xffff, n = span >> 16;
	size_t at = device_policy_find(f->words, f->n_words, span, key);
	uint8_t verdicts = ((const uint8_t *)(f->words + start + n))[at - start], allowed = 0;

	for (uint8_t bit = 1; bit < DEVICE_ALL; bit <<= 1)
		if (verdicts >> bit & 1)
			allowed |= bit;
	p.access = f->allow ? DEVICE_ALL & (uint8_t)~allowed : allowed;
	if (at - start + 1 < n && f->words[at + 1] - key <= p.last - minor)
		p.last = minor + (f->words[at + 1] - key) - 1;
	return p;
}

/* False behind the last piece of the major. Begin with one whose last is DEVICE_ANY. */
static bool next_piece(const struct from *f, uint32_t major, struct piece *p)
{
	if (p->last == DEVICE_MINOR_MAX)
		return false;
	*p = piece_at(f, major, p->last + 1);
	return true;
}

static void find_common(struct from *f)
{
	f->all = DEVICE_ALL;
	memset(f->column, DEVICE_ALL, sizeof(f->column));
	for (uint32_t major = 0; major <= DEVICE_MAJOR_MAX; major++)
		for (struct piece p = {.last = DEVICE_ANY}; next_piece(f, major, &p);) {
			f->all &= p.access;
			f->column[p.column] &= p.access;
		}
}

/* Is it said, with these at hand? */
static bool is_said(const struct from *f, uint8_t access, uint8_t a, uint8_t b, uint8_t c)
{
	return f->allow ? (a | b | c) == access
			: access == a || access == b || access == c || access == 0;
}

static int put(struct from *f, uint32_t major, uint32_t minor, uint8_t access)
{
	bool any = minor == DEVICE_ANY;
	struct device_rule rule = {
		.allow = !f->allow,
		.access = access,
		.range =
			{
				.types = f->index == 0 ? DEVICE_BLOCK : DEVICE_CHAR,
				.access = DEVICE_ALL,
				.major = major,
				.first = any ? 0 : minor,
				.last = any ? DEVICE_MINOR_MAX : minor,
			},
	};
	int r = device_rules_add(f->ret, &rule);

	return r == -E2BIG ? -EOPNOTSUPP : r;
}

static int put_minors(struct from *f, uint32_t major, uint32_t first, uint32_t last, uint8_t access)
{
	int r = 0;

	if (last - first >= MINORS_MAX)
		return -EOPNOTSUPP;
	for (uint32_t minor = first; minor <= last && r == 0; minor++)
		r = put(f, major, minor, access);
	return r;
}

static int put_columns(struct from *f)
{
	uint32_t minors = f->words[DEVICE_POLICY_MINORS + f->index];
	const uint32_t *starts = f->words + (minors & 0xffff);
	size_t n = minors >> 16;
	int r = 0;

	if (n == 0)
		f->column[0] = 0;
	for (size_t i = 0; i < n && r == 0; i++) {
		uint32_t last = i + 1 < n ? starts[i + 1] - 1 : DEVICE_MINOR_MAX;

		if (last - starts[i] >= MINORS_MAX)
			f->column[i] = 0;
		else if (!is_said(f, f->column[i], f->all, 0, 0))
			r = put_minors(f, DEVICE_ANY, starts[i], last, f->column[i]);
	}
	return r;
}

static int put_major(struct from *f, uint32_t major)
{
	uint8_t common = DEVICE_ALL;
	int r = 0;

	for (struct piece p = {.last = DEVICE_ANY}; next_piece(f, major, &p);)
		common &= p.access;
	if (!is_said(f, common, f->all, 0, 0))
		r = put(f, major, DEVICE_ANY, common);
	for (struct piece p = {.last = DEVICE_ANY}; r == 0 && next_piece(f, major, &p);)
		if (!is_said(f, p.access, f->all, common, f->column[p.column]))
			r = put_minors(f, major, p.first, p.last, p.access);
	return r;
}

static int put_type(struct from *f)
{
	int r = 0;

	find_common(f);
	if (f->all)
		r = put(f, DEVICE_ANY, DEVICE_ANY, f->all);
	if (r == 0)
		r = put_columns(f);
	for (uint32_t major = 0; major <= DEVICE_MAJOR_MAX && r == 0; major++)
		r = put_major(f, major);
	return r;
}

int device_v1_from(const struct device_rules *resolved, struct device_rules *ret)
{
	struct device_rules out = {.allow = resolved->allow, .v1 = true};
	struct from f = {.allow = resolved->allow, .ret = &out};
	const struct device_rules none = {};
	struct device_policy p;
	int r;

	if (resolved->v1)
		return device_rules_copy(ret, resolved);
	r = device_policy_compile(&none, resolved, DEVICE_POLICY_SIZE_MAX, &p);
	if (r < 0)
		return r == -E2BIG ? -EOPNOTSUPP : r;
	f.words = p.data;
	f.n_words = p.size / sizeof(uint32_t);
	for (f.index = 0; f.index < 2 && r == 0; f.index++)
		r = put_type(&f);
	device_policy_done(&p);
	if (r < 0) {
		device_rules_done(&out);
		return r;
	}
	*ret = out;
	return 0;
}
