/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verbs of cgm and their arguments as rows (verbs.def, args.def), and the texts made from them.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "../dbus/method.h"

enum arg_kind {
	TAKES_TEXT,
	TAKES_ACCESS, /* of r, w and m, each at most once */
	TAKES_PID,
	TAKES_ID,      /* a uid or gid; -1 for none */
	TAKES_OWNER,   /* a uid or gid */
	TAKES_MODE,    /* octal */
	TAKES_FLAG,    /* 0 or 1 */
	TAKES_TEXTS,   /* all words that are left */
	TAKES_PAIRS,   /* all words that are left, two by two */
	TAKES_COMMAND, /* all words that are left, whatever they are; one at least */
	TAKES_RUNTIME, /* of those that perf-config.h knows */
	TAKES_SWITCH,  /* an option without a value */
};

#define VERB_ARGS_MAX 8

enum arg_id {
	ARG_NONE, /* ends a row's arguments */
#define ARG(id, name, shown, kind, fallback, must) ARG_##id,
#define OPTION(id, name, option, shown, kind, fallback, must, otherwise) ARG_##id,
#include "args.def"
#undef OPTION
#undef ARG
	ARG_MAX,
};

struct arg {
	const char *name;   /* of the method's argument, or in its dictionary */
	const char *option; /* "--uid"; NULL: it is given by its place */
	const char *shown;  /* NULL: never given on the command line; "" of a SWITCH */
	enum arg_kind kind;
	const char *fallback;  /* NULL: must be given, unless `shown` is in brackets */
	const char *must;      /* "a process id: ..." */
	const char *otherwise; /* of an option: what counts if it is not given, or NULL */
};

/* What the answer holds and how it is printed. */
enum output {
#define OUTPUT(id, signature, names) OUTPUT_##id,
#include "outputs.def"
#undef OUTPUT
	OUTPUT_MAX,
};

#define OUTPUT_NAMES_MAX 8

struct output_row {
	const char *signature; /* "": there is nothing to print as JSON; of a LOCAL one "v" if there
				  is */
	const char *names[OUTPUT_NAMES_MAX]; /* NULL at the end */
};

struct invocation;

/* What a verb does without a call, or with other ones than that of its row's method. Gives the exit
 * status; or a negative errno, for which ret_error may hold what to tell, which the caller frees.
 */
typedef int local_verb_fn(FILE *out, const struct invocation *inv, char **ret_error);

struct verb {
	const char *name;      /* "create", "device list" */
	enum method_id method; /* METHOD_MAX: the property api_version, or none */
	enum arg_id args[VERB_ARGS_MAX + 1];
	enum output output;
	local_verb_fn *local; /* NULL: the method is called and its answer printed */
	const char *help;     /* one line */
	const char *detail;   /* sentences, or "" */
};

extern const struct verb verbs[];
extern const size_t n_verbs;
extern const struct arg args[ARG_MAX];
extern const struct output_row outputs[OUTPUT_MAX];

/* The row, or NULL. */
const struct verb *verb_find(const char *name);

/* Is it in this group: does its name begin with this word, and is there a second? */
bool verb_in_group(const struct verb *verb, const char *word);
/* Does any verb's? */
bool verb_is_group(const char *word);

/* The signature of what the answer must hold. */
const char *verb_output_signature(const struct verb *verb);

/* "create CONTROLLER CGROUP", without a newline. */
void verb_print_usage(FILE *out, const struct verb *verb);

/* The texts of `cgm VERB --help`, `cgm --help` or `cgm GROUP --help` (`group` NULL: all verbs),
 * `cgm --verbs`, `cgm --verbs=man`. */
void verb_print_help(FILE *out, const struct verb *verb);
void verbs_print_help(FILE *out, const char *group);
void verbs_print_list(FILE *out);
void verbs_print_man(FILE *out);
