/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "property.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "answer.h"
#include "codec.h"
#include "errors.h"

#define TEXT_MAX 1024

/* "" stands for all that the object has. */
static bool is_meant(const struct property_call *c, const char *interface)
{
	return interface[0] == '\0' || strcmp(interface, c->interface->name) == 0;
}

/* The property that the first two arguments name; NULL: there is none. */
static int read_property(const struct property_call *c, const struct property **ret)
{
	const char *interface, *name;
	int r = sd_bus_message_read(c->m, "ss", &interface, &name);

	*ret = NULL;
	for (unsigned i = 0; r >= 0 && i < PROPERTY_MAX; i++)
		if (is_meant(c, interface) && properties[i].interface == c->interface->id &&
			strcmp(properties[i].name, name) == 0)
			*ret = &properties[i];
	return r;
}

static int refuse_property(const struct property_call *c)
{
	char text[TEXT_MAX];
	size_t len;

	snprintf(text, sizeof(text), "%s: there is no such property; %s has",
		sd_bus_message_get_member(c->m), c->interface->name);
	for (unsigned i = 0; i < PROPERTY_MAX; i++) {
		len = strlen(text);
		if (properties[i].interface == c->interface->id)
			snprintf(text + len, sizeof(text) - len, " %s", properties[i].name);
	}
	return answer_error(c->m, SD_BUS_ERROR_UNKNOWN_METHOD, text);
}

static int refuse_value(
	const struct property_call *c, const struct property *property, const struct reply *value)
{
	char text[TEXT_MAX];

	reason_message(value->reason, sd_bus_message_get_member(c->m), property->name,
		value->detail, text, sizeof(text));
	return answer_error(c->m, error_name(reason_row(value->reason)->kind), text);
}

static int append_variant(
	sd_bus_message *m, const struct property *property, const struct reply *value)
{
	int r = sd_bus_message_open_container(m, 'v', property->type);

	if (r >= 0)
		r = encode_values(m, property->type, value);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

/* 0: what is to be sent is sent; 1: `answer` has the variant. */
static int append_value(const struct property_call *c, const struct property *property,
	sd_bus_message *answer, bool named)
{
	struct reply value = {0};
	int r = 0;

	c->ops->property(c->userdata, (enum property_id)(property - properties), &value);
	if (value.reason != REASON_OK) {
		r = refuse_value(c, property, &value);
		reply_done(&value);
		return r < 0 ? r : 0;
	}
	if (named)
		r = sd_bus_message_open_container(answer, 'e', "sv");
	if (r >= 0 && named)
		r = sd_bus_message_append_basic(answer, 's', property->name);
	if (r >= 0)
		r = append_variant(answer, property, &value);
	if (r >= 0 && named)
		r = sd_bus_message_close_container(answer);
	reply_done(&value);
	return r < 0 ? r : 1;
}

/* As answer_send(), if there is something left to send. */
static int finish(const struct property_call *c, int r, sd_bus_message *answer)
{
	if (r > 0)
		r = answer_send(c->m, answer);
	sd_bus_message_unref(answer);
	if (r == -EILSEQ)
		return answer_error(c->m, error_name(KIND_FAILED), ANSWER_NOT_TEXT);
	return r;
}

int property_get(const struct property_call *c)
{
	const struct property *property;
	sd_bus_message *answer = NULL;
	int r = read_property(c, &property);

	if (r < 0)
		return r;
	if (!property)
		return refuse_property(c);
	if (!sd_bus_message_get_expect_reply(c->m))
		return 0;
	r = sd_bus_message_new_method_return(c->m, &answer);
	if (r >= 0)
		r = append_value(c, property, answer, false);
	return finish(c, r, answer);
}

int property_get_all(const struct property_call *c)
{
	sd_bus_message *answer = NULL;
	const char *interface;
	int r = sd_bus_message_read(c->m, "s", &interface);

	if (r < 0 || !sd_bus_message_get_expect_reply(c->m))
		return r < 0 ? r : 0;
	r = sd_bus_message_new_method_return(c->m, &answer);
	if (r >= 0)
		r = sd_bus_message_open_container(answer, 'a', "{sv}");
	r = r < 0 ? r : 1;
	for (unsigned i = 0; r > 0 && is_meant(c, interface) && i < PROPERTY_MAX; i++)
		if (properties[i].interface == c->interface->id)
			r = append_value(c, &properties[i], answer, true);
	if (r > 0) {
		r = sd_bus_message_close_container(answer);
		r = r < 0 ? r : 1;
	}
	return finish(c, r, answer);
}

int property_set(const struct property_call *c)
{
	const struct property *property;
	char text[TEXT_MAX];
	int r = read_property(c, &property);

	if (r < 0)
		return r;
	if (!property)
		return refuse_property(c);
	snprintf(text, sizeof(text), "Set: %s cannot be changed", property->name);
	return answer_error(c->m, SD_BUS_ERROR_PROPERTY_READ_ONLY, text);
}
