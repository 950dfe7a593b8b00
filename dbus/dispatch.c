/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dispatch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-id128.h>

#include "answer.h"
#include "codec.h"
#include "driver.h"
#include "errors.h"
#include "introspect.h"
#include "property.h"

#define MESSAGE_TEXT_MAX 1024
#define OBJECT_TEXT_MAX 384

struct call {
	sd_bus_message *m;
	const char *path, *member;
	const struct interface *interface; /* of the service's object there; NULL: none */
	const struct dispatch_ops *ops;
	void *userdata;
	bool driver; /* it is for the bus driver, not for the service */
};

struct builtin {
	const char *interface, *member, *in;
	bool everywhere; /* on every object path, not on ours alone */
	int (*run)(const struct call *c);
};

static int peer_ping(const struct call *c)
{
	return answer_values(c->m, "");
}

static int peer_machine_id(const struct call *c)
{
	char text[SD_ID128_STRING_MAX];
	sd_id128_t id;

	if (!c->ops->may_know_host(c->userdata))
		return answer_error(c->m, SD_BUS_ERROR_ACCESS_DENIED,
			"GetMachineId: the host's identity is told to host root alone");
	if (sd_id128_get_machine(&id) < 0)
		return answer_error(
			c->m, SD_BUS_ERROR_FAILED, "GetMachineId: the host has no machine id");
	return answer_values(c->m, "s", sd_id128_to_string(id, text));
}

static int send_unknown(const struct call *c)
{
	char text[MESSAGE_TEXT_MAX];

	snprintf(text, sizeof(text), "There is no %.256s at object %.256s; see Introspect on %s.",
		c->member, c->path,
		c->driver      ? DRIVER_PATH
		: c->interface ? c->path
			       : CGM_PATH);
	return answer_error(c->m, SD_BUS_ERROR_UNKNOWN_METHOD, text);
}

static int introspect(const struct call *c)
{
	char *text = c->driver ? introspect_driver(c->path) : introspect_path(c->path);
	int r;

	if (!text)
		return errno == ENOENT ? send_unknown(c) : -ENOMEM;
	r = answer_values(c->m, "s", text);
	free(text);
	return r;
}

static struct property_call of_property(const struct call *c)
{
	return (struct property_call){c->m, c->interface, c->ops, c->userdata};
}

static int properties_get(const struct call *c)
{
	const struct property_call call = of_property(c);

	return property_get(&call);
}

static int properties_get_all(const struct call *c)
{
	const struct property_call call = of_property(c);

	return property_get_all(&call);
}

static int properties_set(const struct call *c)
{
	const struct property_call call = of_property(c);

	return property_set(&call);
}

static const struct builtin builtins[] = {
	{"org.freedesktop.DBus.Peer", "Ping", "", true, peer_ping},
	{"org.freedesktop.DBus.Peer", "GetMachineId", "", true, peer_machine_id},
	{"org.freedesktop.DBus.Introspectable", "Introspect", "", true, introspect},
	{"org.freedesktop.DBus.Properties", "Get", "ss", false, properties_get},
	{"org.freedesktop.DBus.Properties", "GetAll", "s", false, properties_get_all},
	{"org.freedesktop.DBus.Properties", "Set", "ssv", false, properties_set},
};

static const struct builtin *builtin_find(const struct call *c, const char *interface)
{
	for (size_t i = 0; i < sizeof(builtins) / sizeof(builtins[0]); i++) {
		const struct builtin *b = &builtins[i];

		if (strcmp(b->member, c->member) == 0 &&
			(!interface || strcmp(b->interface, interface) == 0) &&
			(b->everywhere || c->interface))
			return b;
	}
	return NULL;
}

static int refuse_signature(const struct call *c, const char *in)
{
	char text[MESSAGE_TEXT_MAX];

	snprintf(text, sizeof(text), "%s: the arguments must have the signature '%s', not '%.128s'",
		c->member, in, sd_bus_message_get_signature(c->m, 1));
	return answer_error(c->m, SD_BUS_ERROR_INVALID_ARGS, text);
}

/* Clients of the old interface match the name: it is the same for every failure. */
static const char *failure_name(const struct method *method, enum reason_kind kind)
{
	return method->flags & METHOD_NATIVE ? error_name(kind) : SD_BUS_ERROR_INVALID_ARGS;
}

