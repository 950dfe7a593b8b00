/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
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

static int try_address(const char *address, uint64_t deadline, sd_bus **ret)
{
	OWN(sd_bus_close_unrefp) sd_bus *bus = NULL;
	int r = sd_bus_new(&bus);

	if (r < 0)
		return r;
	r = sd_bus_set_address(bus, address);
	if (r < 0)
		return r;
	r = sd_bus_negotiate_fds(bus, 0);
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

int link_open(
	const char *const *addresses, uint64_t deadline, sd_bus **ret, const char **ret_address)
{
	const struct timespec pause = {.tv_nsec = BACKLOG_PAUSE_NSEC};
	int r = -EINVAL;

	if (errors_register() < 0)
		return -ENOMEM;
	for (; *addresses; addresses++) {
		*ret_address = *addresses;
		/* A full backlog is EAGAIN for a socket that does not block (unix(7)). */
		while ((r = try_address(*addresses, deadline, ret)) == -EAGAIN) {
			if (time_left(deadline) == 0)
				return -ETIMEDOUT;
			nanosleep(&pause, NULL);
		}
		if (r != -ENOENT)
			break;
	}
	return r == -EPIPE || r == -ENOTCONN ? -ECONNRESET : r;
}

static int make_property_get(sd_bus *bus, sd_bus_message **ret)
{
	OWN(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	int r = sd_bus_message_new_method_call(
		bus, &m, NULL, CGM_PATH, "org.freedesktop.DBus.Properties", "Get");

	if (r < 0)
		return r;
	r = sd_bus_message_append(m, "ss", CGM_INTERFACE, "api_version");
	if (r < 0)
		return r;
	*ret = m;
	m = NULL;
	return 0;
}

static int make_call(sd_bus *bus, const struct invocation *inv, sd_bus_message **ret)
{
	OWN(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	const struct method *method = &methods[inv->verb->method];
	int r = sd_bus_message_new_method_call(
		bus, &m, NULL, CGM_PATH, CGM_INTERFACE, method->name);

	if (r < 0)
		return r;
	for (size_t i = 0; method->in[i]; i++) {
		const union value *value = &inv->values[i];

		r = method->in[i] == 's' ? sd_bus_message_append_basic(m, 's', value->text)
					 : sd_bus_message_append_basic(m, 'i', &value->number);
		if (r < 0)
			return r;
	}
	*ret = m;
	m = NULL;
	return 0;
}

static int check_answer(sd_bus_message *m, const struct verb *verb)
{
	const char *promised = verb_output_signature(verb);
	int r;

	if (verb->method != METHOD_MAX)
		return sd_bus_message_has_signature(m, promised) > 0 ? 0 : -EBADMSG;
	r = sd_bus_message_enter_container(m, 'v', promised);
	return r > 0 ? 0 : -EBADMSG;
}

int link_call(sd_bus *bus, const struct invocation *inv, uint64_t deadline, sd_bus_message **ret,
	sd_bus_error *ret_error)
{
	OWN(sd_bus_message_unrefp) sd_bus_message *m = NULL, *answer = NULL;
	OWN(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	uint64_t left;
	int r;

	r = inv->verb->method == METHOD_MAX ? make_property_get(bus, &m) : make_call(bus, inv, &m);
	if (r < 0)
		return r;
	left = time_left(deadline);
	if (left == 0)
		return -ETIMEDOUT;
	r = sd_bus_call(bus, m, left, &error, &answer);
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
	r = check_answer(answer, inv->verb);
	if (r < 0)
		return r;
	*ret = answer;
	answer = NULL;
	return 0;
}
