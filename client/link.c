/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "../dbus/errors.h"
#include "link.h"
#include "own.h"

#define USEC_PER_SEC UINT64_C(1000000)
#define NSEC_PER_USEC 1000
/* How long to wait before knocking again where the listener's backlog is full. */
#define BACKLOG_PAUSE_NSEC (10 * 1000 * 1000)

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / NSEC_PER_USEC;
}

uint64_t link_deadline(unsigned seconds)
{
	return now() + seconds * USEC_PER_SEC;
}

/* 0 once it is over, which sd_bus_call() would take for "the default": ask before. */
static uint64_t time_left(uint64_t deadline)
{
	uint64_t t = now();

	return t < deadline ? deadline - t : 0;
}

/* sd_bus_call() would wait for the authentication as long as sd-bus sees fit. */
static int wait_ready(sd_bus *bus, uint64_t deadline)
{
	for (;;) {
		uint64_t left;
		int r = sd_bus_is_ready(bus);

		if (r != 0)
			return r;
		r = sd_bus_process(bus, NULL);
		if (r < 0)
			return r;
		if (sd_bus_is_open(bus) <= 0)
			return -ECONNRESET;
		if (r > 0)
			continue;
		left = time_left(deadline);
		if (left == 0)
			return -ETIMEDOUT;
		r = sd_bus_wait(bus, left);
		if (r < 0 && r != -EINTR)
			return r;
	}
}

static int try_address(const char *address, bool fds, uint64_t deadline, sd_bus **ret)
{
	OWN(sd_bus_close_unrefp) sd_bus *bus = NULL;
	int r = sd_bus_new(&bus);

	if (r < 0)
		return r;
	r = sd_bus_set_address(bus, address);
	if (r < 0)
		return r;
	r = sd_bus_negotiate_fds(bus, fds);
	if (r < 0)
		return r;
	r = sd_bus_start(bus);
	if (r < 0)
		return r;
	r = wait_ready(bus, deadline);
	if (r < 0)
		return r;
	*ret = bus;
	bus = NULL;
	return 0;
}

int link_open(const char *const *addresses, bool fds, uint64_t deadline, sd_bus **ret,
	const char **ret_address)
{
	const struct timespec pause = {.tv_nsec = BACKLOG_PAUSE_NSEC};
	int r = -EINVAL;

	if (errors_register() < 0)
		return -ENOMEM;
	for (; *addresses; addresses++) {
		*ret_address = *addresses;
		/* A full backlog is EAGAIN for a socket that does not block (unix(7)). */
		while ((r = try_address(*addresses, fds, deadline, ret)) == -EAGAIN) {
			if (time_left(deadline) == 0)
				return -ETIMEDOUT;
			nanosleep(&pause, NULL);
		}
		if (r != -ENOENT)
			break;
	}
	return r == -EPIPE || r == -ENOTCONN ? -ECONNRESET : r;
}

