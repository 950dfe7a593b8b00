/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The text of a uid_map. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/cleanup.h"
#include "../../policy/idmap.h"
#include "fuzz.h"

static bool ranges_meet(uint32_t a, uint32_t n_a, uint32_t b, uint32_t n_b)
{
	return (uint64_t)a < (uint64_t)b + n_b && (uint64_t)b < (uint64_t)a + n_a;
}

/* The kernel takes no map whose extents meet; this reader leaves that to it. */
static bool is_one_to_one(const struct idmap *map)
{
	for (unsigned i = 0; i < map->n; i++)
		for (unsigned j = i + 1; j < map->n; j++) {
			const struct idmap_extent *a = &map->extents[i], *b = &map->extents[j];

			if (ranges_meet(a->inside, a->count, b->inside, b->count) ||
				ranges_meet(a->outside, a->count, b->outside, b->count))
				return false;
		}
	return true;
}

static void check_id(const struct idmap *map, uint32_t id, bool one_to_one)
{
	uint32_t out = 77, in = 77, back = 77;
	bool has_out = idmap_to_outside(map, id, &out), has_in = idmap_to_inside(map, id, &in);

	CHECK(has_out ? out != IDMAP_INVALID : out == 77);
	CHECK(has_in ? in != IDMAP_INVALID : in == 77);
	CHECK(id != IDMAP_INVALID || (!has_out && !has_in));
	/* what a translation gives can be translated back */
	if (has_out)
		CHECK(idmap_to_inside(map, out, &back) && (!one_to_one || back == id));
	if (has_in)
		CHECK(idmap_to_outside(map, in, &back) && (!one_to_one || back == id));
}

static void check_extent(const struct idmap *map, unsigned i, bool one_to_one)
{
	const struct idmap_extent *e = &map->extents[i];
	const uint32_t ids[] = {e->inside, e->inside - 1, e->inside + e->count / 2,
		e->inside + e->count - 1, e->inside + e->count, e->outside, e->outside - 1,
		e->outside + e->count - 1, e->outside + e->count};

	CHECK(e->count > 0 && (uint64_t)e->inside + e->count <= UINT32_MAX &&
		(uint64_t)e->outside + e->count <= UINT32_MAX);
	for (size_t j = 0; j < sizeof(ids) / sizeof(ids[0]); j++)
		check_id(map, ids[j], one_to_one);
}

/* Written as the kernel does, it is read as the same. */
static void check_written(const struct idmap *map)
{
	static struct idmap again;
	char text[IDMAP_TEXT_MAX];
	size_t len = 0;

	for (unsigned i = 0; i < map->n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%10u %10u %10u\n",
			map->extents[i].inside, map->extents[i].outside, map->extents[i].count);
	CHECK(len < sizeof(text));
	CHECK(idmap_parse(text, len, &again) == 0);
	CHECK(again.n == map->n);
	CHECK(memcmp(again.extents, map->extents, map->n * sizeof(map->extents[0])) == 0);
	/* and what is cut is not taken for less */
	if (len > 0)
		CHECK(idmap_parse(text, len - 1, &again) == -EINVAL && again.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct idmap map;
	struct input in = {data, size};
	size_t len;
	_cleanup_free_ char *text = input_rest(&in, &len);
	int r = idmap_parse(text, len, &map);
	bool one_to_one;

	CHECK(r == 0 || r == -EINVAL);
	CHECK(map.n <= (r == 0 ? IDMAP_EXTENTS_MAX : 0));
	one_to_one = is_one_to_one(&map);
	for (unsigned i = 0; i < map.n; i++)
		check_extent(&map, i, one_to_one);
	check_id(&map, 0, one_to_one);
	check_id(&map, IDMAP_INVALID, one_to_one);
	if (r == 0)
		check_written(&map);
	return 0;
}
