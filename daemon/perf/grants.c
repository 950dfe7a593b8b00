/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "grants.h"

#include <string.h>

#include "../manager.h"

const struct hierarchy *perf_hierarchy(const struct manager *m)
{
	static const char controller[] = "perf_event";
	const struct hierarchies *all = &m->hierarchies;
	const struct hierarchy *h = hierarchy_find(all, controller, sizeof(controller) - 1);

	for (unsigned i = 0; !h && i < all->n; i++)
		if (all->list[i].v2)
			h = &all->list[i];
	return h;
}
