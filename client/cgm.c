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
#include "connect.h"
#include "device.h"
#include "invocation.h"
#include "json.h"
#include "link.h"
#include "own.h"
#include "perf-event.h"
#include "print.h"
#include "translate.h"

/* What has failed and was said: no exit status yet, for which one that is depends on the verb. */
#define TOLD (-1)

static void tell(const char *prefix, const char *text)
{
	fputs(prefix, stderr);
	print_text(stderr, text, isatty(STDERR_FILENO) ? ESCAPE_LINES : ESCAPE_NONE);
	putc('\n', stderr);
}

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
		return TOLD;
	}
	tell("cgm: ", text);
	return TOLD;
}

static const int verdict_status[] = {
	[ANSWER_ALLOWED] = EXIT_SUCCESS,
	[ANSWER_DENIED] = EXIT_DENIED,
	[ANSWER_UNKNOWN] = EXIT_UNKNOWN,
};

/* Through JSON, whether it is printed as that or not. The exit status, or negative errno. */
static int print_values(
	const struct invocation *inv, sd_bus_message *answer, bool terminal, json_t **ret)
{
	OWN(json_decrefp) json_t *json = NULL;
	enum device_answer verdict = ANSWER_ALLOWED;
	int r = json_read(answer, inv->verb, &json);

	if (r == 0 && inv->verb->output == OUTPUT_VERDICT)
		r = device_verdict(json, &verdict);
	if (r == 0)
		r = inv->json ? json_print(stdout, json, terminal)
			      : device_print(stdout, inv->verb, json,
					terminal ? ESCAPE_ALL : ESCAPE_NONE);
	if (r < 0)
		return r;
	*ret = json;
	json = NULL;
	return verdict_status[verdict];
}

static int read_scope(sd_bus *bus, uint64_t deadline, json_t **ret)
{
	OWN(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	int r = link_get_scope(bus, deadline, &m);

	return r < 0 ? r : json_read_texts(m, ret);
}

/* Asks what is in force for the cgroup whose rules were set. */
static int read_rules(sd_bus *bus, const struct invocation *inv, uint64_t deadline, json_t **ret)
{
	OWN(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
	OWN(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	struct invocation list = {
		.verb = verb_find("device list"), .values = {inv->values[0]}, .given = 1};
	int r = link_call(bus, &list, deadline, &answer, &error);

	if (r != 0)
		return r < 0 ? r : -EOPNOTSUPP;
	return json_read(answer, list.verb, ret);
}

/* All is done already: what cannot be found out is no failure, and no hint. */
static void hint_parent(
	sd_bus *bus, const struct invocation *inv, uint64_t deadline, const json_t *answer)
{
	OWN(json_decrefp) json_t *rules = NULL, *scope = NULL;
	const char *cgroup = inv->values[0].text;

	if (inv->verb->output == OUTPUT_RULES)
		rules = json_deep_copy(answer);
	else if (read_rules(bus, inv, deadline, &rules) < 0)
		return;
	if (cgroup[0] != '/' && read_scope(bus, deadline, &scope) < 0)
		return;
	if (device_runtime_sits_on(rules, cgroup, scope))
		tell("cgm: ",
			"note: on this cgroup itself is a program that is not cgmd's. Set rules on "
			"its "
			"parent: a runtime replaces what it finds on the cgroup that it is given");
}

static int print_and_hint(
	sd_bus *bus, const struct invocation *inv, uint64_t deadline, sd_bus_message *answer)
{
	OWN(json_decrefp) json_t *json = NULL;
	bool terminal = isatty(STDOUT_FILENO);
	int status = EXIT_SUCCESS;
	const char *note;

	if (inv->json || device_prints(inv->verb))
		status = print_values(inv, answer, terminal, &json);
	else
		status = print_answer(stdout, inv->verb, answer, terminal);
	if (status < 0)
		return status;
	note = device_note(inv->verb, json);
	if (note)
		tell("cgm: note: ", note);
	if (device_takes_hint(inv->verb))
		hint_parent(bus, inv, deadline, json);
	return status;
}

/* Takes the text. */
static int fail_with(char *text, int r)
{
	OWN(own_string) char *owned = text;

	return fail("%s", owned ? owned : strerror(-r));
}

static int run_call(const struct invocation *inv)
{
	OWN(sd_bus_close_unrefp) sd_bus *bus = NULL;
	OWN(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
	OWN(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	uint64_t deadline = link_deadline(inv->timeout);
	const char *address;
	char *text = NULL;
	int r;

	r = connect_daemon(inv, false, deadline, &bus, &address, &text);
	if (r < 0)
		return fail_with(text, r);
	r = link_call(bus, inv, deadline, &answer, &error);
	if (r > 0)
		return fail("%s", refusal_text(&error));
	if (r == 0)
		r = print_and_hint(bus, inv, deadline, answer);
	return r < 0 ? fail_with(call_error_text(inv, address, r), r) : r;
}

static int run_local(const struct invocation *inv)
{
	char *error = NULL;
	int r = inv->verb->local(stdout, inv, &error);

	return r < 0 ? fail_with(error, r) : r;
}

static int run(const struct invocation *inv)
{
	switch (inv->wish) {
	case WISH_CALL:
		return inv->verb->local ? run_local(inv) : run_call(inv);
	case WISH_HELP:
		if (inv->verb)
			verb_print_help(stdout, inv->verb);
		else
			verbs_print_help(stdout, inv->group);
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
	case WISH_DEVICES:
		devices_print_list(stdout);
		break;
	case WISH_DEVICES_MAN:
		devices_print_man(stdout);
		break;
	case WISH_EVENTS:
		events_print_list(stdout);
		break;
	}
	return EXIT_SUCCESS;
}

static int failure_status(const struct invocation *inv)
{
	bool asks = inv->verb && (inv->verb->output == OUTPUT_VERDICT ||
					 inv->verb->output == OUTPUT_EXPLANATION);

	return asks ? EXIT_TROUBLE : EXIT_FAILURE;
}

int cgm_run(int argc, char *const *argv)
{
	OWN(invocation_done) struct invocation inv = {0};
	OWN(own_string) char *error = NULL;
	int r;

	r = invocation_parse(argc, argv, getenv("CGM_ADDRESS"), &inv, &error);
	/* A reader that went away is a failure to report, not a death without a word; but a program
	 * that takes cgm's place would keep it so. */
	if (r < 0 || inv.wish != WISH_CALL || inv.verb->output != OUTPUT_PROGRAM)
		signal(SIGPIPE, SIG_IGN);
	if (r < 0) {
		fail("%s", error ? error : strerror(-r));
		return EXIT_TROUBLE;
	}
	r = run(&inv);
	errno = 0;
	if (fflush(stdout) != 0 || ferror(stdout))
		r = fail("cannot write the output: %s", strerror(errno ? errno : EIO));
	return r < 0 ? failure_status(&inv) : r;
}
