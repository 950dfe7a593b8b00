/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "connect.h"
#include "filter.h"
#include "link.h"
#include "own.h"
#include "perf-run.h"
#include "print.h"

static const char *filter_error(int r)
{
	if (r == -ENOSYS)
		return "this kernel has no seccomp notification (Linux 5.0), or a filter keeps it "
		       "away";
	return strerror(-r);
}

static int fail_filter(const struct invocation *inv, int r, char **ret_error)
{
	if (asprintf(ret_error, "%s: cannot have perf_event_open handed over: %s", inv->verb->name,
		    filter_error(r)) < 0)
		*ret_error = NULL;
	return r;
}

static int hand_over(const struct invocation *inv, int listener, char **ret_error)
{
	OWN(sd_bus_close_unrefp) sd_bus *bus = NULL;
	OWN(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	uint64_t deadline = link_deadline(inv->timeout);
	const char *address;
	int r = connect_daemon(inv, true, deadline, &bus, &address, ret_error);

	if (r < 0)
		return r;
	r = link_attach(bus, listener, deadline, &error);
	if (r > 0)
		*ret_error = strdup(refusal_text(&error));
	else if (r < 0)
		*ret_error = call_error_text(inv, address, r);
	return r > 0 ? -EACCES : r;
}

/* The filter comes first: where a listener serves already, no daemon need be in reach. 1: that is
 * so. */
int perf_trap(const struct invocation *inv, char **ret_error)
{
	OWN(own_fd) int listener = -EBADF;
	int r = filter_load(&listener);

	if (r == -EBUSY)
		return 1;
	return r < 0 ? fail_filter(inv, r, ret_error) : hand_over(inv, listener, ret_error);
}

int perf_run(FILE *out, const struct invocation *inv, char **ret_error)
{
	enum escape escape = isatty(STDERR_FILENO) ? ESCAPE_ALL : ESCAPE_NONE;
	int r = perf_trap(inv, ret_error), error;

	(void)out;
	if (r < 0)
		return r;
	if (inv->given & 1U)
		fprintf(stderr, "cgm: note: perf_event_open is answered by %s\n",
			r == 0 ? "cgmd" : "the listener that was there before");
	execvp(inv->rest[0], inv->rest);
	error = errno;
	fputs("cgm: perf run: ", stderr);
	print_text(stderr, inv->rest[0], escape);
	fprintf(stderr, ": %s\n", strerror(error));
	return error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTED;
}