static int call_method(const struct call *c, const struct method *method)
{
	char detail[DECODE_DETAIL_MAX], text[MESSAGE_TEXT_MAX];
	struct request request;
	enum reason reason = decode_request(c->m, method, &request, detail);

	if (reason == REASON_OK) {
		c->ops->call(c->userdata, c->m, &request);
		request_done(&request);
		return 1;
	}
	c->ops->refused(c->userdata, c->m, reason);
	if (reason == REASON_SIGNATURE)
		return refuse_signature(c, method->in);
	reason_message(reason, method->name, NULL, detail, text, sizeof(text));
	return answer_error(c->m, failure_name(method, reason_row(reason)->kind), text);
}

static int call_driver(const struct call *c, const struct driver_method *method)
{
	struct driver_call call = {.m = c->m, .ops = c->ops, .userdata = c->userdata};

	if (!sd_bus_message_has_signature(c->m, method->in))
		return refuse_signature(c, method->in);
	return method->run(&call);
}

static int dispatch_call(const struct call *c, const char *interface)
{
	const struct driver_method *driven = c->driver ? driver_find(interface, c->member) : NULL;
	const struct method *method = NULL;
	const struct builtin *builtin;

	if (driven)
		return call_driver(c, driven);
	if (c->interface && (!interface || strcmp(interface, c->interface->name) == 0))
		method = method_find(c->interface, c->member);
	if (method)
		return call_method(c, method);
	builtin = builtin_find(c, interface);
	if (!builtin)
		return send_unknown(c);
	if (!sd_bus_message_has_signature(c->m, builtin->in))
		return refuse_signature(c, builtin->in);
	return builtin->run(c);
}

static const struct interface *interface_at(const char *path)
{
	for (unsigned i = 0; i < INTERFACE_MAX; i++)
		if (strcmp(path, interfaces[i].path) == 0)
			return &interfaces[i];
	return NULL;
}

/* Who said Hello is on a bus, where a destination means something. Others were never asked for one.
 */
static bool is_elsewhere(const struct call *c, const char *destination)
{
	return destination && !c->driver && !driver_is_service(destination) &&
	       *c->ops->unique(c->userdata) != 0;
}

int dispatch_message(sd_bus_message *m, const struct dispatch_ops *ops, void *userdata)
{
	struct call c = {.m = m, .ops = ops, .userdata = userdata};
	const char *destination;
	uint8_t type;
	int r;

	/* Signals, and answers to what was never asked, mean nothing here. */
	if (sd_bus_message_get_type(m, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL)
		return 1;
	c.path = sd_bus_message_get_path(m);
	c.member = sd_bus_message_get_member(m);
	if (!c.path || !c.member)
		return 1;
	destination = sd_bus_message_get_destination(m);
	c.driver = strcmp(destination ?: c.path, destination ? DRIVER_NAME : DRIVER_PATH) == 0;
	if (!c.driver)
		c.interface = interface_at(c.path);
	if (is_elsewhere(&c, destination))
		r = answer_error(m, SD_BUS_ERROR_SERVICE_UNKNOWN,
			"There is one service here, " DRIVER_SERVICE_NAMES
			"; no message is passed on to others.");
	else
		r = dispatch_call(&c, sd_bus_message_get_interface(m));
	return r < 0 ? r : 1;
}

static int reply_error(sd_bus_message *m, const struct request *request, const struct reply *reply)
{
	char object[OBJECT_TEXT_MAX], text[MESSAGE_TEXT_MAX];

	if (!reply->object)
		request_object(request, object, sizeof(object));
	reason_message(reply->reason, request->method->name, reply->object ? reply->object : object,
		reply->detail, text, sizeof(text));
	return answer_error(
		m, failure_name(request->method, reason_row(reply->reason)->kind), text);
}

int dispatch_reply(sd_bus_message *m, const struct request *request, const struct reply *reply)
{
	sd_bus_message *answer = NULL;
	int r;

	if (!sd_bus_message_get_expect_reply(m))
		return 0;
	if (reply->reason != REASON_OK)
		return reply_error(m, request, reply);
	r = sd_bus_message_new_method_return(m, &answer);
	if (r >= 0)
		r = encode_values(answer, request->method->out, reply);
	if (r >= 0)
		r = answer_send(m, answer);
	sd_bus_message_unref(answer);
	if (r == -EILSEQ)
		return answer_error(m, failure_name(request->method, KIND_FAILED), ANSWER_NOT_TEXT);
	return r;
}
