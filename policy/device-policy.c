/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device-policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device-source.h"

#define KEY_END (1ull << 32)

void device_policy_done(struct device_policy *p)
{
	free(p->data);
	*p = (struct device_policy){};
}

static bool is_zero(const uint8_t *data, size_t size)
{
	return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

/* Large enough for what the program reads without looking at the size. */
static bool is_policy(size_t size)
{
	return size >= DEVICE_POLICY_TABLES * sizeof(uint32_t) && size <= DEVICE_POLICY_SIZE_MAX &&
	       size % sizeof(uint32_t) == 0;
}

int device_policy_source(const void *data, size_t size, struct device_rules *ret)
{
	const uint32_t *words = data;
	struct device_rules rules = {};
	size_t at, used;
	uint32_t head, flags;
	int r;

	if (is_zero(data, size))
		return -ENODATA;
	if (!is_policy(size))
		return -EINVAL;
	head = words[DEVICE_POLICY_HEAD];
	flags = head >> 8 & 0xff;
	at = words[DEVICE_POLICY_SOURCE] & 0xffff;
	used = words[DEVICE_POLICY_SOURCE] >> 16;
	if ((head & 0xff) != DEVICE_POLICY_VERSION ||
		(flags & ~(uint32_t)(DEVICE_POLICY_ALLOW | DEVICE_POLICY_V1)) || at > size ||
		used > size - at)
		return -EINVAL;
	rules.allow = flags & DEVICE_POLICY_ALLOW;
	rules.v1 = flags & DEVICE_POLICY_V1;
	r = device_source_get((const uint8_t *)data + at, used, head >> 16, &rules);
	if (r < 0) {
		device_rules_done(&rules);
		return r;
	}
	*ret = rules;
	return 0;
}

bool device_policy_check(
	const void *data, size_t size, uint8_t type, uint32_t major, uint32_t minor, uint8_t access)
{
	if (!is_policy(size))
		return is_zero(data, size);
	return device_policy_decide(data, size / sizeof(uint32_t), type, major, minor, access);
}

struct box {
	uint32_t major_first, major_last;
	uint32_t first, last;
	uint8_t access;
};

/* The first key from `key` on with a minor of the box. */
static uint64_t next_key(const struct box *box, uint64_t key)
{
	uint32_t minor = key & DEVICE_MINOR_MAX;

	if (minor < box->first)
		return key - minor + box->first;
	if (minor > box->last)
		return key - minor + DEVICE_MINOR_MAX + 1 + box->first;
	return key;
}

static bool table_covers(
	const uint32_t *words, size_t n_words, uint32_t span, const struct box *box)
{
	size_t first = span & 0xffff, n = span >> 16;
	const uint8_t *verdicts;
	uint64_t end = ((uint64_t)box->major_last << 20 | box->last) + 1;

	if (n == 0 || first + n + (n + 3) / 4 > n_words)
		return false;
	verdicts = (const uint8_t *)(words + first + n);
	for (size_t i = 0; i < n; i++) {
		uint64_t from = words[first + i];
		uint64_t to = i + 1 < n ? words[first + i + 1] : KEY_END;
		uint64_t least = (uint64_t)box->major_first << 20 | box->first;

		if (next_key(box, from < least ? least : from) < (to < end ? to : end) &&
			!(verdicts[i] >> box->access & 1))
			return false;
	}
	return true;
}

static bool type_covers(
	const uint32_t *words, size_t n_words, unsigned index, const struct box *box)
{
	uint32_t minors = words[DEVICE_POLICY_MINORS + index];
	size_t first = minors & 0xffff, n = minors >> 16;

	if (!minors)
		return table_covers(words, n_words, words[DEVICE_POLICY_TABLE + index], box);
	if (n == 0 || first + 2 * n > n_words)
		return false;
	for (size_t i = 0; i < n; i++) {
		uint32_t from = words[first + i];
		uint32_t to = i + 1 < n ? words[first + i + 1] - 1 : DEVICE_MINOR_MAX;
		struct box part = *box;

		part.first = from > box->first ? from : box->first;
		part.last = to < box->last ? to : box->last;
		if (part.first <= part.last &&
			!table_covers(words, n_words, words[first + n + i], &part))
			return false;
	}
	return true;
}

bool device_policy_covers(
	const void *data, size_t size, const struct device_range *range, uint8_t access)
{
	const uint32_t *words = data;
	struct box box = {
		.major_first = range->major == DEVICE_ANY ? 0 : range->major,
		.major_last = range->major == DEVICE_ANY ? DEVICE_MAJOR_MAX : range->major,
		.first = range->first,
		.last = range->last < DEVICE_MINOR_MAX ? range->last : DEVICE_MINOR_MAX,
		.access = access & DEVICE_ALL,
	};

	if (!is_policy(size))
		return is_zero(data, size);
	/* no device has such numbers */
	if (words[DEVICE_POLICY_HEAD] == 0 || box.major_first > DEVICE_MAJOR_MAX ||
		box.first > box.last)
		return true;
	for (unsigned i = 0; i < 2; i++)
		if ((range->types & (i == 0 ? DEVICE_BLOCK : DEVICE_CHAR)) &&
			!type_covers(words, size / sizeof(*words), i, &box))
			return false;
	return true;
}
