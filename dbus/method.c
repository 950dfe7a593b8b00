/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "method.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

const struct interface interfaces[INTERFACE_MAX] = {
	{INTERFACE_CGMANAGER, CGM_INTERFACE, CGM_PATH, CGM_SERVICE},
	{INTERFACE_NATIVE, NATIVE_INTERFACE, NATIVE_PATH, NATIVE_SERVICE},
};

const struct property properties[PROPERTY_MAX] = {
#define PROPERTY(n, t, i, c) [PROPERTY_##n] = {#n, t, INTERFACE_##i, c},
#include "properties.def"
#undef PROPERTY
};

const struct interface *method_interface(const struct method *method)
{
	return &interfaces[method->flags & METHOD_NATIVE ? INTERFACE_NATIVE : INTERFACE_CGMANAGER];
}

size_t type_length(const char *signature)
{
	size_t len = 0;
	unsigned depth = 0;

	while (signature[len] == 'a')
		len++;
	do {
		char c = signature[len];

		if (c == '\0')
			break;
		len++;
		depth += c == '(' || c == '{';
		depth -= c == ')' || c == '}';
	} while (depth > 0);
	return len;
}

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

	if (methods[id].action == ACTION_NONE || methods[id].flags & METHOD_NATIVE)
		return NULL;
	if (!twin->method.name)
		twin_fill(twin, &methods[id]);
	return &twin->method;
}

const struct method *method_find(const struct interface *interface, const char *name)
{
	size_t len = strlen(name), scm = strlen(SCM);
	bool is_twin = len > scm && strcmp(name + len - scm, SCM) == 0;

	if (is_twin)
		len -= scm;
	for (unsigned i = 0; i < METHOD_MAX; i++)
		if (method_interface(&methods[i]) == interface &&
			strncmp(methods[i].name, name, len) == 0 && methods[i].name[len] == '\0')
			return is_twin ? method_twin(i) : &methods[i];
	return NULL;
}

void request_done(struct request *r)
{
	free(r->rules);
	free(r->items);
	free(r->attr.heap);
	*r = (struct request){0};
}

struct request request_take(struct request *r)
{
	struct request taken = *r;

	*r = (struct request){0};
	return taken;
}

static void names_free(char **names)
{
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
}

static void gpu_done(struct reply_gpu *gpu)
{
	free(gpu->address);
	free(gpu->id);
	free(gpu->driver);
	free(gpu->pmu);
	free(gpu->region);
	names_free(gpu->nodes);
}

static void lists_free(struct reply *r)
{
	for (size_t i = 0; i < r->n_keys; i++)
		free(r->keys[i].name);
	for (size_t i = 0; i < r->n_pairs; i++) {
		free(r->pairs[i].key);
		free(r->pairs[i].value);
	}
	for (size_t i = 0; i < r->n_triples; i++)
		for (unsigned n = 0; n < 3; n++)
			free(r->triples[i].text[n]);
	for (size_t i = 0; i < r->n_devices; i++)
		free(r->devices[i].node);
	for (size_t i = 0; i < r->n_gpus; i++)
		gpu_done(&r->gpus[i]);
	free(r->keys);
	free(r->pairs);
	free(r->triples);
	free(r->devices);
	free(r->gpus);
}

void reply_done(struct reply *r)
{
	free(r->object);
	free(r->detail);
	free(r->text);
	free(r->who);
	free(r->why);
	free(r->pids);
	names_free(r->names);
	lists_free(r);
	if (r->has_fd)
		close(r->fd);
	*r = (struct reply){0};
}

/* A string's length, its NUL and padding. */
static size_t text_size(const char *text)
{
	return text ? strlen(text) + 8 : 0;
}

static size_t names_size(char *const *names)
{
	size_t size = 0;

	for (; names && *names; names++)
		size += text_size(*names);
	return size;
}

static size_t gpu_size(const struct reply_gpu *gpu)
{
	return text_size(gpu->address) + text_size(gpu->id) + text_size(gpu->driver) +
	       text_size(gpu->pmu) + text_size(gpu->region) + names_size(gpu->nodes);
}

size_t reply_size(const struct reply *r)
{
	size_t size = text_size(r->text) + text_size(r->object) + text_size(r->detail) +
		      text_size(r->who) + text_size(r->why) + names_size(r->names) +
		      r->n_pids * sizeof(*r->pids);

	for (size_t i = 0; i < r->n_keys; i++)
		size += text_size(r->keys[i].name) + 3 * sizeof(uint32_t);
	for (size_t i = 0; i < r->n_pairs; i++)
		size += text_size(r->pairs[i].key) + text_size(r->pairs[i].value);
	for (size_t i = 0; i < r->n_triples; i++)
		for (unsigned n = 0; n < 3; n++)
			size += text_size(r->triples[i].text[n]);
	for (size_t i = 0; i < r->n_devices; i++)
		size += text_size(r->devices[i].node) + 4 * sizeof(uint32_t);
	for (size_t i = 0; i < r->n_gpus; i++)
		size += gpu_size(&r->gpus[i]);
	return size;
}
