/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GDBus, without the flag for a message bus. */
#include <err.h>
#include <gio/gio.h>
#include <gio/gunixfdlist.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

struct connection {
	GDBusConnection *peer;
};

struct connection *connection_open(const char *address, const char *option)
{
	struct connection *c = calloc(1, sizeof(*c));
	g_autoptr(GError) error = NULL;

	if (!c)
		err(1, "calloc");
	c->peer = g_dbus_connection_new_for_address_sync(
		address, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT, NULL, NULL, &error);
	if (!c->peer) {
		warnx("g_dbus_connection_new_for_address_sync: %s", error->message);
		free(c);
		return NULL;
	}
	return c;
}

void connection_close(struct connection *c)
{
	g_dbus_connection_close_sync(c->peer, NULL, NULL);
	g_object_unref(c->peer);
	free(c);
}

static GVariant *variant(const struct value *v, GUnixFDList *fds)
{
	switch (v->type) {
	case 'i':
		return g_variant_new_int32(v->number);
	case 'x':
		return g_variant_new_int64(v->number);
	case 'h':
		return g_variant_new_handle(g_unix_fd_list_append(fds, v->number, NULL));
	case 'a':
		return g_variant_new_strv(&v->text, 1);
	case 'v':
		return g_variant_new_variant(g_variant_new_string(v->text));
	default:
		return g_variant_new_string(v->text);
	}
}

static GDBusMessage *message(const struct call *call)
{
	GDBusMessage *m =
		g_dbus_message_new_method_call(NULL, call->path, call->interface, call->member);
	g_autoptr(GUnixFDList) fds = g_unix_fd_list_new();
	GVariantBuilder body;

	g_variant_builder_init(&body, G_VARIANT_TYPE_TUPLE);
	for (size_t i = 0; i < call->n_values; i++)
		g_variant_builder_add_value(&body, variant(&call->values[i], fds));
	g_dbus_message_set_body(m, g_variant_builder_end(&body));
	if (g_unix_fd_list_get_length(fds))
		g_dbus_message_set_unix_fd_list(m, fds);
	return m;
}

static void take(GVariant *v, struct bytes *b);

static void take_members(GVariant *v, struct bytes *b)
{
	for (gsize i = 0; i < g_variant_n_children(v); i++) {
		g_autoptr(GVariant) member = g_variant_get_child_value(v, i);

		take(member, b);
	}
}

static void take(GVariant *v, struct bytes *b)
{
	const char *type = g_variant_get_type_string(v);
	struct array a;

	switch (*type) {
	case 'i':
		bytes_u32(b, g_variant_get_int32(v));
		break;
	case 'u':
		bytes_u32(b, g_variant_get_uint32(v));
		break;
	case 's':
		bytes_string(b, g_variant_get_string(v, NULL));
		break;
	case 'a':
		a = bytes_array(b, type[1]);
		take_members(v, b);
		bytes_array_end(b, a);
		break;
	case 'v': {
		g_autoptr(GVariant) inside = g_variant_get_variant(v);

		bytes_signature(b, g_variant_get_type_string(inside));
		take(inside, b);
		break;
	}
	default:
		bytes_align(b, 8);
		take_members(v, b);
	}
}

static int exchange(GDBusConnection *peer, GDBusMessage *m, struct answer *ret)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GDBusMessage) reply = g_dbus_connection_send_message_with_reply_sync(
		peer, m, G_DBUS_SEND_MESSAGE_FLAGS_NONE, CALL_SECONDS * 1000, NULL, NULL, &error);
	GVariant *body;

	if (!reply) {
		warnx("no reply: %s", error->message);
		return -1;
	}
	body = g_dbus_message_get_body(reply);
	if (g_dbus_message_get_message_type(reply) == G_DBUS_MESSAGE_TYPE_ERROR) {
		*ret = (struct answer){.error = strdup(g_dbus_message_get_error_name(reply)),
			.message = strdup(g_dbus_message_get_arg0(reply) ?: "")};
		return 0;
	}
	*ret = (struct answer){.signature = strdup(g_dbus_message_get_signature(reply))};
	if (body)
		take_members(body, &ret->body);
	return 0;
}

int connection_call(struct connection *c, const struct call *call, struct answer *ret)
{
	g_autoptr(GDBusMessage) m = message(call);
	g_autoptr(GError) error = NULL;

	if (!call->no_reply)
		return exchange(c->peer, m, ret);
	*ret = (struct answer){};
	g_dbus_message_set_flags(m, G_DBUS_MESSAGE_FLAGS_NO_REPLY_EXPECTED);
	if (!g_dbus_connection_send_message(
		    c->peer, m, G_DBUS_SEND_MESSAGE_FLAGS_NONE, NULL, &error) ||
		!g_dbus_connection_flush_sync(c->peer, NULL, &error)) {
		warnx("%s: %s", call->member, error->message);
		return -1;
	}
	return 0;
}
