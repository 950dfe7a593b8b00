/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cgm.h"
#include "invocation.h"
#include "json.h"
#include "own.h"
#include "perf-explain.h"
#include "perf-findings.h"
#include "table.h"

static const char *const state_names[] = {
	[LAYER_PASSES] = "passes",
	[LAYER_REFUSES] = "refuses",
	[LAYER_UNKNOWN] = "unknown",
	[LAYER_UNUSED] = "unused",
};

static const char *const verdict_names[] = {
	[LAYER_PASSES] = "allowed",
	[LAYER_REFUSES] = "denied",
	[LAYER_UNKNOWN] = "unknown",
};

static const int verdict_statuses[] = {
	[LAYER_PASSES] = EXIT_SUCCESS,
	[LAYER_REFUSES] = EXIT_DENIED,
	[LAYER_UNKNOWN] = EXIT_UNKNOWN,
};

static void add_attempt(struct findings *f, const char *name, size_t len, const struct event *event,
	enum attempt_target target, bool optional)
{
	struct attempt *a = &f->attempts[f->n];

	if (f->n == ATTEMPTS_MAX)
		return;
	f->n++;
	snprintf(a->name, sizeof(a->name), "%.*s", (int)len, name);
	a->event = *event;
	a->target = target;
	a->optional = optional;
}

/* What is not of a PMU is tried twice if it is needed: of itself, as `perf stat CMD` does, and of
 * all processes, as `perf stat -a`. */
static int add_event(struct findings *f, const char *name, size_t len, bool optional)
{
	char text[sizeof(f->attempts[0].name)];
	struct event event;
	int r = -EINVAL;

	if (len < sizeof(text)) {
		snprintf(text, sizeof(text), "%.*s", (int)len, name);
		r = event_parse(text, &event);
	}
	if (r < 0)
		return r;
	add_attempt(f, name, len, &event, TARGET_OWN, optional);
	if (event.kind == EVENT_KERNEL && !optional)
		add_attempt(f, name, len, &event, TARGET_CPU, optional);
	return 0;
}

static void add_events(struct findings *f, const char *names, bool optional)
{
	while (*names) {
		size_t len = strcspn(names, " ");

		add_event(f, names, len, optional);
		names += len;
		names += strspn(names, " ");
	}
}

/* As execvp() looks for it. */
static bool find_program(const char *name, char *ret)
{
	const char *path = getenv("PATH");

	if (strchr(name, '/')) {
		snprintf(ret, TEXT_FOUND_MAX, "%s", name);
		return access(name, X_OK) == 0;
	}
	for (path = path ? path : "/bin:/usr/bin"; *path; path += *path == ':') {
		size_t len = strcspn(path, ":");

		snprintf(ret, TEXT_FOUND_MAX, "%.*s/%s", (int)len, len ? path : ".", name);
		if (access(ret, X_OK) == 0)
			return true;
		path += len;
	}
	ret[0] = '\0';
	return false;
}

/* A program that is not known is taken for one that wants what perf does. */
static int add_wanted(struct findings *f, const char *what, const char **ret_note, char **ret_error)
{
	const struct program *program = program_find(*what ? what : "perf");

	if (!program && add_event(f, what, strlen(what), false) == 0)
		return 0;
	if (!find_program(*what ? what : "perf", f->program) && !program) {
		if (asprintf(ret_error,
			    "perf explain: \"%.64s\" is neither an event nor a program here",
			    what) < 0)
			*ret_error = NULL;
		return -EINVAL;
	}
	*ret_note = program ? program->note : "what it wants is not known: tried is what perf does";
	program = program ? program : program_find("perf");
	add_events(f, program->needs, false);
	add_events(f, program->likes, true);
	return 0;
}

static json_t *layers_json(const struct explanation *e)
{
	json_t *array = json_array();

	for (unsigned i = 0; array && i < e->n; i++)
		json_array_append_new(
			array, json_pack("{s:s, s:s, s:s}", "layer", e->layers[i].name, "state",
				       state_names[e->layers[i].state], "why", e->layers[i].why));
	return array;
}

static json_t *attempts_json(const struct findings *f)
{
	json_t *array = json_array();

	for (unsigned i = 0; array && i < f->n; i++) {
		const struct attempt *a = &f->attempts[i];

		json_array_append_new(
			array, json_pack("{s:s, s:b, s:b, s:i}", "event", a->name, "all_processes",
				       a->target == TARGET_CPU, "needed", !a->optional, "errno",
				       a->lookup ? -a->lookup : -a->result));
	}
	return array;
}

static json_t *text_json(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static int print_lines(FILE *out, const struct explanation *e, const char *note,
	const json_t *layers, bool terminal)
{
	static const char *const names[] = {"layer", "state", "why", NULL};
	enum escape escape = terminal ? ESCAPE_ALL : ESCAPE_NONE;
	int r;

	fprintf(out, "%s\n", verdict_names[e->verdict]);
	r = table_print(out, layers, names, escape);
	if (r == 0 && *note)
		fprintf(out, "note: %s\n", note);
	if (r == 0 && e->who[0]) {
		fputs(e->command[0] ? "to mend it: " : "", out);
		print_text(out, e->command, escape);
		fprintf(out, "%s%s\n", e->command[0] ? "\nto be run by: " : "", e->who);
	}
	return r;
}

static int print_explanation(FILE *out, const struct invocation *inv, const struct explanation *e,
	const struct findings *f, const char *note)
{
	OWN(json_decrefp) json_t *layers = layers_json(e), *all = NULL;
	bool terminal = isatty(fileno(out));

	if (!layers)
		return -ENOMEM;
	if (!inv->json)
		return print_lines(out, e, note, layers, terminal);
	all = json_pack("{s:s, s:o, s:O, s:o, s:o, s:o, s:o}", "verdict", verdict_names[e->verdict],
		"attempts", attempts_json(f), "layers", layers, "item", text_json(f->item),
		"command", text_json(e->command), "who", text_json(e->who), "note",
		text_json(note));
	return all ? json_print(out, all, terminal) : -ENOMEM;
}

int perf_explain(FILE *out, const struct invocation *inv, char **ret_error)
{
	static struct findings f;
	static struct explanation e;
	const char *note = "";
	int r;

	memset(&f, 0, sizeof(f));
	r = add_wanted(&f, inv->values[0].text, &note, ret_error);
	if (r == 0)
		r = findings_gather(&f, inv);
	if (r < 0)
		return r;
	findings_judge(&f, &e);
	r = print_explanation(out, inv, &e, &f, note);
	return r < 0 ? r : verdict_statuses[e.verdict];
}
