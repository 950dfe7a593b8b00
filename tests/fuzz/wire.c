/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire.h"

#include <endian.h>
#include <string.h>

#include "fuzz.h"

#define HEADER_SIZE 16

enum {
	FIELD_PATH = 1,
	FIELD_INTERFACE = 2,
	FIELD_MEMBER = 3,
	FIELD_ERROR = 4,
	FIELD_REPLY_SERIAL = 5,
	FIELD_DESTINATION = 6,
	FIELD_SIGNATURE = 8,
	FIELD_FDS = 9,
};

static void put(struct wire *w, const void *data, size_t size)
{
	CHECK(w->size + size <= WIRE_MAX);
	memcpy(w->data + w->size, data, size);
	w->size += size;
}

static void pad(struct wire *w, size_t to)
{
	static const uint8_t zeroes[8];

	put(w, zeroes, -w->size & (to - 1));
}

static uint32_t order(const struct wire *w, uint32_t value)
{
	return w->big ? htobe32(value) : htole32(value);
}

void wire_u32(struct wire *w, uint32_t value)
{
	pad(w, 4);
	value = order(w, value);
	put(w, &value, sizeof(value));
}

void wire_u64(struct wire *w, uint64_t value)
{
	uint32_t high = (uint32_t)(value >> 32), low = (uint32_t)value;

	pad(w, 8);
	wire_u32(w, w->big ? high : low);
	wire_u32(w, w->big ? low : high);
}

void wire_text(struct wire *w, const char *text)
{
	wire_u32(w, (uint32_t)strlen(text));
	put(w, text, strlen(text) + 1);
}

void wire_bytes(struct wire *w, const void *data, size_t size)
{
	put(w, data, size);
}

void wire_signature(struct wire *w, const char *text)
{
	uint8_t len = (uint8_t)strlen(text);

	put(w, &len, 1);
	put(w, text, len + 1u);
}

void wire_struct(struct wire *w)
{
	pad(w, 8);
}

static void field(struct wire *w, uint8_t code, char type, const char *text)
{
	const uint8_t start[] = {code, 1, (uint8_t)type, 0};

	if (!text)
		return;
	pad(w, 8);
	put(w, start, sizeof(start));
	if (type == 'g')
		wire_signature(w, text);
	else
		wire_text(w, text);
}

static void number(struct wire *w, uint8_t code, uint32_t value)
{
	const uint8_t start[] = {code, 1, 'u', 0};

	if (value == 0)
		return;
	pad(w, 8);
	put(w, start, sizeof(start));
	wire_u32(w, value);
}

static void set_u32(struct wire *w, size_t at, size_t value)
{
	uint32_t v = order(w, (uint32_t)value);

	memcpy(w->data + at, &v, sizeof(v));
}

size_t wire_array_begin(struct wire *w, size_t align)
{
	size_t at;

	wire_u32(w, 0);
	at = w->size - sizeof(uint32_t);
	pad(w, align);
	return at;
}

/* The padding before the first element does not count. */
void wire_array_end(struct wire *w, size_t begun, size_t align)
{
	size_t first = (begun + sizeof(uint32_t) + align - 1) & ~(align - 1);

	set_u32(w, begun, w->size - first);
}

void wire_begin(struct wire *w, const struct wire_head *head)
{
	const uint8_t start[] = {w->big ? 'B' : 'l', head->type, head->flags, 1};

	w->size = 0;
	put(w, start, sizeof(start));
	wire_u32(w, 0);
	wire_u32(w, head->serial);
	wire_u32(w, 0);
	field(w, FIELD_PATH, 'o', head->path);
	field(w, FIELD_INTERFACE, 's', head->interface);
	field(w, FIELD_MEMBER, 's', head->member);
	field(w, FIELD_DESTINATION, 's', head->destination);
	field(w, FIELD_ERROR, 's', head->error);
	field(w, FIELD_SIGNATURE, 'g', head->signature);
	number(w, FIELD_REPLY_SERIAL, head->reply_serial);
	number(w, FIELD_FDS, head->fds);
	set_u32(w, 12, w->size - HEADER_SIZE);
	pad(w, 8);
	/* where the body begins, until wire_end() */
	set_u32(w, 4, w->size);
}

void wire_end(struct wire *w)
{
	uint32_t body;

	memcpy(&body, w->data + 4, sizeof(body));
	set_u32(w, 4, w->size - order(w, body));
}

/* sd-bus writes in the machine's own order of bytes. */
struct cursor {
	const uint8_t *start, *at, *end;
};

