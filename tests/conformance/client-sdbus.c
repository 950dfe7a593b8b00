/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* sd-bus, as a client that knows no bus. */
#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "client.h"

struct connection {
	sd_bus *bus;
};

struct connection *connection_open(const char *address, const char *option)
{
	struct connection *c = calloc(1, sizeof(*c));
	int r;

	if (!c || sd_bus_new(&c->bus) < 0)
		err(1, "sd_bus_new");
	r = sd_bus_set_address(c->bus, address);
	if (r >= 0)
		r = sd_bus_negotiate_fds(c->bus, 1);
	if (r >= 0)
		r = sd_bus_start(c->bus);
	if (r < 0) {
		warnx("sd_bus_start: %s", strerror(-r));
		connection_close(c);
		return NULL;
	}
	return c;
}

void connection_close(struct connection *c)
{
	sd_bus_close_unref(c->bus);
	free(c);
}

static int append(sd_bus_message *m, const struct value *v)
{
	int number = v->number;

	switch (v->type) {
	case 'i':
	case 'h':
		return sd_bus_message_append_basic(m, v->type, &number);
	case 'x':
		return sd_bus_message_append_basic(m, 'x', &v->number);
	case 'a':
		return sd_bus_message_append(m, "as", 1, v->text);
	case 'v':
		return sd_bus_message_append(m, "v", "s", v->text);
	default:
		return sd_bus_message_append_basic(m, 's', v->text);
	}
}

static int take(sd_bus_message *m, struct bytes *b);

/* > 0: there was a value. */
static int take_inside(sd_bus_message *m, char type, const char *contents, struct bytes *b)
{
	struct array a = {};
	int r = sd_bus_message_enter_container(m, type, contents);

	if (r < 0)
		return r;
	if (type == 'a')
		a = bytes_array(b, *contents);
	else if (type == 'v')
		bytes_signature(b, contents);
	else
		bytes_align(b, 8);
	do
		r = take(m, b);
	while (r > 0);
	if (type == 'a')
		bytes_array_end(b, a);
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* 0: nothing is left at this level. */
static int take(sd_bus_message *m, struct bytes *b)
{
	const char *contents, *text;
	uint32_t number;
	char type;
	int r = sd_bus_message_peek_type(m, &type, &contents);

	if (r <= 0)
		return r;
	switch (type) {
	case 'i':
	case 'u':
		r = sd_bus_message_read_basic(m, type, &number);
		if (r > 0)
			bytes_u32(b, number);
		return r;
	case 's':
		r = sd_bus_message_read_basic(m, 's', &text);
		if (r > 0)
			bytes_string(b, text);
		return r;
	default:
		return take_inside(m, type, contents, b);
	}
}

static char *copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

static int exchange(sd_bus *bus, sd_bus_message *m, struct answer *ret)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
	__attribute__((cleanup(sd_bus_error_free))) sd_bus_error error = SD_BUS_ERROR_NULL;
	int r = sd_bus_call(bus, m, CALL_SECONDS * 1000000ULL, &error, &reply);

	if (r < 0) {
		*ret = (struct answer){.error = copy(error.name), .message = copy(error.message)};
		return ret->error ? 0 : r;
	}
	*ret = (struct answer){.signature = copy(sd_bus_message_get_signature(reply, 1))};
	do
		r = take(reply, &ret->body);
	while (r > 0);
	return r;
}

int connection_call(struct connection *c, const struct call *call, struct answer *ret)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *m = NULL;
	int r = sd_bus_message_new_method_call(
		c->bus, &m, NULL, call->path, call->interface, call->member);

	for (size_t i = 0; r >= 0 && i < call->n_values; i++)
		r = append(m, &call->values[i]);
	if (r >= 0 && call->no_reply) {
		*ret = (struct answer){};
		r = sd_bus_message_set_expect_reply(m, 0);
		r = r < 0 ? r : sd_bus_send(c->bus, m, NULL);
		r = r < 0 ? r : sd_bus_flush(c->bus);
	} else if (r >= 0) {
		r = exchange(c->bus, m, ret);
	}
	if (r < 0)
		warnx("%s: %s", call->member, strerror(-r));
	return r < 0 ? -1 : 0;
}
