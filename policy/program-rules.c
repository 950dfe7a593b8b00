/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a program to rules. First a map of each type's devices: strips of majors, and in each of
 * them cells of minors, so that the program answers alike for all devices of a cell. Then rules are
 * laid over it, from the general to the special, until each cell has its answers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "program-area.h"

#define BUDGET_RULES (UINT64_C(1) << 27)
#define CELLS_MAX (1 << 18)
/* A rule has one major or all. More of them together than this are not worth reading. */
#define MAJORS_MAX 256

struct cell {
	uint32_t first, last; /* minors */
	uint8_t allowed;      /* a bit for each access of PROGRAM_ASKED */
	uint8_t laid;	      /* what the rules up to now say: see enum way */
};

struct strip {
	uint32_t first, last; /* majors */
	size_t cell, n;	      /* in the map's cells */
};

struct map {
	uint8_t type;
	struct strip *strip;
	size_t n_strips, strips_size;
	struct cell *cell;
	size_t n_cells, cells_size;
	size_t common; /* the strip with most majors */
};

enum way {
	/* The default denies and each rule allows all requests that lie within its access; of
	 * `laid` each bit is a request. */
	WAY_ONE_COVERS,
	/* The last rule decides for each bit of access; of `laid` each bit is such a bit. */
	WAY_LAST,
};

struct layer {
	enum way way;
	struct map *map;
	struct device_rules *rules;
};

/* Some cells: of strips, between two minors. */
struct patch {
	size_t strip, end;
	uint32_t first, last;
};

static void map_done(struct map *m)
{
	free(m->strip);
	free(m->cell);
}

#define _cleanup_map_ __attribute__((cleanup(map_done)))

/* Makes room for one more of `one` bytes. */
static int list_grow(void **list, size_t n, size_t *size, size_t one)
{
	size_t more = n ? 2 * n : 16;
	void *larger;

	if (n < *size)
		return 0;
	if (n >= CELLS_MAX)
		return -EOPNOTSUPP;
	larger = realloc(*list, more * one);
	if (!larger)
		return -ENOMEM;
	*list = larger;
	*size = more;
	return 0;
}

/* ---- the map */

/* A cell at the end of the strip that is being made; `join`: one with the cell before if alike. */
static int map_add_cell(struct map *m, size_t begin, const struct cell *c, bool join)
{
	struct cell *before = m->n_cells > begin ? &m->cell[m->n_cells - 1] : NULL;
	void *list = m->cell;
	int r;

	if (join && before && before->allowed == c->allowed) {
		before->last = c->last;
		return 0;
	}
	r = list_grow(&list, m->n_cells, &m->cells_size, sizeof(*c));
	m->cell = list;
	if (r < 0)
		return r;
	m->cell[m->n_cells++] = *c;
	return 0;
}

static bool strip_alike(const struct map *m, const struct strip *a, const struct strip *b)
{
	if (a->n != b->n)
		return false;
	for (size_t k = 0; k < a->n; k++) {
		const struct cell *ca = &m->cell[a->cell + k], *cb = &m->cell[b->cell + k];

		if (ca->last != cb->last || ca->allowed != cb->allowed)
			return false;
	}
	return true;
}

/* A strip of the cells from s->cell on; one with the strip before if alike. */
static int map_add_strip(struct map *m, const struct strip *s)
{
	struct strip *before = m->n_strips ? &m->strip[m->n_strips - 1] : NULL;
	void *list = m->strip;
	int r;

	if (before && strip_alike(m, before, s)) {
		before->last = s->last;
		m->n_cells = s->cell;
		return 0;
	}
	r = list_grow(&list, m->n_strips, &m->strips_size, sizeof(*s));
	m->strip = list;
	if (r < 0)
		return r;
	m->strip[m->n_strips++] = *s;
	return 0;
}

/* The answers to all accesses for the first devices of the area, which is cut to where they hold.
 */