static const uint8_t *take(struct cursor *c, size_t size)
{
	const uint8_t *at = c->at;

	CHECK((size_t)(c->end - c->at) >= size);
	c->at += size;
	return at;
}

static void align(struct cursor *c, size_t to)
{
	size_t n = -(size_t)(c->at - c->start) & (to - 1);
	const uint8_t *zeroes = take(c, n);

	for (size_t i = 0; i < n; i++)
		CHECK(zeroes[i] == 0);
}

static uint32_t take_u32(struct cursor *c)
{
	uint32_t value;

	align(c, 4);
	memcpy(&value, take(c, sizeof(value)), sizeof(value));
	return value;
}

static const char *take_text(struct cursor *c, size_t size)
{
	const char *text = (const char *)take(c, size + 1);

	CHECK(text[size] == '\0' && strlen(text) == size);
	CHECK(text_is_utf8(text, size));
	return text;
}

static size_t alignment(char type)
{
	if (strchr("ygv", type))
		return 1;
	if (strchr("nq", type))
		return 2;
	return strchr("xtd({", type) ? 8 : 4;
}

/* Behind the complete type at `type`. */
static const char *type_end(const char *type)
{
	unsigned depth = 0;

	while (*type == 'a')
		type++;
	do {
		CHECK(*type);
		depth += strchr("({", *type) != NULL;
		depth -= strchr(")}", *type) != NULL;
		type++;
	} while (depth > 0);
	return type;
}

static const char *walk(struct cursor *c, const char *type);

static void walk_array(struct cursor *c, const char *inner)
{
	struct cursor items = *c;
	uint32_t size = take_u32(&items);

	align(&items, alignment(*inner));
	CHECK((size_t)(items.end - items.at) >= size);
	items.end = items.at + size;
	while (items.at < items.end)
		walk(&items, inner);
	c->at = items.at;
}

static void walk_variant(struct cursor *c)
{
	const char *type = take_text(c, *take(c, 1));

	CHECK(*type && *walk(c, type) == '\0');
}

/* The values of one complete type; gives what follows it in the signature. */
static const char *walk(struct cursor *c, const char *type)
{
	align(c, alignment(*type));
	switch (*type) {
	case 'y':
		take(c, 1);
		break;
	case 'b':
	case 'h':
	case 'i':
	case 'u':
		take_u32(c);
		break;
	case 's':
	case 'o':
		take_text(c, take_u32(c));
		break;
	case 'g':
		take_text(c, *take(c, 1));
		break;
	case 'v':
		walk_variant(c);
		break;
	case 'a':
		walk_array(c, type + 1);
		break;
	case '(':
	case '{':
		for (const char *inner = type + 1; !strchr(")}", *inner);)
			inner = walk(c, inner);
		break;
	default:
		CHECK(!"a type that nothing here sends");
	}
	return type_end(type);
}

/* One header field; those that are asked for are kept. */
static void take_field(struct cursor *c, struct wire_seen *ret)
{
	uint8_t code;
	struct cursor value;

	align(c, 8);
	code = *take(c, 1);
	value = *c;
	walk_variant(c);
	take_text(&value, *take(&value, 1));
	if (code == FIELD_REPLY_SERIAL) {
		ret->reply_serial = take_u32(&value);
	} else if (code == FIELD_SIGNATURE) {
		const char *signature = take_text(&value, *take(&value, 1));

		memcpy(ret->signature, signature, strlen(signature) + 1);
	}
}

size_t wire_check(const uint8_t *data, size_t size, struct wire_seen *ret)
{
	struct cursor c = {data, data, data + size};
	uint32_t body, fields;
	const char *signature;

	*ret = (struct wire_seen){0};
	if (size < HEADER_SIZE)
		return 0;
	CHECK(data[0] == (htole32(1) == 1 ? 'l' : 'B') && data[3] == 1);
	ret->type = data[1];
	memcpy(&body, data + 4, sizeof(body));
	memcpy(&fields, data + 12, sizeof(fields));
	CHECK(body < (1u << 27) && fields < (1u << 26));
	if (size < HEADER_SIZE + (size_t)((fields + 7u) & ~7u) + body)
		return 0;
	c.at += HEADER_SIZE;
	c.end = c.at + fields;
	while (c.at < c.end)
		take_field(&c, ret);
	c.end = data + size;
	align(&c, 8);
	c.end = c.at + body;
	for (signature = ret->signature; *signature;)
		signature = walk(&c, signature);
	CHECK(c.at == c.end);
	return (size_t)(c.end - data);
}
