/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "address.h"
#include "invocation.h"
#include "own.h"
#include "text.h"

#define TIMEOUT_MAX 86400

/* What is left of the command line, and where a complaint goes. */
struct cursor {
	char *const *argv; /* the next one */
	int argc;
	char **ret_error;
};

struct option {
	const char *name;
	bool takes_value;
	int (*take)(struct cursor *c, const char *value, struct invocation *inv);
};

/* Gives -EINVAL, to be returned, or -ENOMEM. */
__attribute__((format(printf, 3, 4))) static int complain(
	struct cursor *c, const struct verb *usage, const char *format, ...)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	va_list ap;

	if (!out)
		return -ENOMEM;
	va_start(ap, format);
	vfprintf(out, format, ap);
	va_end(ap);
	if (usage) {
		fputs("\nusage: cgm ", out);
		verb_print_usage(out, usage);
	}
	if (fclose(out) != 0) {
		free(text);
		return -ENOMEM;
	}
	*c->ret_error = text;
	return -EINVAL;
}

/* "[CGROUP]" in a usage line is CGROUP in a sentence; "[0|1]" has no name but the method's. */
static const char *arg_label(const struct arg *arg, char *buf, size_t size)
{
	size_t len = strlen(arg->shown);

	if (arg->kind == TAKES_FLAG)
		return arg->name;
	if (arg->shown[0] != '[')
		return arg->shown;
	snprintf(buf, size, "%.*s", (int)len - 2, arg->shown + 1);
	return buf;
}

static int parse_value(struct cursor *c, const struct verb *verb, const struct arg *arg,
	const char *text, union value *ret)
{
	char buf[32];
	const char *label = arg->shown ? arg_label(arg, buf, sizeof(buf)) : arg->name;

	if (arg->kind != TAKES_TEXT) {
		if (number_parse(arg->kind, text, &ret->number) < 0)
			return complain(c, verb, "%s: %s must be %s, not \"%.64s\"", verb->name,
				label, arg->must, text);
		return 0;
	}
	if (strlen(text) > TEXT_ARG_MAX)
		return complain(c, verb, "%s: %s must be at most %d bytes long", verb->name, label,
			TEXT_ARG_MAX);
	if (!word_is_utf8(text))
		return complain(c, verb, "%s: %s must be UTF-8", verb->name, label);
	ret->text = text;
	return 0;
}

/* "KEY VALUE" again and again, as far as they go. */
static int parse_pairs(struct cursor *c, const struct verb *verb, struct invocation *inv)
{
	union value ignored;

	inv->rest = c->argv;
	while (c->argc > 0 && inv->n_rest < 2 * PAIRS_MAX) {
		const struct arg *arg = &args[inv->n_rest % 2 ? ARG_VALUE : ARG_SETTING];
		int r = parse_value(c, verb, arg, *c->argv, &ignored);

		if (r < 0)
			return r;
		c->argv++;
		c->argc--;
		inv->n_rest++;
	}
	if (inv->n_rest % 2)
		return complain(c, verb, "%s: VALUE of \"%.64s\" is missing", verb->name,
			inv->rest[inv->n_rest - 1]);
	return 0;
}

static int parse_values(struct cursor *c, struct invocation *inv)
{
	const struct verb *verb = inv->verb;
	union value *ret = inv->values;
	char buf[32];
	int r;

	for (const enum arg_id *a = verb->args; *a != ARG_NONE; a++) {
		const struct arg *arg = &args[*a];
		const char *text = arg->fallback;

		if (arg->kind == TAKES_PAIRS) {
			r = parse_pairs(c, verb, inv);
			if (r < 0)
				return r;
			continue;
		}
		if (arg->shown && c->argc > 0) {
			text = *c->argv++;
			c->argc--;
		}
		if (!text)
			return complain(c, verb, "%s: %s is missing", verb->name,
				arg_label(arg, buf, sizeof(buf)));
		r = parse_value(c, verb, arg, text, ret++);
		if (r < 0)
			return r;
	}
	if (c->argc > 0)
		return complain(c, verb, "%s: \"%.64s\" is one argument too many%s", verb->name,
			*c->argv,
			strncmp(*c->argv, "--", 2) == 0 ? "; options come before the verb" : "");
	return 0;
}

static int take_address(struct cursor *c, const char *origin, const char *text, char **ret)
{
	char *address;
	int r = address_make(text, &address);

	if (r == -ENAMETOOLONG)
		return complain(c, NULL, "%s: a socket's path has at most 107 bytes", origin);
	if (r == -EINVAL)
		return complain(c, NULL,
			"%s must be an absolute path or a D-Bus address like "
			"unix:path=/run/cgmd/socket, not \"%.128s\"",
			origin, text);
	if (r < 0)
		return r;
	free(*ret);
	*ret = address;
	return 0;
}

static int option_address(struct cursor *c, const char *value, struct invocation *inv)
{
	return take_address(c, "--address", value, &inv->address);
}

static int option_timeout(struct cursor *c, const char *value, struct invocation *inv)
{
	uint64_t n;

	if (digits_parse(value, 10, TIMEOUT_MAX, &n) < 0 || n == 0)
		return complain(c, NULL,
			"--timeout must be a decimal number of seconds from 1 to %d, not \"%.64s\"",
			TIMEOUT_MAX, value);
	inv->timeout = (unsigned)n;
	return 0;
}