static int cell_answers(const struct bpf_insn *insns, size_t n, struct program_area *area,
	uint64_t *budget, uint8_t *ret)
{
	*ret = 0;
	for (area->access = 0; area->access <= DEVICE_ALL; area->access++) {
		enum program_answer answer;

		if (!(PROGRAM_ASKED & 1 << area->access))
			continue;
		answer = program_run(insns, n, area, budget);
		if (answer == PROGRAM_UNKNOWN)
			return -EOPNOTSUPP;
		if (answer == PROGRAM_ALLOWS)
			*ret |= 1 << area->access;
	}
	return 0;
}

/* One strip, as broad as all of its cells are. */
static int map_strip(
	struct map *m, const struct bpf_insn *insns, size_t n, uint64_t *budget, struct strip *s)
{
	struct cell c = {0};
	int r;

	s->cell = m->n_cells;
	for (;; c.first = c.last + 1) {
		struct program_area area = {.type = m->type,
			.major = {s->first, s->last},
			.minor = {c.first, DEVICE_MINOR_MAX}};

		r = cell_answers(insns, n, &area, budget, &c.allowed);
		if (r < 0)
			return r;
		s->last = area.major[1];
		c.last = area.minor[1];
		r = map_add_cell(m, s->cell, &c, true);
		if (r < 0)
			return r;
		if (c.last == DEVICE_MINOR_MAX)
			break;
	}
	s->n = m->n_cells - s->cell;
	return map_add_strip(m, s);
}

static uint32_t strip_width(const struct strip *s)
{
	return s->last - s->first;
}

static int map_make(struct map *m, const struct bpf_insn *insns, size_t n, uint64_t *budget)
{
	struct strip s = {0};
	int r;

	for (;; s.first = s.last + 1) {
		s.last = DEVICE_MAJOR_MAX;
		r = map_strip(m, insns, n, budget, &s);
		if (r < 0)
			return r;
		if (s.last == DEVICE_MAJOR_MAX)
			break;
	}
	for (size_t k = 1; k < m->n_strips; k++)
		if (strip_width(&m->strip[k]) > strip_width(&m->strip[m->common]))
			m->common = k;
	return 0;
}

/* The cells of one strip, cut where those of the common strip end. */
static int map_cut_strip(struct map *to, const struct map *from, size_t k)
{
	const struct strip *common = &from->strip[from->common];
	const struct cell *cut = &from->cell[common->cell];
	struct strip s = from->strip[k];
	int r;

	s.cell = to->n_cells;
	for (size_t j = 0; j < from->strip[k].n; j++) {
		struct cell c = from->cell[from->strip[k].cell + j];
		uint32_t last = c.last;

		for (c.last = c.first - 1; c.last != last; c.first = c.last + 1) {
			c.last = cut->last < last ? cut->last : last;
			r = map_add_cell(to, s.cell, &c, false);
			if (r < 0)
				return r;
			if (cut->last == c.last)
				cut++;
		}
	}
	s.n = to->n_cells - s.cell;
	return map_add_strip(to, &s);
}

/* So that a rule for some minors of all majors holds whole cells. */
static int map_cut(const struct map *from, struct map *to)
{
	to->type = from->type;
	for (size_t k = 0; k < from->n_strips; k++) {
		int r = map_cut_strip(to, from, k);

		if (r < 0)
			return r;
	}
	to->common = from->common;
	return 0;
}

/* ---- rules over it */

/* The requests that lie within an access. */
static uint8_t requests_within(uint8_t access)
{
	uint8_t set = 0;

	for (unsigned part = 0; part <= DEVICE_ALL; part++)
		if (!(part & ~access))
			set |= 1 << part;
	return set & PROGRAM_ASKED;
}

static uint8_t cell_bits(const struct cell *c)
{
	uint8_t bits = 0;

	for (unsigned bit = DEVICE_MKNOD; bit <= DEVICE_WRITE; bit <<= 1)
		if (c->allowed & 1 << bit)
			bits |= bit;
	return bits;
}

/* What `laid` shall be in the end. */
static uint8_t cell_wanted(const struct layer *l, const struct cell *c)
{
	return l->way == WAY_LAST ? cell_bits(c) : c->allowed;
}

