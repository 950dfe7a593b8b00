/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bytes.h"

#include <endian.h>
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bytes_done(struct bytes *b)
{
	free(b->data);
	b->data = NULL;
	b->size = 0;
}

void bytes_put(struct bytes *b, const void *data, size_t size)
{
	uint8_t *grown = realloc(b->data, b->size + size + 1);

	if (!grown)
		err(1, "realloc");
	if (size)
		memcpy(grown + b->size, data, size);
	b->data = grown;
	b->size += size;
}

void bytes_align(struct bytes *b, size_t to)
{
	static const uint8_t zeros[8];

	bytes_put(b, zeros, -b->size % to);
}

static uint32_t order32(const struct bytes *b, uint32_t value)
{
	return b->big ? htobe32(value) : htole32(value);
}

void bytes_u32(struct bytes *b, uint32_t value)
{
	value = order32(b, value);
	bytes_align(b, 4);
	bytes_put(b, &value, sizeof(value));
}

void bytes_u64(struct bytes *b, uint64_t value)
{
	value = b->big ? htobe64(value) : htole64(value);
	bytes_align(b, 8);
	bytes_put(b, &value, sizeof(value));
}

void bytes_string(struct bytes *b, const char *text)
{
	bytes_u32(b, strlen(text));
	bytes_put(b, text, strlen(text) + 1);
}

void bytes_signature(struct bytes *b, const char *text)
{
	uint8_t length = strlen(text);

	bytes_put(b, &length, 1);
	bytes_put(b, text, strlen(text) + 1);
}

struct array bytes_array(struct bytes *b, char element)
{
	struct array a;

	bytes_u32(b, 0);
	a.length_at = b->size - 4;
	bytes_align(b, alignment(element));
	a.start = b->size;
	return a;
}

void bytes_array_end(struct bytes *b, struct array a)
{
	uint32_t length = order32(b, b->size - a.start);

	memcpy(b->data + a.length_at, &length, sizeof(length));
}

size_t alignment(char type)
{
	if (strchr("ygv", type))
		return 1;
	return strchr("xtd({", type) ? 8 : 4;
}

size_t type_length(const char *signature)
{
	size_t n = 0, depth = 0;

	do {
		while (signature[n] == 'a')
			n++;
		if (strchr("({", signature[n]))
			depth++;
		else if (strchr(")}", signature[n]))
			depth--;
		n++;
	} while (depth);
	return n;
}

void texts_done(struct texts *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->items[i]);
	free(t->items);
	*t = (struct texts){};
}

