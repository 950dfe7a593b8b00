/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <linux/capability.h>
#include <string.h>

#include "subjects.h"

#define CAP(c) (UINT64_C(1) << (c))
#define CAPS_ALL (~UINT64_C(0))
#define CAPS_DOCKER (CAP(CAP_CHOWN) | CAP(CAP_DAC_OVERRIDE) | CAP(CAP_FOWNER) | CAP(CAP_KILL))

#define FACTS_SUBJECT (FACT_MAPS | FACT_CAPS | FACT_GROUPS | FACT_NS)

static const struct {
	uint32_t uid;
	uint64_t caps;
	bool own_userns, own_pidns, own_cgroupns;
	gid_t group;
	bool cut;
	struct idmap_extent extent;
} table[WHO_MAX] = {
	[HOST] = {0, CAPS_ALL, true, true, true, 0, false, {0, 0, UINT32_MAX}},
	[WEAK] = {0, 0, true, true, true, 0, false, {0, 0, UINT32_MAX}},
	[DOCKER] = {0, CAPS_DOCKER, true, false, false, 0, false, {0, 0, UINT32_MAX}},
	[UNSHARE] = {0, CAPS_ALL, false, true, true, 0, false, {0, 0, 1}},
	[ALICE] = {ALICE_ID, 0, true, true, true, WHEEL, false, {0, 0, UINT32_MAX}},
	[ALICENS] = {ALICE_ID, CAPS_ALL, false, true, true, WHEEL, false, {0, ALICE_ID, 1}},
	[CROWD] = {ALICE_ID, 0, true, true, true, WHEEL, true, {0, 0, UINT32_MAX}},
	[ENTERED] = {ALICE_ID, CAPS_ALL, false, true, true, WHEEL, false, {0, C, 65536}},
	[CROOT] = {C, CAPS_ALL, false, false, false, C, false, {0, C, 65536}},
	[CBARE] = {C, 0, false, false, false, C, false, {0, C, 65536}},
	[CFOWNER] = {C, CAP(CAP_FOWNER), false, false, false, C, false, {0, C, 65536}},
	[CUSER] = {CU, 0, false, false, false, CG, false, {0, C, 65536}},
	[EMPTY] = {C, CAPS_ALL, false, false, false, C, false, {0, 0, 0}},
	[NESTED] = {NEST, CAPS_ALL, false, false, false, NEST, false, {0, NEST, 1000}},
};

static void map_of(const struct idmap_extent *e, struct idmap *ret)
{
	ret->n = e->count > 0;
	ret->extents[0] = *e;
}

void subject_of(enum who who, struct subject *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->have = FACTS_SUBJECT;
	ret->uid = table[who].uid;
	ret->gid = table[who].uid;
	ret->own_userns = table[who].own_userns;
	ret->own_pidns = table[who].own_pidns;
	ret->own_cgroupns = table[who].own_cgroupns;
	ret->caps = table[who].caps;
	ret->n_groups = 1;
	ret->groups[0] = table[who].group;
	ret->groups_cut = table[who].cut;
	map_of(&table[who].extent, &ret->uid_map);
	map_of(&table[who].extent, &ret->gid_map);
}

void subject_withhold(struct subject *s, unsigned have, bool grant)
{
	static const gid_t groups[] = {0, WHEEL, C, CU, CG};
	const struct idmap_extent all = {0, s->uid, UINT32_MAX - s->uid};
	const struct idmap_extent none = {0};

	s->have = have & FACTS_SUBJECT;
	if (!(have & FACT_NS))
		s->own_userns = s->own_pidns = s->own_cgroupns = grant;
	if (!(have & FACT_CAPS))
		s->caps = grant ? CAPS_ALL : 0;
	if (!(have & FACT_GROUPS)) {
		s->n_groups = grant ? sizeof(groups) / sizeof(groups[0]) : 0;
		memcpy(s->groups, groups, sizeof(groups));
		s->groups_cut = !grant;
	}
	if (!(have & FACT_MAPS)) {
		map_of(grant ? &all : &none, &s->uid_map);
		map_of(grant ? &all : &none, &s->gid_map);
	}
}
