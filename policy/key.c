/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "key.h"
#include "path.h"

static const struct key keys[] = {
#define KEY(name, class, flags) {name, class, flags},
#include "keys.def"
#undef KEY
};

#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

static int compare(const void *name, const void *key)
{
	return strcmp(name, ((const struct key *)key)->name);
}

/* One '*' at most: one run of at least one character without '.'. */
static bool matches(const char *pattern, const char *name)
{
	size_t head = strcspn(pattern, "*"), run;

	if (pattern[head] == '\0' || strncmp(pattern, name, head) != 0)
		return false;
	run = strcspn(name + head, ".");
	return run > 0 && strcmp(name + head + run, pattern + head + 1) == 0;
}

const struct key *key_find(const char *name)
{
	const struct key *found = bsearch(name, keys, N_KEYS, sizeof(keys[0]), compare);

	if (found)
		return found;
	for (size_t i = 0; i < N_KEYS; i++)
		if (keys[i].name[0] == name[0] && matches(keys[i].name, name))
			return &keys[i];
	return NULL;
}

bool key_name_valid(const char *name)
{
	size_t len = strnlen(name, PATH_NAME_MAX + 1);

	if (len == 0 || len > PATH_NAME_MAX)
		return false;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	for (; *name; name++)
		if (*name == '/' || path_control(name))
			return false;
	return true;
}
