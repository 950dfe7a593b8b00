/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Grants of the policy file: which devices the cgroups of a pattern may be given beyond what the
 * cgroups above them allow, and by whom; and which items of perf they have (perf-items.h). Nothing
 * is granted that no section names. Pure; who may write the file, and how it is read, is
 * daemon/conf.h's.
 *
 *	[devices /lxc/web-*]
 *	uid = 100000			optional
 *	allow = fuse gpu:render, c 10:200
 *	access = rw			optional: rwm
 *
 *	[perf /lxc/web-*]
 *	uid = 100000			optional
 *	grant = cpu gpu pmu:msr
 *
 * A pattern is compared with the cgroup's path from the root of its hierarchy, by components: `*`
 * stands for any number of characters of one, and as a component `**` for any number of components,
 * though for at least one at the end: there it means all below a cgroup, and not the cgroup.
 */
#pragma once

#include <sys/types.h>

#include "device.h"
#include "perf-items.h"

#define GRANTS_MAX 1024	       /* sections of one file */
#define GRANT_DEVICES_MAX 256  /* of one section */
#define GRANT_PATTERN_MAX 4095 /* bytes */

struct grant {
	char *pattern;
	bool any_uid;
	uid_t uid;
	uint8_t access;
	unsigned n, size;
	struct device_rule *device; /* each with `access` in it */
	struct perf_items *perf;    /* heap; NULL: it is of devices */
};

struct grants {
	unsigned n, size;
	struct grant *grant; /* heap */
};

/* All zero: nothing is granted. */
void grants_done(struct grants *g);

/* What a file says, line by line. -EINVAL, and *why, static text; -ENOMEM. After an error
 * grants_done() alone may be called. */
/* "devices PATTERN" or "perf PATTERN" begins a section. */
int grants_section(struct grants *g, const char *section, const char **why);
/* Of the section that was begun last. `allow`: devices with blanks or commas between, as rules have
 * them; `grant`: items; these may come again and add, the others come once. */
int grants_key(struct grants *g, const char *key, const char *value, const char **why);
/* The section is complete: before each next one, and at the end. */
int grants_section_end(struct grants *g, const char **why);

bool grant_pattern_matches(const char *pattern, const char *path);

/*
 * May the requestor have `rule->access` to the devices of `rule`, by its text: the same name, or,
 * of numbers, a range that granted numbers cover. `cgroup_path`: "/" or "/a/b". `uid`: a host's;
 * ask again with the uid that its user namespace's root has, where that is another. What names
 * stand for is not looked at: see grants_cover().
 */
bool grants_allow(
	const struct grants *g, const char *cgroup_path, uid_t uid, const struct device_rule *rule);

/*
 * All that is granted there, as rules (default deny) for device_rules_resolve(), whose outcome
 * grants_cover() takes. -ENOMEM, -E2BIG.
 */
int grants_rules(
	const struct grants *g, const char *cgroup_path, uid_t uid, struct device_rules *ret);

/*
 * Do the allowing rules of `granted`, numbers alone, cover all of the ranges with `access`? No
 * ranges: false, for what stands for nothing now may be anything later.
 */
bool grants_cover(const struct device_rules *granted, const struct device_range *range, unsigned n,
	uint8_t access);

/*
 * The items that the sections have for that cgroup itself, not for those above it. `owner`: of its
 * directory, as the host has it. -E2BIG: PERF_ITEMS_MAX.
 */
int grants_perf(
	const struct grants *g, const char *cgroup_path, uid_t owner, struct perf_items *ret);
