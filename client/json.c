/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "json.h"
#include "own.h"

static int read_item(sd_bus_message *m, const char *const *names, bool member, json_t **ret);

static int read_number(sd_bus_message *m, char type, bool member, json_t **ret)
{
	union {
		int32_t i;
		uint32_t u;
		int b;
	} value;
	int r = sd_bus_message_read_basic(m, type, &value);

	if (r < 0)
		return r;
	if (type == 'b')
		*ret = json_boolean(value.b);
	else if (type == 'i')
		*ret = json_integer(value.i);
	else
		*ret = member && value.u == UINT32_MAX ? json_null() : json_integer(value.u);
	return *ret ? 0 : -ENOMEM;
}

static int read_text(sd_bus_message *m, bool member, json_t **ret)
{
	const char *text;
	int r = sd_bus_message_read_basic(m, 's', &text);

	if (r < 0)
		return r;
	*ret = member && !*text ? json_null() : json_string(text);
	return *ret ? 0 : -ENOMEM;
}

static int read_array(
	sd_bus_message *m, const char *contents, const char *const *names, json_t **ret)
{
	OWN(json_decrefp) json_t *array = json_array();
	int r = sd_bus_message_enter_container(m, 'a', contents);

	if (!array)
		return -ENOMEM;
	while (r >= 0 && (r = sd_bus_message_at_end(m, false)) == 0) {
		json_t *item;

		r = read_item(m, names, false, &item);
		if (r >= 0 && json_array_append_new(array, item) < 0)
			return -ENOMEM;
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r < 0)
		return r;
	*ret = array;
	array = NULL;
	return 0;
}

/* What is left here, by its names. */
static int read_members(sd_bus_message *m, const char *const *names, json_t **ret)
{
	OWN(json_decrefp) json_t *object = json_object();
	int r = 0;

	if (!object)
		return -ENOMEM;
	for (; *names; names++) {
		json_t *item;

		r = read_item(m, NULL, true, &item);
		if (r < 0)
			return r;
		if (json_object_set_new(object, *names, item) < 0)
			return -ENOMEM;
	}
	*ret = object;
	object = NULL;
	return 0;
}

static int read_struct(
	sd_bus_message *m, const char *contents, const char *const *names, json_t **ret)
{
	OWN(json_decrefp) json_t *object = NULL;
	int r = sd_bus_message_enter_container(m, 'r', contents);

	if (r >= 0)
		r = read_members(m, names, &object);
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r < 0)
		return r;
	*ret = object;
	object = NULL;
	return 0;
}

static int read_item(sd_bus_message *m, const char *const *names, bool member, json_t **ret)
{
	const char *contents;
	char type;
	int r = sd_bus_message_peek_type(m, &type, &contents);

	if (r < 0)
		return r;
	switch (type) {
	case 's':
		return read_text(m, member, ret);
	case 'i':
	case 'u':
	case 'b':
		return read_number(m, type, member, ret);
	case 'a':
		return read_array(m, contents, names, ret);
	case 'r':
		return read_struct(m, contents, names, ret);
	default:
		return -EBADMSG;
	}
}

int json_read(sd_bus_message *m, const struct verb *verb, json_t **ret)
{
	const struct output_row *row = &outputs[verb->output];
	int r;

	if (strcmp(row->signature, "a{ss}") == 0)
		return json_read_texts(m, ret);
	r = row->names[0] && row->signature[0] != 'a' ? read_members(m, row->names, ret)
						      : read_item(m, row->names, false, ret);

	return r < 0 ? r : 0;
}

int json_read_texts(sd_bus_message *m, json_t **ret)
{
	OWN(json_decrefp) json_t *object = json_object();
	const char *key, *text;
	int r = sd_bus_message_enter_container(m, 'a', "{ss}");

	if (!object)
		return -ENOMEM;
	while (r >= 0 && (r = sd_bus_message_read(m, "{ss}", &key, &text)) > 0)
		if (json_object_set_new(object, key, json_string(text)) < 0)
			return -ENOMEM;
	if (r < 0)
		return r;
	*ret = object;
	object = NULL;
	return 0;
}

int json_print(FILE *out, const json_t *json, bool terminal)
{
	size_t flags = JSON_INDENT(2) | JSON_ENCODE_ANY | (terminal ? JSON_ENSURE_ASCII : 0);
	OWN(own_string) char *text = json_dumps(json, flags);

	if (!text)
		return -ENOMEM;
	for (const char *p = text; *p; p++) {
		/* the one control character that jansson lets through then */
		if (terminal && *p == 0x7f)
			fputs("\\u007f", out);
		else
			putc(*p, out);
	}
	putc('\n', out);
	return 0;
}
