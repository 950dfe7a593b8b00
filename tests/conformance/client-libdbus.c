/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libdbus, on a private connection to a peer. */
#include <dbus/dbus.h>
#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

struct connection {
	DBusConnection *peer;
};

struct connection *connection_open(const char *address, const char *option)
{
	struct connection *c = calloc(1, sizeof(*c));
	DBusError error = DBUS_ERROR_INIT;

	if (!c)
		err(1, "calloc");
	c->peer = dbus_connection_open_private(address, &error);
	if (!c->peer) {
		warnx("dbus_connection_open_private: %s", error.message);
		dbus_error_free(&error);
		free(c);
		return NULL;
	}
	dbus_connection_set_exit_on_disconnect(c->peer, FALSE);
	return c;
}

void connection_close(struct connection *c)
{
	dbus_connection_close(c->peer);
	dbus_connection_unref(c->peer);
	free(c);
}

/* One string in an array or a variant. */
static void append_inside(DBusMessageIter *at, int type, const char *text)
{
	DBusMessageIter inside;

	if (!dbus_message_iter_open_container(at, type, "s", &inside) ||
		!dbus_message_iter_append_basic(&inside, DBUS_TYPE_STRING, &text) ||
		!dbus_message_iter_close_container(at, &inside))
		errx(1, "libdbus has no memory");
}

static void append(DBusMessageIter *at, const struct value *v)
{
	dbus_int32_t number = v->number;
	dbus_int64_t wide = v->number;
	dbus_bool_t ok = TRUE;
	int fd = v->number;

	switch (v->type) {
	case 'i':
		ok = dbus_message_iter_append_basic(at, DBUS_TYPE_INT32, &number);
		break;
	case 'x':
		ok = dbus_message_iter_append_basic(at, DBUS_TYPE_INT64, &wide);
		break;
	case 'h':
		ok = dbus_message_iter_append_basic(at, DBUS_TYPE_UNIX_FD, &fd);
		break;
	case 'a':
		append_inside(at, DBUS_TYPE_ARRAY, v->text);
		break;
	case 'v':
		append_inside(at, DBUS_TYPE_VARIANT, v->text);
		break;
	default:
		ok = dbus_message_iter_append_basic(at, DBUS_TYPE_STRING, &v->text);
	}
	if (!ok)
		errx(1, "libdbus has no memory");
}

static void take(DBusMessageIter *at, struct bytes *b);

static void take_inside(DBusMessageIter *at, int type, struct bytes *b)
{
	DBusMessageIter inside;
	struct array a = {};
	char *signature;

	dbus_message_iter_recurse(at, &inside);
	if (type == DBUS_TYPE_ARRAY) {
		a = bytes_array(b, dbus_message_iter_get_element_type(at) == DBUS_TYPE_STRUCT ? '('
				   : dbus_message_iter_get_element_type(at) == DBUS_TYPE_DICT_ENTRY
					   ? '{'
					   : dbus_message_iter_get_element_type(at));
	} else if (type == DBUS_TYPE_VARIANT) {
		signature = dbus_message_iter_get_signature(&inside);
		bytes_signature(b, signature);
		dbus_free(signature);
	} else {
		bytes_align(b, 8);
	}
	take(&inside, b);
	if (type == DBUS_TYPE_ARRAY)
		bytes_array_end(b, a);
}

/* All values of this level. */
static void take(DBusMessageIter *at, struct bytes *b)
{
	int type;

	for (; (type = dbus_message_iter_get_arg_type(at)) != DBUS_TYPE_INVALID;
		dbus_message_iter_next(at)) {
		dbus_uint32_t number;
		const char *text;

		switch (type) {
		case DBUS_TYPE_INT32:
		case DBUS_TYPE_UINT32:
			dbus_message_iter_get_basic(at, &number);
			bytes_u32(b, number);
			break;
		case DBUS_TYPE_STRING:
			dbus_message_iter_get_basic(at, &text);
			bytes_string(b, text);
			break;
		default:
			take_inside(at, type, b);
		}
	}
}

static int exchange(DBusConnection *peer, DBusMessage *m, struct answer *ret)
{
	DBusError error = DBUS_ERROR_INIT;
	DBusMessage *reply =
		dbus_connection_send_with_reply_and_block(peer, m, CALL_SECONDS * 1000, &error);
	DBusMessageIter at;

	if (!reply) {
		*ret = (struct answer){
			.error = strdup(error.name), .message = strdup(error.message)};
		dbus_error_free(&error);
		return 0;
	}
	*ret = (struct answer){.signature = strdup(dbus_message_get_signature(reply))};
	if (dbus_message_iter_init(reply, &at))
		take(&at, &ret->body);
	dbus_message_unref(reply);
	return 0;
}

int connection_call(struct connection *c, const struct call *call, struct answer *ret)
{
	DBusMessage *m =
		dbus_message_new_method_call(NULL, call->path, call->interface, call->member);
	DBusMessageIter at;
	int r = 0;

	if (!m)
		errx(1, "libdbus has no memory");
	dbus_message_iter_init_append(m, &at);
	for (size_t i = 0; i < call->n_values; i++)
		append(&at, &call->values[i]);
	if (call->no_reply) {
		*ret = (struct answer){};
		dbus_message_set_no_reply(m, TRUE);
		if (!dbus_connection_send(c->peer, m, NULL))
			errx(1, "libdbus has no memory");
		dbus_connection_flush(c->peer);
	} else {
		r = exchange(c->peer, m, ret);
	}
	dbus_message_unref(m);
	return r;
}
