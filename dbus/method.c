/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "method.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The table's parenthesised tuples, as initialisers. */
#define NAMES(...)          \
	{                   \
		__VA_ARGS__ \
	}

const struct method methods[METHOD_MAX] = {
#define METHOD(n, i, i_names, o, o_names, a, b, f, act) \
	[METHOD_##n] = {.id = METHOD_##n,               \
		.name = #n,                             \
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

#define SCM "Scm"

static struct twin {
	struct method method;
	char name[32], in[METHOD_ARGS_MAX + 1];
} twins[METHOD_MAX];

/* What credentials carry leaves the arguments, and the socket comes behind the rest. */
static void twin_fill(struct twin *twin, const struct method *row)
{
	struct method *m = &twin->method;
	unsigned n = 0;

	*m = *row;
	snprintf(twin->name, sizeof(twin->name), "%s" SCM, row->name);
	for (unsigned i = 0; row->in[i]; i++) {
		const char *name = row->in_names[i];

		if (strcmp(name, "pid") == 0) {
			m->claim = CLAIM_VICTIM;
		} else if (strcmp(name, "uid") == 0 || strcmp(name, "gid") == 0) {
			m->claim = CLAIM_OWNER;
		} else {
			twin->in[n] = row->in[i];
			m->in_names[n++] = name;
		}
	}
	twin->in[n] = 'h';
	m->in_names[n] = "sockfd";
	m->name = twin->name;
	m->in = twin->in;
	m->out = "";
	m->flags |= METHOD_SCM;
}

const struct method *method_twin(enum method_id id)
{
	struct twin *twin = &twins[id];

	if (methods[id].action == ACTION_NONE)
		return NULL;
	if (!twin->method.name)
		twin_fill(twin, &methods[id]);
	return &twin->method;
}

const struct method *method_find(const char *name)
{
	size_t len = strlen(name), scm = strlen(SCM);
	bool is_twin = len > scm && strcmp(name + len - scm, SCM) == 0;

	if (is_twin)
		len -= scm;
	for (unsigned i = 0; i < METHOD_MAX; i++)
		if (strncmp(methods[i].name, name, len) == 0 && methods[i].name[len] == '\0')
			return is_twin ? method_twin(i) : &methods[i];
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
