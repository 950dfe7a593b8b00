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
#include "introspect.h"

#define MESSAGE_TEXT_MAX 1024
#define OBJECT_TEXT_MAX 384

struct call {
	sd_bus_message *m;
	const char *path, *member;
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
		c->member, c->path, c->driver ? DRIVER_PATH : CGM_PATH);
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

static bool is_ours(const char *interface)
{
	return interface[0] == '\0' || strcmp(interface, CGM_INTERFACE) == 0;
}

static int properties_get(const struct call *c)
{
	const char *interface, *property;

	if (sd_bus_message_read(c->m, "ss", &interface, &property) < 0)
		return -EINVAL;
	if (!is_ours(interface) || strcmp(property, "api_version") != 0)
		return answer_error(c->m, SD_BUS_ERROR_UNKNOWN_METHOD,
			"Get: there is no such property; " CGM_INTERFACE " has api_version");
	return answer_values(c->m, "v", "i", (int32_t)CGM_API_VERSION);
}

static int properties_get_all(const struct call *c)
{
	const char *interface;

	if (sd_bus_message_read(c->m, "s", &interface) < 0)
		return -EINVAL;
	if (!is_ours(interface))
		return answer_values(c->m, "a{sv}", 0);
	return answer_values(c->m, "a{sv}", 1, "api_version", "i", (int32_t)CGM_API_VERSION);
}

static int properties_set(const struct call *c)
{
	const char *interface, *property;

	if (sd_bus_message_read(c->m, "ss", &interface, &property) < 0)
		return -EINVAL;
	if (!is_ours(interface) || strcmp(property, "api_version") != 0)
		return answer_error(
			c->m, SD_BUS_ERROR_UNKNOWN_METHOD, "Set: there is no such property");
	return answer_error(
		c->m, SD_BUS_ERROR_PROPERTY_READ_ONLY, "Set: api_version cannot be changed");
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
			(b->everywhere || (!c->driver && strcmp(c->path, CGM_PATH) == 0)))
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

static int call_method(const struct call *c, const struct method *method)
{
	struct request request;
	enum reason reason = decode_request(c->m, method, &request);

	if (reason != REASON_OK) {
		c->ops->refused(c->userdata, c->m, reason);
		return refuse_signature(c, method->in);
	}
	c->ops->call(c->userdata, c->m, &request);
	return 1;
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
	if (!c->driver && strcmp(c->path, CGM_PATH) == 0 &&
		(!interface || strcmp(interface, CGM_INTERFACE) == 0))
		method = method_find(c->member);
	if (method)
		return call_method(c, method);
	builtin = builtin_find(c, interface);
	if (!builtin)
		return send_unknown(c);
	if (!sd_bus_message_has_signature(c->m, builtin->in))
		return refuse_signature(c, builtin->in);
	return builtin->run(c);
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
	if (is_elsewhere(&c, destination))
		r = answer_error(m, SD_BUS_ERROR_SERVICE_UNKNOWN,
			"There is one service here, " DRIVER_SERVICE_NAME
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
	/* Clients of this interface match the name: it is the same for every failure. */
	return answer_error(m, SD_BUS_ERROR_INVALID_ARGS, text);
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
		r = encode_reply(answer, request->method, reply);
	if (r >= 0)
		r = answer_send(m, answer);
	sd_bus_message_unref(answer);
	if (r == -EILSEQ)
		return answer_error(m, SD_BUS_ERROR_INVALID_ARGS,
			"the answer is not UTF-8, and D-Bus carries nothing else");
	return r;
}
