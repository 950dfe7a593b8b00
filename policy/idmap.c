/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "idmap.h"

struct cursor {
	const char *at, *end;
};

static bool skip_spaces(struct cursor *c)
{
	const char *start = c->at;

	while (c->at < c->end && *c->at == ' ')
		c->at++;
	return c->at > start;
}

static bool take_number(struct cursor *c, uint32_t *ret)
{
	const char *start = c->at;
	uint64_t value = 0;

	for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
		value = value * 10 + (uint64_t)(*c->at - '0');
		if (value > UINT32_MAX)
			return false;
	}
	if (c->at == start)
		return false;
	*ret = (uint32_t)value;
	return true;
}

/* One whole line with its newline: a text that was cut midway must not pass for a shorter map. */
static bool take_line(struct cursor *c, struct idmap_extent *ret)
{
	skip_spaces(c);
	if (!take_number(c, &ret->inside) || !skip_spaces(c) || !take_number(c, &ret->outside) ||
		!skip_spaces(c) || !take_number(c, &ret->count))
		return false;
	if (c->at == c->end || *c->at != '\n')
		return false;
	c->at++;
	return true;
}

/* As the kernel's map_write(): no empty extent, and none that reaches the invalid id. */
static bool range_valid(uint32_t first, uint32_t count)
{
	return count > 0 && (uint64_t)first + count <= UINT32_MAX;
}

static bool take_map(struct cursor *c, struct idmap *ret)
{
	for (unsigned lines = 0; c->at < c->end; lines++) {
		struct idmap_extent e;

		if (lines == IDMAP_EXTENTS_MAX || !take_line(c, &e) ||
			!range_valid(e.inside, e.count))
			return false;
		if (e.outside == IDMAP_INVALID)
			continue;
		if (!range_valid(e.outside, e.count))
			return false;
		ret->extents[ret->n++] = e;
	}
	return true;
}

int idmap_parse(const char *text, size_t len, struct idmap *ret)
{
	struct cursor c = {.at = text, .end = text + len};

	ret->n = 0;
	if (!take_map(&c, ret)) {
		ret->n = 0;
		return -EINVAL;
	}
	return 0;
}

static bool translate(uint32_t id, uint32_t from, uint32_t to, uint32_t count, uint32_t *ret)
{
	if (id < from || id - from >= count)
		return false;
	*ret = to + (id - from);
	return true;
}

bool idmap_to_outside(const struct idmap *map, uint32_t inside, uint32_t *ret)
{
	for (unsigned i = 0; i < map->n; i++) {
		const struct idmap_extent *e = &map->extents[i];

		if (translate(inside, e->inside, e->outside, e->count, ret))
			return true;
	}
	return false;
}

bool idmap_to_inside(const struct idmap *map, uint32_t outside, uint32_t *ret)
{
	for (unsigned i = 0; i < map->n; i++) {
		const struct idmap_extent *e = &map->extents[i];

		if (translate(outside, e->outside, e->inside, e->count, ret))
			return true;
	}
	return false;
}
