/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "connect.h"
#include "link.h"

static const char *const default_addresses[] = {CGM_ADDRESS_DEFAULT, CGM_ADDRESS_LEGACY, NULL};

__attribute__((format(printf, 1, 2))) static char *text_make(const char *format, ...)
{
	char *text;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vasprintf(&text, format, ap);
	va_end(ap);
	return n < 0 ? NULL : text;
}

static const char *connect_hint(int r)
{
	switch (r) {
	case -ENOENT:
	case -ECONNREFUSED:
		return "; is cgmd running? Start it, or name its socket with --address or "
		       "CGM_ADDRESS";
	case -EACCES:
	case -EPERM:
		return "; the socket or a directory above it does not let you in";
	case -ETIMEDOUT:
		return "; is cgmd stopped or overloaded? --timeout sets how long to wait";
	case -EINVAL:
	case -E2BIG:
		return "; see --address in `cgm --help`";
	default:
		return "";
	}
}

static const char *connect_reason(int r)
{
	switch (r) {
	case -ETIMEDOUT:
		return "no answer in time";
	case -ECONNRESET:
		return "it closed the connection at once";
	case -EINVAL:
		return "this is not a D-Bus address";
	case -E2BIG:
		return "the socket's path is too long";
	default:
		return strerror(-r);
	}
}

int connect_daemon(const struct invocation *inv, bool fds, uint64_t deadline, sd_bus **ret,
	const char **ret_address, char **ret_error)
{
	const char *const given[] = {inv->address, NULL};
	const char *address = "";
	int r = link_open(inv->address ? given : default_addresses, fds, deadline, ret, &address);
	bool neither = !inv->address && r == -ENOENT;

	*ret_address = address;
	if (r < 0)
		*ret_error = text_make("cannot connect to %s%s%s: %s%s",
			neither ? default_addresses[0] : address, neither ? " or " : "",
			neither ? address : "", connect_reason(r), connect_hint(r));
	return r;
}

char *call_error_text(const struct invocation *inv, const char *address, int r)
{
	switch (r) {
	case -ETIMEDOUT:
		return text_make(
			"%s: no answer from %s within %u seconds; --timeout sets how long to "
			"wait",
			inv->verb->name, address, inv->timeout);
	case -ECONNRESET:
		return text_make("%s: %s closed the connection", inv->verb->name, address);
	case -EBADMSG:
		return text_make("%s: the answer of %s is not of the promised type; is it cgmd?",
			inv->verb->name, address);
	default:
		return text_make("%s: %s", inv->verb->name, strerror(-r));
	}
}

const char *refusal_text(const sd_bus_error *error)
{
	if (error->message && error->message[0])
		return error->message;
	return error->name ? error->name : "";
}
