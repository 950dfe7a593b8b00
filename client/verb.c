/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "caps.h"
#include "perf-config.h"
#include "perf-explain.h"
#include "perf-run.h"
#include "print.h"
#include "translate.h"
#include "verb.h"

#define ARGS(...)           \
	{                   \
		__VA_ARGS__ \
	}

const struct verb verbs[] = {
#define VERB(name, method, args, output, help, detail) \
	{#name, method, args, OUTPUT_##output, NULL, help, detail},
#define LOCAL_VERB(name, run, args, output, help, detail) \
	{#name, METHOD_MAX, args, OUTPUT_##output, run, help, detail},
#include "verbs.def"
#undef LOCAL_VERB
#undef VERB
};

const size_t n_verbs = sizeof(verbs) / sizeof(verbs[0]);

const struct arg args[ARG_MAX] = {
#define ARG(id, name, shown, kind, fallback, must) \
	[ARG_##id] = {name, NULL, shown, TAKES_##kind, fallback, must},
#define OPTION(id, name, option, shown, kind, fallback, must, otherwise) \
	[ARG_##id] = {name, option, shown, TAKES_##kind, fallback, must, otherwise},
#include "args.def"
#undef OPTION
#undef ARG
};

/* A row's parenthesised names, as initialisers. */
#define NAMES(...)          \
	{                   \
		__VA_ARGS__ \
	}

const struct output_row outputs[OUTPUT_MAX] = {
#define OUTPUT(id, signature, names) [OUTPUT_##id] = {signature, NAMES names},
#include "outputs.def"
#undef OUTPUT
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

const char *verb_output_signature(const struct verb *verb)
{
	return outputs[verb->output].signature;
}

const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; i < n_verbs; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

bool verb_in_group(const struct verb *verb, const char *word)
{
	size_t len = strlen(word);

	return strncmp(verb->name, word, len) == 0 && verb->name[len] == ' ';
}

bool verb_is_group(const char *word)
{
	for (size_t i = 0; i < n_verbs; i++)
		if (verb_in_group(&verbs[i], word))
			return true;
	return false;
}

/* Between an option and its value, if it takes one. */
static const char *option_gap(const struct arg *arg)
{
	return arg->option && arg->shown[0] ? " " : "";
}

void verb_print_usage(FILE *out, const struct verb *verb)
{
	fputs(verb->name, out);
	for (const enum arg_id *a = verb->args; *a != ARG_NONE; a++)
		if (args[*a].option)
			fprintf(out, " [%s%s%s]", args[*a].option, option_gap(&args[*a]),
				args[*a].shown);
	for (const enum arg_id *a = verb->args; *a != ARG_NONE; a++)
		if (args[*a].shown && !args[*a].option)
			fprintf(out, " %s", args[*a].shown);
}

static int print_arg(FILE *out, const struct arg *arg)
{
	return fprintf(out, "%s%s%s", arg->option ? arg->option : "", option_gap(arg), arg->shown);
}

static int arg_width(const struct arg *arg)
{
	return (int)(strlen(arg->shown) + (arg->option ? strlen(arg->option) + 1 : 0));
}

static void print_arg_help(FILE *out, const struct verb *verb, enum arg_id id, int width)
{
	const struct method *method = &methods[verb->method];
	int n;

	fputs("  ", out);
	n = print_arg(out, &args[id]);
	fprintf(out, "%*s%s", width - n, "", args[id].must);
	if (id == ARG_CONTROLLER && (method->flags & METHOD_MANY))
		fputs("; several joined by commas, or all", out);
	if (id == ARG_CGROUP || id == ARG_OWN_CGROUP)
		fputs(base_notes[method->base], out);
	if (args[id].otherwise)
		fprintf(out, "; %s if not given", args[id].otherwise);
	fputc('\n', out);
}

static void print_args_help(FILE *out, const struct verb *verb)
{
	const char *gap = "\n";
	int width = 12;

	for (const enum arg_id *a = verb->args; *a != ARG_NONE; a++)
		if (args[*a].shown && arg_width(&args[*a]) >= width)
			width = arg_width(&args[*a]) + 1;
	for (const enum arg_id *a = verb->args; *a != ARG_NONE; a++) {
		if (!args[*a].shown)
			continue;
		fputs(gap, out);
		gap = "";
		print_arg_help(out, verb, *a, width);
	}
}

void verb_print_help(FILE *out, const struct verb *verb)
{
	fputs("usage: cgm ", out);
	verb_print_usage(out, verb);
	fprintf(out, "\n\n%s.\n", verb->help);
	if (verb->detail[0])
		fprintf(out, "%s\n", verb->detail);
	print_args_help(out, verb);
}

void verbs_print_help(FILE *out, const char *group)
{
	fprintf(out,
		"usage: cgm [OPTION]... %s%sVERB [ARGUMENT]...\n"
		"\n"
		"Manage cgroups through cgmd.\n"
		"\n"
		"Verbs:\n",
		group ? group : "", group ? " " : "");
	for (size_t i = 0; i < n_verbs; i++)
		if (!group || verb_in_group(&verbs[i], group))
			fprintf(out, "  %-19s%s\n", verbs[i].name, verbs[i].help);
	fputs("\n"
	      "Options, before the verb:\n"
	      "  --address ADDRESS  the daemon's socket: a D-Bus address or an absolute path\n"
	      "  --json             print the answer as JSON\n"
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

static void print_man_usage(FILE *out, const struct verb *verb)
{
	fprintf(out, "*%s*", verb->name);
	for (const enum arg_id *a = verb->args; *a != ARG_NONE; a++)
		if (args[*a].option && args[*a].shown[0])
			fprintf(out, " [*%s* _%s_]", args[*a].option, args[*a].shown);
		else if (args[*a].option)
			fprintf(out, " [*%s*]", args[*a].option);
	for (const enum arg_id *a = verb->args; *a != ARG_NONE; a++) {
		if (!args[*a].shown || args[*a].option)
			continue;
		fputs(" _", out);
		print_scdoc(out, args[*a].shown);
		fputc('_', out);
	}
}

void verbs_print_man(FILE *out)
{
	for (size_t i = 0; i < n_verbs; i++) {
		const struct verb *verb = &verbs[i];

		print_man_usage(out, verb);
		fputs("\n\t", out);
		print_scdoc(out, verb->help);
		fputs(verb->detail[0] ? ". " : ".", out);
		print_scdoc(out, verb->detail);
		fputs("\n\n", out);
	}
}
