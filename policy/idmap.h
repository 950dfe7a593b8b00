/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A user namespace's uid_map or gid_map, as /proc/PID/uid_map shows it to a reader in the initial
 * user namespace: "inside outside count" a line, where outside is the host's id at every depth of
 * nesting (user_namespaces(7)).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDMAP_EXTENTS_MAX 340 /* the kernel's own limit since 4.15 */
/* "4294967295 4294967295 4294967295\n" padded to 33 a line by the kernel */
#define IDMAP_TEXT_MAX (IDMAP_EXTENTS_MAX * 34 + 1)
#define IDMAP_INVALID UINT32_MAX

struct idmap_extent {
	uint32_t inside;
	uint32_t outside;
	uint32_t count;
};

struct idmap {
	unsigned n;
	struct idmap_extent extents[IDMAP_EXTENTS_MAX];
};

/* -EINVAL: not such a text (`ret` is then empty). An empty text is an empty map: nothing is mapped.
 * An extent whose outside start is 4294967295 (not mapped in the reader's namespace) is dropped. */
int idmap_parse(const char *text, size_t len, struct idmap *ret);

/* False if the id is not mapped, or is IDMAP_INVALID. */
bool idmap_to_outside(const struct idmap *map, uint32_t inside, uint32_t *ret);
bool idmap_to_inside(const struct idmap *map, uint32_t outside, uint32_t *ret);
