/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verbs of cgm and their arguments as rows (verbs.def, args.def), and the texts made from them.
 */
#pragma once

#include <stdio.h>

#include "../dbus/method.h"

enum arg_kind {
	TAKES_TEXT,
	TAKES_PID,
	TAKES_ID,    /* a uid or gid; -1 for none */
	TAKES_MODE,  /* octal */
	TAKES_FLAG,  /* 0 or 1 */
	TAKES_PAIRS, /* all words that are left, two by two */
};

enum arg_id {
	ARG_NONE, /* ends a row's arguments */
#define ARG(id, name, shown, kind, fallback, must) ARG_##id,
#include "args.def"
#undef ARG
	ARG_MAX,
};

struct arg {
	const char *name;  /* of the method's argument */
	const char *shown; /* NULL: never given on the command line */
	enum arg_kind kind;
	const char *fallback; /* NULL: must be given */
	const char *must;     /* "a process id: ..." */
};

/* What the answer holds and how it is printed. */
enum output {
	OUTPUT_NOTHING,
	OUTPUT_EXISTED, /* "Path existed" if so, else nothing */
	OUTPUT_ABSENT,	/* "Path did not exist" if so, else nothing */
	OUTPUT_NUMBER,
	OUTPUT_LINE,
	OUTPUT_VALUE,	/* text of several lines */
	OUTPUT_NUMBERS, /* one a line, as the next two */
	OUTPUT_NAMES,
	OUTPUT_KEYS,
	OUTPUT_LOCAL, /* no daemon is asked: see translate.h */
	OUTPUT_MAX,
};

struct verb {
	const char *name;
	enum method_id method; /* METHOD_MAX: the property api_version, or none */
	enum arg_id args[METHOD_ARGS_MAX + 1];
	enum output output;
	const char *help;   /* one line */
	const char *detail; /* sentences, or "" */
};

extern const struct verb verbs[];
extern const size_t n_verbs;
extern const struct arg args[ARG_MAX];

/* The row, or NULL. */
const struct verb *verb_find(const char *name);

/* The signature of what the answer must hold. */
const char *verb_output_signature(const struct verb *verb);

/* "create CONTROLLER CGROUP", without a newline. */
void verb_print_usage(FILE *out, const struct verb *verb);

/* The texts of `cgm VERB --help`, `cgm --help`, `cgm --verbs`, `cgm --verbs=man`. */
void verb_print_help(FILE *out, const struct verb *verb);
void verbs_print_help(FILE *out);
void verbs_print_list(FILE *out);
void verbs_print_man(FILE *out);