static struct cell *strip_common_cell(const struct map *m, const struct strip *s)
{
	struct cell *common = &m->cell[s->cell];

	for (size_t k = 1; k < s->n; k++) {
		struct cell *c = &m->cell[s->cell + k];

		if (c->last - c->first > common->last - common->first)
			common = c;
	}
	return common;
}

static int rules_append(struct device_rules *rules, bool allow, uint8_t access, uint8_t type,
	uint32_t major, const struct patch *p)
{
	struct device_rule *rule;
	void *list = rules->rule;
	size_t size = rules->size;
	int r;

	if (rules->n >= DEVICE_RULES_MAX)
		return -EOPNOTSUPP;
	r = list_grow(&list, rules->n, &size, sizeof(*rules->rule));
	rules->rule = list;
	rules->size = size;
	if (r < 0)
		return r;
	rule = &rules->rule[rules->n++];
	memset(rule, 0, sizeof(*rule));
	rule->allow = allow;
	rule->access = access;
	rule->range = (struct device_range){type, DEVICE_ALL, major, p->first, p->last};
	return 0;
}

/* Would all of the patch still be right if these requests were allowed in it? */
static bool patch_wants(const struct map *m, const struct patch *p, uint8_t requests)
{
	for (size_t k = p->strip; k < p->end; k++)
		for (size_t j = 0; j < m->strip[k].n; j++) {
			const struct cell *c = &m->cell[m->strip[k].cell + j];

			if (c->first >= p->first && c->last <= p->last && requests & ~c->allowed)
				return false;
		}
	return true;
}

static void patch_lay(struct map *m, const struct patch *p, uint8_t set, uint8_t clear)
{
	for (size_t k = p->strip; k < p->end; k++)
		for (size_t j = 0; j < m->strip[k].n; j++) {
			struct cell *c = &m->cell[m->strip[k].cell + j];

			if (c->first >= p->first && c->last <= p->last)
				c->laid = (c->laid | set) & ~clear;
		}
}

static int layer_rule(struct layer *l, const struct patch *p, bool allow, uint8_t access)
{
	const struct map *m = l->map;
	uint32_t first = m->strip[p->strip].first, last = m->strip[p->end - 1].last;
	bool any = first == 0 && last == DEVICE_MAJOR_MAX;
	uint8_t set = l->way == WAY_LAST ? access : requests_within(access);
	int r = 0;

	if (any)
		r = rules_append(l->rules, allow, access, m->type, DEVICE_ANY, p);
	else if (last - first >= MAJORS_MAX)
		return -EOPNOTSUPP;
	for (uint32_t major = first; !any && major <= last && r == 0; major++)
		r = rules_append(l->rules, allow, access, m->type, major, p);
	patch_lay(l->map, p, allow ? set : 0, allow ? 0 : set);
	return r;
}

/* Rules for a patch by one cell of it. Whatever else is in the patch gets rules of its own later.
 */
static int layer_patch(struct layer *l, const struct patch *p, const struct cell *c)
{
	static const uint8_t most_first[] = {7, 6, 5, 3, 4, 2, 1};
	uint8_t wanted = cell_wanted(l, c), more = wanted & ~c->laid, less = c->laid & ~wanted;
	int r = 0;

	if (l->way == WAY_LAST) {
		if (more)
			r = layer_rule(l, p, true, wanted);
		return r == 0 && less ? layer_rule(l, p, false, less) : r;
	}
	for (size_t k = 0; k < sizeof(most_first) && r == 0; k++) {
		uint8_t set = requests_within(most_first[k]);

		if (!(set & ~wanted) && (set & ~c->laid) && patch_wants(l->map, p, set))
			r = layer_rule(l, p, true, most_first[k]);
	}
	return r;
}