static int option_help(struct cursor *c, const char *value, struct invocation *inv)
{
	(void)c;
	(void)value;
	inv->wish = WISH_HELP;
	return 0;
}

static int option_version(struct cursor *c, const char *value, struct invocation *inv)
{
	(void)c;
	(void)value;
	inv->wish = WISH_VERSION;
	return 0;
}

static int option_verbs(struct cursor *c, const char *value, struct invocation *inv)
{
	(void)c;
	(void)value;
	inv->wish = WISH_LIST;
	return 0;
}

static int option_verbs_man(struct cursor *c, const char *value, struct invocation *inv)
{
	(void)c;
	(void)value;
	inv->wish = WISH_MAN;
	return 0;
}

static int option_keys(struct cursor *c, const char *value, struct invocation *inv)
{
	(void)c;
	(void)value;
	inv->wish = WISH_KEYS;
	return 0;
}

static int option_keys_man(struct cursor *c, const char *value, struct invocation *inv)
{
	(void)c;
	(void)value;
	inv->wish = WISH_KEYS_MAN;
	return 0;
}

static const struct option options[] = {
	{"--address", true, option_address},
	{"--timeout", true, option_timeout},
	{"--help", false, option_help},
	{"-h", false, option_help},
	{"--version", false, option_version},
	{"--verbs", false, option_verbs},
	{"--verbs=man", false, option_verbs_man},
	{"--keys", false, option_keys},
	{"--keys=man", false, option_keys_man},
};

/* The row of "--name" or "--name=value"; the value goes to *ret_value, NULL if none is attached. */
static const struct option *option_find(const char *word, const char **ret_value)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		size_t len = strlen(options[i].name);

		if (strncmp(word, options[i].name, len) != 0)
			continue;
		if (word[len] == '\0') {
			*ret_value = NULL;
			return &options[i];
		}
		if (word[len] == '=' && options[i].takes_value) {
			*ret_value = word + len + 1;
			return &options[i];
		}
	}
	return NULL;
}

/* Stops at the verb, behind "--", or once a wish other than a call is known. */
static int parse_options(struct cursor *c, struct invocation *inv)
{
	while (c->argc > 0 && c->argv[0][0] == '-' && inv->wish == WISH_CALL) {
		const char *word = *c->argv++, *value;
		const struct option *option;
		int r;

		c->argc--;
		if (strcmp(word, "--") == 0)
			return 0;
		option = option_find(word, &value);
		if (!option)
			return complain(
				c, NULL, "unknown option \"%.64s\"; see `cgm --help`", word);
		if (option->takes_value && !value) {
			if (c->argc == 0)
				return complain(
					c, NULL, "%s wants a value; see `cgm --help`", word);
			value = *c->argv++;
			c->argc--;
		}
		r = option->take(c, value, inv);
		if (r < 0)
			return r;
	}
	return 0;
}

static int take_verb(struct cursor *c, struct invocation *inv)
{
	const char *name = *c->argv++;

	c->argc--;
	inv->verb = verb_find(name);
	if (!inv->verb)
		return complain(c, NULL, "unknown verb \"%.64s\"; see `cgm --help`", name);
	return 0;
}

static int parse_call(struct cursor *c, const char *environment, struct invocation *inv)
{
	int r;

	/* Only here: further on, what looks like an option may be a cgroup's name or a value, and a
	 * script that creates "$name" must not be told that all went well. */
	if (c->argc > 0 && (strcmp(c->argv[0], "-h") == 0 || strcmp(c->argv[0], "--help") == 0)) {
		inv->wish = WISH_HELP;
		return 0;
	}
	if (c->argc > 0 && strcmp(c->argv[0], "--") == 0) {
		c->argv++;
		c->argc--;
	}
	r = parse_values(c, inv);
	if (r < 0)
		return r;
	if (!inv->address && environment && environment[0] && inv->verb->output != OUTPUT_LOCAL)
		return take_address(c, "CGM_ADDRESS", environment, &inv->address);
	return 0;
}

static int parse_command(struct cursor *c, const char *environment, struct invocation *inv)
{
	int r = parse_options(c, inv);

	if (r < 0 || inv->wish != WISH_CALL)
		return r;
	if (c->argc == 0)
		return complain(c, NULL,
			"a verb is missing\nusage: cgm [OPTION]... VERB [ARGUMENT]...\n"
			"See `cgm --help`.");
	if (strcmp(c->argv[0], "help") == 0) {
		inv->wish = WISH_HELP;
		c->argv++;
		c->argc--;
		return c->argc > 0 ? take_verb(c, inv) : 0;
	}
	r = take_verb(c, inv);
	if (r < 0)
		return r;
	return parse_call(c, environment, inv);
}

int invocation_parse(int argc, char *const *argv, const char *environment, struct invocation *ret,
	char **ret_error)
{
	struct invocation inv = {.wish = WISH_CALL, .timeout = TIMEOUT_DEFAULT};
	struct cursor c = {argv, argc, ret_error};
	int r;

	/* the program's own name */
	if (c.argc > 0) {
		c.argv++;
		c.argc--;
	}
	r = parse_command(&c, environment, &inv);
	if (r < 0) {
		invocation_done(&inv);
		return r;
	}
	*ret = inv;
	return 0;
}

void invocation_done(struct invocation *inv)
{
	free(inv->address);
	inv->address = NULL;
}