static int make_property_get(sd_bus *bus, const char *path, const char *interface,
	const char *property, sd_bus_message **ret)
{
	OWN(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	int r = sd_bus_message_new_method_call(
		bus, &m, NULL, path, "org.freedesktop.DBus.Properties", "Get");

	if (r < 0)
		return r;
	r = sd_bus_message_append(m, "ss", interface, property);
	if (r < 0)
		return r;
	*ret = m;
	m = NULL;
	return 0;
}

/* `as` */
static int append_texts(sd_bus_message *m, char *const *texts, int n)
{
	int r = sd_bus_message_open_container(m, 'a', "s");

	for (int i = 0; r >= 0 && i < n; i++)
		r = sd_bus_message_append_basic(m, 's', texts[i]);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

/* `a{sv}`: what was given of the verb's arguments from `i` on, which are options. */
static int append_options(sd_bus_message *m, const struct invocation *inv, unsigned i)
{
	const enum arg_id *ids = inv->verb->args;
	int r = sd_bus_message_open_container(m, 'a', "{sv}");

	for (; r >= 0 && ids[i] != ARG_NONE; i++) {
		const struct arg *arg = &args[ids[i]];

		if (!(inv->given & 1U << i))
			continue;
		if (arg_is_text(arg->kind))
			r = sd_bus_message_append(m, "{sv}", arg->name, "s", inv->values[i].text);
		else
			r = sd_bus_message_append(m, "{sv}", arg->name,
				arg->kind == TAKES_SWITCH ? "b" : "u", inv->values[i].number);
	}
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_args(sd_bus_message *m, const struct invocation *inv)
{
	const char *type = methods[inv->verb->method].in;
	int r = 0;

	for (unsigned i = 0; r >= 0 && *type; i++, type += type_length(type)) {
		const union value *value = &inv->values[i];

		if (*type == 's')
			r = sd_bus_message_append_basic(m, 's', value->text);
		else if (*type == 'i')
			r = sd_bus_message_append_basic(m, 'i', &value->number);
		else if (strncmp(type, "as", 2) == 0)
			r = append_texts(m, inv->rest, inv->n_rest);
		else
			r = append_options(m, inv, i);
	}
	return r;
}

static int make_method_call(sd_bus *bus, enum method_id id, sd_bus_message **ret)
{
	const struct method *method = &methods[id];
	const struct interface *interface = method_interface(method);

	return sd_bus_message_new_method_call(
		bus, ret, NULL, interface->path, interface->name, method->name);
}

static int make_call(sd_bus *bus, const struct invocation *inv, sd_bus_message **ret)
{
	OWN(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	int r = make_method_call(bus, inv->verb->method, &m);

	if (r < 0)
		return r;
	r = append_args(m, inv);
	if (r < 0)
		return r;
	*ret = m;
	m = NULL;
	return 0;
}

/* As link_call(). */
static int exchange(sd_bus *bus, sd_bus_message *m, uint64_t deadline, sd_bus_message **ret,
	sd_bus_error *ret_error)
{
	OWN(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	uint64_t left = time_left(deadline);
	int r;

	if (left == 0)
		return -ETIMEDOUT;
	r = sd_bus_call(bus, m, left, &error, ret);
	/* sd-bus reports its own failures in the same place as the daemon's refusals. */
	if (r == -ETIMEDOUT || r == -ENOMEM)
		return r;
	if (r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE)
		return -ECONNRESET;
	if (r < 0) {
		*ret_error = error;
		error = SD_BUS_ERROR_NULL;
		return 1;
	}
	return 0;
}

static int check_answer(sd_bus_message *m, const struct verb *verb)
{
	const char *promised = verb_output_signature(verb);

	if (verb->method != METHOD_MAX)
		return sd_bus_message_has_signature(m, promised) > 0 ? 0 : -EBADMSG;
	return sd_bus_message_enter_container(m, 'v', promised) > 0 ? 0 : -EBADMSG;
}

int link_call(sd_bus *bus, const struct invocation *inv, uint64_t deadline, sd_bus_message **ret,
	sd_bus_error *ret_error)
{
	OWN(sd_bus_message_unrefp) sd_bus_message *m = NULL, *answer = NULL;
	int r = inv->verb->method == METHOD_MAX
			? make_property_get(bus, CGM_PATH, CGM_INTERFACE, "api_version", &m)
			: make_call(bus, inv, &m);

	if (r < 0)
		return r;
	r = exchange(bus, m, deadline, &answer, ret_error);
	if (r != 0)
		return r;
	r = check_answer(answer, inv->verb);
	if (r < 0)
		return r;
	*ret = answer;
	answer = NULL;
	return 0;
}

int link_attach(sd_bus *bus, int listener, uint64_t deadline, sd_bus_error *ret_error)
{
	OWN(sd_bus_message_unrefp) sd_bus_message *m = NULL, *answer = NULL;
	int r = make_method_call(bus, METHOD_AttachPerfListener, &m);

	if (r >= 0)
		r = sd_bus_message_append_basic(m, 'h', &listener);
	if (r >= 0)
		r = exchange(bus, m, deadline, &answer, ret_error);
	if (r != 0)
		return r;
	return sd_bus_message_has_signature(answer, "") > 0 ? 0 : -EBADMSG;
}

int link_get_scope(sd_bus *bus, uint64_t deadline, sd_bus_message **ret)
{
	OWN(sd_bus_message_unrefp) sd_bus_message *m = NULL, *answer = NULL;
	OWN(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	int r = make_property_get(bus, NATIVE_PATH, NATIVE_INTERFACE, "Scope", &m);

	if (r < 0)
		return r;
	r = exchange(bus, m, deadline, &answer, &error);
	if (r != 0)
		return r < 0 ? r : -EOPNOTSUPP;
	if (sd_bus_message_enter_container(answer, 'v', "a{ss}") <= 0)
		return -EBADMSG;
	*ret = answer;
	answer = NULL;
	return 0;
}
