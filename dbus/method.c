/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "method.h"

#include <stdlib.h>
#include <string.h>

/* The table's parenthesised tuples, as initialisers. */
#define NAMES(...)          \
	{                   \
		__VA_ARGS__ \
	}

const struct method methods[METHOD_MAX] = {
#define METHOD(n, i, i_names, o, o_names, a, b, f, act) \
	[METHOD_##n] = {.name = #n,                     \
		.in = i,                                \
		.out = o,                               \
		.in_names = NAMES i_names,              \
		.out_names = NAMES o_names,             \
		.action = ACTION_##a,                   \
		.base = BASE_##b,                       \
		.flags = f},
#include "methods.def"
#undef METHOD
};

const struct method *method_find(const char *name)
{
	for (unsigned i = 0; i < METHOD_MAX; i++)
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	return NULL;
}

void reply_done(struct reply *r)
{
	free(r->object);
	free(r->detail);
	free(r->text);
	free(r->pids);
	for (char **name = r->names; name && *name; name++)
		free(*name);
	free(r->names);
	for (size_t i = 0; i < r->n_keys; i++)
		free(r->keys[i].name);
	free(r->keys);
	*r = (struct reply){0};
}

/* A string's length, its NUL and padding. */
static size_t text_size(const char *text)
{
	return text ? strlen(text) + 8 : 0;
}

size_t reply_size(const struct reply *r)
{
	size_t size = text_size(r->text) + text_size(r->object) + text_size(r->detail) +
		      r->n_pids * sizeof(*r->pids);

	for (char **name = r->names; name && *name; name++)
		size += text_size(*name);
	for (size_t i = 0; i < r->n_keys; i++)
		size += text_size(r->keys[i].name) + 3 * sizeof(uint32_t);
	return size;
}
