/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "verb.h"

#define ARGS(...)           \
	{                   \
		__VA_ARGS__ \
	}

const struct verb verbs[] = {
#define VERB(name, method, args, output, help, detail) \
	{#name, method, args, OUTPUT_##output, help, detail},
#include "verbs.def"
#undef VERB
};

const size_t n_verbs = sizeof(verbs) / sizeof(verbs[0]);

const struct arg args[ARG_MAX] = {
#define ARG(id, name, shown, kind, fallback, must) \
	[ARG_##id] = {name, shown, TAKES_##kind, fallback, must},
#include "args.def"
#undef ARG
};

/* What is said of CGROUP depends on where the method's paths start. */
static const char *const base_notes[] = {
	[BASE_NONE] = "",
	[BASE_OWN] = ", relative to your own whether it begins with / or not",
	[BASE_BELOW] = ", relative to your own; it must not begin with /",
	[BASE_CURRENT] = ", relative to your own, or beginning with / at the hierarchy's top",
	[BASE_SCOPE] = ", relative to the topmost cgroup that you may see",
	[BASE_NATIVE] = ", relative to your own, or beginning with / at the topmost that you see",
};

static const char *const output_signatures[OUTPUT_MAX] = {
	[OUTPUT_NOTHING] = "",
	[OUTPUT_EXISTED] = "i",
	[OUTPUT_ABSENT] = "i",
	[OUTPUT_NUMBER] = "i",
	[OUTPUT_LINE] = "s",
	[OUTPUT_VALUE] = "s",
	[OUTPUT_NUMBERS] = "ai",
	[OUTPUT_NAMES] = "as",
	[OUTPUT_KEYS] = "a(suuu)",
	[OUTPUT_LOCAL] = "",
};

const char *verb_output_signature(const struct verb *verb)
{
	return output_signatures[verb->output];
}

const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; i < n_verbs; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

void verb_print_usage(FILE *out, const struct verb *verb)
{
	fputs(verb->name, out);
	for (const enum arg_id *a = verb->args; *a != ARG_NONE; a++)
		if (args[*a].shown)
			fprintf(out, " %s", args[*a].shown);
}

static void print_arg_help(FILE *out, const struct verb *verb, enum arg_id id)
{
	const struct method *method = &methods[verb->method];

	fprintf(out, "  %-*s%s",
		(int)(strlen(args[id].shown) < 12 ? 12 : strlen(args[id].shown) + 1),
		args[id].shown, args[id].must);
	if (id == ARG_CONTROLLER && (method->flags & METHOD_MANY))
		fputs("; several joined by commas, or all", out);
	if (id == ARG_CGROUP || id == ARG_OWN_CGROUP)
		fputs(base_notes[method->base], out);
	fputc('\n', out);
}

void verb_print_help(FILE *out, const struct verb *verb)
{
	const char *gap = "\n";

	fputs("usage: cgm ", out);
	verb_print_usage(out, verb);
	fprintf(out, "\n\n%s.\n", verb->help);
	if (verb->detail[0])
		fprintf(out, "%s\n", verb->detail);
	for (const enum arg_id *a = verb->args; *a != ARG_NONE; a++) {
		if (!args[*a].shown)
			continue;
		fputs(gap, out);
		gap = "";
		print_arg_help(out, verb, *a);
	}
}

void verbs_print_help(FILE *out)
{
	fputs("usage: cgm [OPTION]... VERB [ARGUMENT]...\n"
	      "\n"
	      "Manage cgroups through cgmd.\n"
	      "\n"
	      "Verbs:\n",
		out);
	for (size_t i = 0; i < n_verbs; i++)
		fprintf(out, "  %-19s%s\n", verbs[i].name, verbs[i].help);
	fputs("\n"
	      "Options, before the verb:\n"
	      "  --address ADDRESS  the daemon's socket: a D-Bus address or an absolute path\n"
	      "  --timeout SECONDS  how long to wait for an answer, 25 if not given\n"
	      "  -h, --help         show this help\n"
	      "  --version          show the version\n"
	      "\n"
	      "Without --address the variable CGM_ADDRESS counts, then /run/cgmd/socket, then\n"
	      "/sys/fs/cgroup/cgmanager/sock. `cgm VERB --help` tells more of one verb.\n",
		out);
}

void verbs_print_list(FILE *out)
{
	for (size_t i = 0; i < n_verbs; i++) {
		verb_print_usage(out, &verbs[i]);
		fputc('\n', out);
	}
}

/* scdoc takes these characters for markup. */
static void print_scdoc(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (strchr("\\*_~#[]", *text))
			fputc('\\', out);
		fputc(*text, out);
	}
}

void verbs_print_man(FILE *out)
{
	for (size_t i = 0; i < n_verbs; i++) {
		const struct verb *verb = &verbs[i];

		fprintf(out, "*%s*", verb->name);
		for (const enum arg_id *a = verb->args; *a != ARG_NONE; a++) {
			if (!args[*a].shown)
				continue;
			fputs(" _", out);
			print_scdoc(out, args[*a].shown);
			fputc('_', out);
		}
		fputs("\n\t", out);
		print_scdoc(out, verb->help);
		fputs(verb->detail[0] ? ". " : ".", out);
		print_scdoc(out, verb->detail);
		fputs("\n\n", out);
	}
}