/* All of a strip, and then, where cells of it are different, those. */
static int layer_strip(struct layer *l, size_t k)
{
	const struct map *m = l->map;
	const struct strip *s = &m->strip[k];
	struct patch p = {k, k + 1, 0, DEVICE_MINOR_MAX};
	int r = layer_patch(l, &p, strip_common_cell(m, s));

	for (size_t j = 0; j < s->n && r == 0; j++) {
		const struct cell *c = &m->cell[s->cell + j], *last = c;

		if (c->laid == cell_wanted(l, c))
			continue;
		while (j + 1 < s->n && last[1].laid == c->laid && last[1].allowed == c->allowed) {
			last++;
			j++;
		}
		p.first = c->first;
		p.last = last->last;
		r = layer_patch(l, &p, c);
	}
	return r;
}

static int layer_map(struct layer *l)
{
	const struct map *m = l->map;
	const struct strip *common = &m->strip[m->common];
	struct patch p = {0, m->n_strips, 0, DEVICE_MINOR_MAX};
	int r = layer_patch(l, &p, strip_common_cell(m, common));

	for (size_t j = 0; j < common->n && r == 0; j++) {
		const struct cell *c = &m->cell[common->cell + j];

		p.first = c->first;
		p.last = c->last;
		r = layer_patch(l, &p, c);
	}
	for (size_t k = 0; k < m->n_strips && r == 0; k++)
		r = layer_strip(l, k);
	return r;
}

/* Do the bits say all? Read and write must both be allowed where each is; what is asked with no bit
 * at all is allowed by rules of bits. */
static bool map_is_bits(const struct map *m)
{
	for (size_t k = 0; k < m->n_cells; k++) {
		const struct cell *c = &m->cell[k];

		if ((c->allowed | 1) != requests_within(cell_bits(c)))
			return false;
	}
	return true;
}

static bool map_is_right(const struct layer *l)
{
	const struct map *m = l->map;

	for (size_t k = 0; k < m->n_cells; k++)
		if (m->cell[k].laid != cell_wanted(l, &m->cell[k]))
			return false;
	return true;
}

/* -EOPNOTSUPP: not in this way. */
static int maps_rules(
	struct map *maps, unsigned n, enum way way, bool allow, struct device_rules *ret)
{
	struct device_rules rules = {.allow = allow, .v1 = way == WAY_ONE_COVERS};
	int r = 0;

	for (unsigned t = 0; t < n && r == 0; t++) {
		struct layer l = {way, &maps[t], &rules};

		for (size_t k = 0; k < maps[t].n_cells; k++)
			maps[t].cell[k].laid = allow ? DEVICE_ALL : 0;
		r = way == WAY_LAST && !map_is_bits(&maps[t]) ? -EOPNOTSUPP : layer_map(&l);
		if (r == 0 && !map_is_right(&l))
			r = -EOPNOTSUPP;
	}
	if (r < 0) {
		free(rules.rule);
		return r;
	}
	*ret = rules;
	return 0;
}

static bool map_allows_most(const struct map *m)
{
	return cell_bits(strip_common_cell(m, &m->strip[m->common])) == DEVICE_ALL;
}

int program_rules(const struct bpf_insn *insns, size_t n, struct device_rules *ret)
{
	_cleanup_map_ struct map chars = {0}, blocks = {0};
	struct map maps[2], *cut[] = {&chars, &blocks};
	uint64_t budget = BUDGET_RULES;
	bool allow;
	int r;

	for (unsigned t = 0; t < 2; t++) {
		_cleanup_map_ struct map whole = {.type = t ? DEVICE_BLOCK : DEVICE_CHAR};

		r = map_make(&whole, insns, n, &budget);
		if (r == 0)
			r = map_cut(&whole, cut[t]);
		if (r < 0)
			return r;
		maps[t] = *cut[t];
	}
	allow = map_allows_most(&maps[0]) && map_allows_most(&maps[1]);
	r = maps_rules(maps, 2, allow ? WAY_LAST : WAY_ONE_COVERS, allow, ret);
	if (r == -EOPNOTSUPP)
		r = maps_rules(maps, 2, allow ? WAY_ONE_COVERS : WAY_LAST, false, ret);
	return r;
}
