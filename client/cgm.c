/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cgm.h"
#include "invocation.h"
#include "link.h"
#include "own.h"
#include "print.h"
#include "translate.h"

static const char *const default_addresses[] = {CGM_ADDRESS_DEFAULT, CGM_ADDRESS_LEGACY, NULL};

__attribute__((format(printf, 1, 2))) static int fail(const char *format, ...)
{
	OWN(own_string) char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vasprintf(&text, format, ap);
	va_end(ap);
	if (n < 0) {
		text = NULL;
		fputs("cgm: out of memory\n", stderr);
		return EXIT_FAILURE;
	}
	fputs("cgm: ", stderr);
	print_text(stderr, text, isatty(STDERR_FILENO) ? ESCAPE_LINES : ESCAPE_NONE);
	putc('\n', stderr);
	return EXIT_FAILURE;
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

static const char *connect_error(int r)
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

static int fail_connect(const struct invocation *inv, const char *address, int r)
{
	bool neither = !inv->address && r == -ENOENT;

	return fail("cannot connect to %s%s%s: %s%s", neither ? default_addresses[0] : address,
		neither ? " or " : "", neither ? address : "", connect_error(r), connect_hint(r));
}

static int fail_call(const struct invocation *inv, const char *address, int r)
{
	switch (r) {
	case -ETIMEDOUT:
		return fail("%s: no answer from %s within %u seconds; --timeout sets how long to "
			    "wait",
			inv->verb->name, address, inv->timeout);
	case -ECONNRESET:
		return fail("%s: %s closed the connection", inv->verb->name, address);
	case -EBADMSG:
		return fail("%s: the answer of %s is not of the promised type; is it cgmd?",
			inv->verb->name, address);
	default:
		return fail("%s: %s", inv->verb->name, strerror(-r));
	}
}

static int run_call(const struct invocation *inv)
{
	const char *const given[] = {inv->address, NULL};
	OWN(sd_bus_close_unrefp) sd_bus *bus = NULL;
	OWN(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
	OWN(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	uint64_t deadline = link_deadline(inv->timeout);
	const char *address = "";
	int r;

	r = link_open(inv->address ? given : default_addresses, deadline, &bus, &address);
	if (r < 0)
		return fail_connect(inv, address, r);
	r = link_call(bus, inv, deadline, &answer, &error);
	if (r > 0)
		return fail("%s", error.message && error.message[0] ? error.message : error.name);
	if (r == 0)
		r = print_answer(stdout, inv->verb, answer, isatty(STDOUT_FILENO));
	if (r < 0)
		return fail_call(inv, address, r);
	return EXIT_SUCCESS;
}

static int run_local(const struct invocation *inv)
{
	OWN(own_string) char *error = NULL;
	int r = translate_print(stdout, inv, &error);

	if (r < 0)
		return fail("%s", error ? error : strerror(-r));
	return EXIT_SUCCESS;
}

static int run(const struct invocation *inv)
{
	switch (inv->wish) {
	case WISH_CALL:
		return inv->verb->output == OUTPUT_LOCAL ? run_local(inv) : run_call(inv);
	case WISH_HELP:
		if (inv->verb)
			verb_print_help(stdout, inv->verb);
		else
			verbs_print_help(stdout);
		break;
	case WISH_VERSION:
		puts("cgm " CGM_VERSION);
		break;
	case WISH_LIST:
		verbs_print_list(stdout);
		break;
	case WISH_MAN:
		verbs_print_man(stdout);
		break;
	case WISH_KEYS:
		settings_print_list(stdout);
		break;
	case WISH_KEYS_MAN:
		settings_print_man(stdout);
		break;
	}
	return EXIT_SUCCESS;
}

int cgm_run(int argc, char *const *argv)
{
	OWN(invocation_done) struct invocation inv = {0};
	OWN(own_string) char *error = NULL;
	int r;

	/* A reader that went away is a failure to report, not a death without a word. */
	signal(SIGPIPE, SIG_IGN);
	r = invocation_parse(argc, argv, getenv("CGM_ADDRESS"), &inv, &error);
	if (r < 0) {
		fail("%s", error ? error : strerror(-r));
		return EXIT_TROUBLE;
	}
	r = run(&inv);
	errno = 0;
	if (fflush(stdout) != 0 || ferror(stdout))
		return fail("cannot write the output: %s", strerror(errno ? errno : EIO));
	return r;
}