void texts_add(struct texts *t, char *text)
{
	char **grown = reallocarray(t->items, t->n + 1, sizeof(*grown));

	if (!grown || !text)
		err(1, "realloc");
	t->items = grown;
	t->items[t->n++] = text;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void texts_sort(struct texts *t)
{
	if (t->n)
		qsort(t->items, t->n, sizeof(*t->items), compare);
}

/* Walks through a body; each value is told to `sink`, or appended to `texts`, or both. */
struct walk {
	const struct bytes *from;
	size_t at;
	struct bytes *to;    /* the same values again, or NULL */
	struct texts *texts; /* or NULL */
	char *joined;	     /* the members of the struct that is being read, or NULL */
	bool in_struct;
};

static void walk_text(struct walk *w, const char *text)
{
	char *joined = NULL;

	if (!w->texts)
		return;
	if (!w->in_struct) {
		texts_add(w->texts, strdup(text));
		return;
	}
	if (asprintf(&joined, "%s%s%s", w->joined ?: "", w->joined ? " " : "", text) < 0)
		err(1, "asprintf");
	free(w->joined);
	w->joined = joined;
}

static int walk_align(struct walk *w, size_t to)
{
	for (; w->at % to; w->at++)
		if (w->at >= w->from->size || w->from->data[w->at])
			return -1;
	return 0;
}

static int walk_u32(struct walk *w, uint32_t *ret)
{
	uint32_t value;

	if (walk_align(w, 4) < 0 || w->from->size - w->at < 4)
		return -1;
	memcpy(&value, w->from->data + w->at, 4);
	w->at += 4;
	*ret = w->from->big ? be32toh(value) : le32toh(value);
	return 0;
}

/* A text of `length` bytes and its NUL, in place. */
static const char *walk_chars(struct walk *w, size_t length)
{
	const char *text = (const char *)w->from->data + w->at;

	if (w->at > w->from->size || w->from->size - w->at <= length ||
		strnlen(text, length + 1) != length)
		return NULL;
	w->at += length + 1;
	return text;
}

static int walk_type(struct walk *w, const char *type);

static int walk_number(struct walk *w, char type)
{
	char text[16];
	uint32_t value;

	if (walk_u32(w, &value) < 0)
		return -1;
	if (w->to)
		bytes_u32(w->to, value);
	if (type == 'i')
		snprintf(text, sizeof(text), "%" PRId32, (int32_t)value);
	else
		snprintf(text, sizeof(text), "%" PRIu32, value);
	walk_text(w, text);
	return 0;
}

static int walk_string(struct walk *w)
{
	const char *text;
	uint32_t length;

	if (walk_u32(w, &length) < 0)
		return -1;
	text = walk_chars(w, length);
	if (!text)
		return -1;
	if (w->to)
		bytes_string(w->to, text);
	walk_text(w, text);
	return 0;
}

static int walk_variant(struct walk *w)
{
	const char *signature;
	size_t length;

	if (w->at >= w->from->size)
		return -1;
	length = w->from->data[w->at++];
	signature = walk_chars(w, length);
	if (!signature || type_length(signature) != length)
		return -1;
	if (w->to)
		bytes_signature(w->to, signature);
	walk_text(w, signature);
	return walk_type(w, signature);
}

static int walk_array(struct walk *w, const char *element)
{
	struct array a = {};
	uint32_t length;
	size_t end;

	if (walk_u32(w, &length) < 0 || walk_align(w, alignment(*element)) < 0 ||
		w->from->size - w->at < length)
		return -1;
	if (w->to)
		a = bytes_array(w->to, *element);
	for (end = w->at + length; w->at < end;)
		if (walk_type(w, element) < 0)
			return -1;
	if (w->to)
		bytes_array_end(w->to, a);
	return w->at == end ? 0 : -1;
}

static int walk_struct(struct walk *w, const char *members)
{
	if (walk_align(w, 8) < 0)
		return -1;
	if (w->to)
		bytes_align(w->to, 8);
	w->in_struct = true;
	for (; *members != ')' && *members != '}'; members += type_length(members))
		if (walk_type(w, members) < 0)
			return -1;
	w->in_struct = false;
	if (w->texts)
		texts_add(w->texts, w->joined);
	w->joined = NULL;
	return 0;
}

static int walk_type(struct walk *w, const char *type)
{
	switch (*type) {
	case 'i':
	case 'u':
		return walk_number(w, *type);
	case 's':
		return walk_string(w);
	case 'v':
		return walk_variant(w);
	case 'a':
		return walk_array(w, type + 1);
	case '(':
	case '{':
		return walk_struct(w, type + 1);
	default:
		return -1;
	}
}

static int walk_all(struct walk *w, const char *signature)
{
	int r = 0;

	for (; *signature && r == 0; signature += type_length(signature))
		r = walk_type(w, signature);
	free(w->joined);
	return r < 0 || w->at != w->from->size ? -1 : 0;
}

int texts_from(const char *signature, const struct bytes *body, struct texts *ret)
{
	struct texts texts = {};
	struct walk w = {.from = body, .texts = &texts};

	if (walk_all(&w, signature) < 0) {
		texts_done(&texts);
		return -1;
	}
	*ret = texts;
	return 0;
}

int bytes_swap(const char *signature, const struct bytes *body, struct bytes *ret)
{
	struct bytes to = {};
	struct walk w = {.from = body, .to = &to};

	if (walk_all(&w, signature) < 0) {
		bytes_done(&to);
		return -1;
	}
	*ret = to;
	return 0;
}

static void one_from_texts(struct bytes *b, const char *type, const char *const **texts)
{
	const char *inner;
	struct array a;

	switch (*type) {
	case 's':
		bytes_string(b, *(*texts)++);
		break;
	case 'v':
		inner = *(*texts)++;
		bytes_signature(b, inner);
		one_from_texts(b, inner, texts);
		break;
	case 'a':
		a = bytes_array(b, type[1]);
		while (**texts)
			one_from_texts(b, type + 1, texts);
		bytes_array_end(b, a);
		break;
	case '(':
	case '{':
		bytes_align(b, 8);
		for (type++; *type != ')' && *type != '}'; type += type_length(type))
			one_from_texts(b, type, texts);
		break;
	default:
		bytes_u32(b, strtoll(*(*texts)++, NULL, 10));
	}
}

void bytes_from_texts(struct bytes *b, const char *signature, const char *const **texts)
{
	for (; *signature; signature += type_length(signature))
		one_from_texts(b, signature, texts);
}
