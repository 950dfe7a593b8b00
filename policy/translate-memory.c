/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory: v1 limits memory, and memory with swap (memsw); v2 memory, and swap. So one name sets
 * what two files hold, and where both are set the order of the writes counts: never is more allowed
 * in between than before and after, and v1's kernel takes no memsw below the limit.
 */
#include <string.h>

#include "convert.h"

#define PAGE 4096 /* the smallest that kernels have */
#define BELOW "memory.memsw.limit_in_bytes would be below memory.limit_in_bytes"
#define UNSET                                                                        \
	"memory.limit_in_bytes would be unset while memory.memsw.limit_in_bytes is " \
	"set"

static enum reason load(struct conversion *c, unsigned i, uint64_t *ret)
{
	return load_number(c, i, &codec_bytes, ret);
}

static enum reason store(struct conversion *c, unsigned i, uint64_t n)
{
	return write_number(c, i, &codec_bytes, n);
}

/* Two writes, of `limit` to file 0 and of `other` to file 1. */
static enum reason store_both(
	struct conversion *c, uint64_t limit, uint64_t other, bool other_first)
{
	store(c, other_first, other_first ? other : limit);
	return store(c, !other_first, other_first ? limit : other);
}

static enum reason refuse(struct conversion *c, const char *why)
{
	c->why = why;
	return REASON_VALUE_FORMAT;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
	uint64_t n;

	if (a == VALUE_MAX || b == VALUE_MAX || __builtin_add_overflow(a, b, &n))
		return VALUE_MAX;
	return n >= BYTES_UNLIMITED ? VALUE_MAX : n;
}

/* v1's limit on v2: memsw stays as it is, so swap takes what the limit leaves of it. */
static enum reason limit_set_beside_swap(struct conversion *c, uint64_t limit)
{
	uint64_t old, swap, memsw, pages = limit;
	enum reason r = load(c, 0, &old);

	if (r == REASON_OK)
		r = load(c, 1, &swap);
	if (r != REASON_OK)
		return r;
	memsw = sum(old, swap);
	if (memsw == VALUE_MAX || limit == old)
		return store(c, 0, limit);
	if (limit == VALUE_MAX)
		return refuse(c, UNSET);
	/* the kernel cuts both to pages: what the limit loses by that is swap's */
	if (memsw % PAGE == 0)
		pages -= limit % PAGE;
	if (pages > memsw)
		return refuse(c, BELOW);
	return store_both(c, limit, memsw - pages, pages > old);
}

/* v2's limit on v1: swap's own limit stays as it is, so memsw moves along. */
static enum reason limit_set_beside_memsw(struct conversion *c, uint64_t limit)
{
	uint64_t old, memsw;
	enum reason r = load(c, 0, &old);

	if (r == REASON_OK)
		r = load(c, 1, &memsw);
	if (r != REASON_OK)
		return r;
	if (memsw == VALUE_MAX || limit == old)
		return store(c, 0, limit);
	if (limit == VALUE_MAX) {
		c->why = UNSET;
		return REASON_KEY_MAPPING;
	}
	if (memsw < old)
		return REASON_VALUE_FORMAT;
	return store_both(c, limit, sum(limit, memsw - old), limit > old);
}

static enum reason limit_set_v1(struct conversion *c, uint64_t limit)
{
	uint64_t memsw;
	enum reason r = load(c, 1, &memsw);

	if (r != REASON_OK)
		return r;
	if (limit > memsw)
		return refuse(c, limit == VALUE_MAX ? UNSET : BELOW);
	return store(c, 0, limit);
}

static enum reason memory_limit_set(struct conversion *c, const char *value)
{
	uint64_t limit;

	if (!codec_bytes.parse(c->face, value, &limit))
		return REASON_VALUE_FORMAT;
	if (!c->texts[1])
		return store(c, 0, limit);
	if (c->here == FACE_V1)
		return c->face == FACE_V1 ? limit_set_v1(c, limit)
					  : limit_set_beside_memsw(c, limit);
	return c->face == FACE_V1 ? limit_set_beside_swap(c, limit) : store(c, 0, limit);
}

/* Files: 0 is what limits swap, 1 what limits memory. */
static enum reason memsw_get(struct conversion *c)
{
	uint64_t swap, limit, n;
	enum reason r = load(c, 0, &swap);

	if (r == REASON_OK)
		r = load(c, 1, &limit);
	if (r != REASON_OK)
		return r;
	n = swap;
	if (c->here == FACE_V2 && c->face == FACE_V1) {
		n = sum(swap, limit);
	} else if (c->here == FACE_V1 && c->face != FACE_V1) {
		if (limit == VALUE_MAX || swap == VALUE_MAX)
			n = VALUE_MAX;
		else
			n = swap > limit ? swap - limit : 0;
	}
	codec_bytes.print(c->face, n, &c->out);
	return REASON_OK;
}

static enum reason memsw_set(struct conversion *c, const char *value)
{
	uint64_t n, limit;
	enum reason r;

	if (!codec_bytes.parse(c->face, value, &n))
		return REASON_VALUE_FORMAT;
	if (n == VALUE_MAX || (c->here == FACE_V2 && c->face != FACE_V1))
		return store(c, 0, n);
	r = load(c, 1, &limit);
	if (r != REASON_OK)
		return r;
	if (limit == VALUE_MAX && c->face == FACE_V1)
		return refuse(c, "memory.memsw.limit_in_bytes cannot be set while "
				 "memory.limit_in_bytes is not");
	if (limit == VALUE_MAX) {
		c->why = "cgroup v1 limits swap only where memory is limited: set memory.max first";
		return REASON_KEY_MAPPING;
	}
	if (c->face != FACE_V1)
		return store(c, 0, sum(n, limit));
	if (n < limit)
		return refuse(c, BELOW);
	return store(c, 0, c->here == FACE_V1 ? n : n - limit);
}

static enum reason memsw_usage_get(struct conversion *c)
{
	uint64_t swap, memory;
	enum reason r = load(c, 0, &swap);

	if (r == REASON_OK)
		r = load(c, 1, &memory);
	if (r != REASON_OK)
		return r;
	if (c->here == c->face)
		text_number(&c->out, swap);
	else if (c->here == FACE_V2 && c->face == FACE_V1)
		codec_bytes.print(FACE_V1, sum(swap, memory), &c->out);
	else
		/* they are not read at one moment */
		text_number(&c->out, swap > memory ? swap - memory : 0);
	return REASON_OK;
}

static enum reason oom_control_get(struct conversion *c)
{
	uint64_t kills;

	if (!c->texts[0])
		return REASON_KEY_MISSING;
	if (!take_field(c->texts[0], "oom_kill", &kills))
		return REASON_VALUE_FORMAT;
	text_put(&c->out, "oom_kill_disable 0\nunder_oom 0\noom_kill ");
	text_number(&c->out, kills);
	return REASON_OK;
}

/* A file of v1 that v2 has no choice about; whether the controller is there the other file tells.
 */
static enum reason set_only(struct conversion *c, const char *value, uint64_t only)
{
	uint64_t n;
	struct text t;

	if (!whole_number(value, &n) || n > 1)
		return REASON_VALUE_FORMAT;
	if (c->here == FACE_V1) {
		t = write_next(c, 0);
		text_put(&t, value);
		return REASON_OK;
	}
	if (!c->texts[0])
		return REASON_KEY_MISSING;
	if (n == only)
		return REASON_OK;
	c->why = c->setting->why;
	return REASON_KEY_MAPPING;
}

static enum reason oom_control_set(struct conversion *c, const char *value)
{
	return set_only(c, value, 0);
}

static enum reason hierarchical_get(struct conversion *c)
{
	if (!c->texts[0])
		return REASON_KEY_MISSING;
	text_put(&c->out, "1");
	return REASON_OK;
}

static enum reason hierarchical_set(struct conversion *c, const char *value)
{
	return set_only(c, value, 1);
}

/* "2MB" of "hugetlb.2MB.max" */
static size_t page_size(const char *file, const char **ret)
{
	*ret = file + strcspn(file, ".");
	if (**ret)
		++*ret;
	return strcspn(*ret, ".");
}

/* All sizes of pages that are there, a line each: "2MB 1073741824". */
static enum reason hugetlb_get(struct conversion *c)
{
	unsigned there = 0;

	for (unsigned i = 0; i < c->plan->n; i++) {
		const char *size;
		size_t len = page_size(c->plan->file[i], &size);
		uint64_t n;
		enum reason r;

		if (!c->texts[i])
			continue;
		r = load(c, i, &n);
		if (r != REASON_OK)
			return r;
		if (there++ > 0)
			text_put(&c->out, "\n");
		text_bytes(&c->out, size, len);
		text_put(&c->out, " ");
		codec_bytes.print(FACE_NEUTRAL, n, &c->out);
	}
	return there ? REASON_OK : REASON_KEY_MISSING;
}

static enum reason hugetlb_set(struct conversion *c, const char *value)
{
	size_t named = strcspn(value, " "), len;
	const char *number = value + named + strspn(value + named, " "), *size;
	unsigned there = 0, file = 0;
	uint64_t n;

	for (unsigned i = 0; i < c->plan->n; i++) {
		if (!c->texts[i])
			continue;
		len = page_size(c->plan->file[i], &size);
		if (*number && (len != named || memcmp(size, value, len) != 0))
			continue;
		there++;
		file = i;
	}
	if (!codec_bytes.parse(FACE_NEUTRAL, *number ? number : value, &n))
		return REASON_VALUE_FORMAT;
	if (there > 1)
		return refuse(c, "there are several sizes of pages; say which: \"2MB 1G\"");
	return there ? store(c, file, n) : REASON_KEY_MISSING;
}

const struct type type_memory_limit = {
	FORMAT_BYTES, FORMAT_BYTES_V1, scalar_get, memory_limit_set, &codec_bytes, 0, false};
const struct type type_memsw = {
	FORMAT_BYTES, FORMAT_BYTES_V1, memsw_get, memsw_set, NULL, 0, false};
const struct type type_memsw_usage = {
	"a number of bytes", NULL, memsw_usage_get, NULL, NULL, 0, false};
const struct type type_oom_control = {
	"", "0 or 1", oom_control_get, oom_control_set, NULL, 0, false};
const struct type type_hierarchical = {
	"", "0 or 1", hierarchical_get, hierarchical_set, NULL, 0, false};
const struct type type_hugetlb = {"a size of pages and a number of bytes as in \"2MB 1G\", or max",
	NULL, hugetlb_get, hugetlb_set, NULL, 0, false};
