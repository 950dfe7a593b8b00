/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "address.h"
#include "invocation.h"
#include "own.h"
#include "perf-config.h"
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
	/* NULL: the option is a wish, and no more */
	int (*take)(struct cursor *c, const char *value, struct invocation *inv);
	enum wish wish;
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

static bool verb_has_options(const struct verb *verb)
{
	for (const enum arg_id *a = verb->args; *a != ARG_NONE; a++)
		if (args[*a].option)
			return true;
	return false;
}

bool arg_is_text(enum arg_kind kind)
{
	return kind == TAKES_TEXT || kind == TAKES_ACCESS || kind == TAKES_TEXTS ||
	       kind == TAKES_RUNTIME;
}

/* "[CGROUP]" in a usage line is CGROUP in a sentence, "RULE..." RULE, and "PROGRAM [ARG]..."
 * PROGRAM;
 * "[0|1]" has no name but the method's. */
static const char *arg_label(const struct arg *arg, char *buf, size_t size)
{
	size_t len = strlen(arg->shown);

	if (arg->option)
		return arg->option;
	if (arg->kind == TAKES_FLAG)
		return arg->name;
	if (arg->kind == TAKES_TEXTS || arg->kind == TAKES_COMMAND) {
		snprintf(buf, size, "%.*s", (int)strcspn(arg->shown, ". "), arg->shown);
		return buf;
	}
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

	if (!arg_is_text(arg->kind)) {
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
	if ((arg->kind == TAKES_ACCESS && !word_is_access(text)) ||
		(arg->kind == TAKES_RUNTIME && !perf_config_text(text)))
		return complain(c, verb, "%s: %s must be %s, not \"%.64s\"", verb->name, label,
			arg->must, text);
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

/* Is it "NAME", or "NAME=VALUE" where one is taken? The value goes to *ret_value, NULL if none is
 * attached. */
static bool option_matches(
	const char *name, bool takes_value, const char *word, const char **ret_value)
{
	size_t len = strlen(name);

	if (strncmp(word, name, len) != 0 || (word[len] && (word[len] != '=' || !takes_value)))
		return false;
	*ret_value = word[len] ? word + len + 1 : NULL;
	return true;
}

static int need_value(struct cursor *c, const char *word, const char **value)
{
	if (*value)
		return 0;
	if (c->argc == 0)
		return complain(c, NULL, "%s wants a value; see `cgm --help`", word);
	*value = *c->argv++;
	c->argc--;
	return 0;
}

/* 1: the next words were an option of the verb's own. */
static int take_verb_option(struct cursor *c, struct invocation *inv)
{
	const struct verb *verb = inv->verb;
	const char *word = c->argv[0], *value;

	for (unsigned i = 0; verb->args[i] != ARG_NONE; i++) {
		const struct arg *arg = &args[verb->args[i]];
		int r;

		if (!arg->option ||
			!option_matches(arg->option, arg->kind != TAKES_SWITCH, word, &value))
			continue;
		c->argv++;
		c->argc--;
		r = arg->kind == TAKES_SWITCH ? 0 : need_value(c, word, &value);
		if (r == 0 && arg->kind == TAKES_SWITCH)
			inv->values[i].number = 1;
		else if (r == 0)
			r = parse_value(c, verb, arg, value, &inv->values[i]);
		inv->given |= 1U << i;
		return r < 0 ? r : 1;
	}
	return 0;
}

/* All that is left are options of the verb's own, if anything is. */
static int take_verb_options(struct cursor *c, struct invocation *inv)
{
	int r = 1;

	while (c->argc > 0 && r > 0)
		r = take_verb_option(c, inv);
	return r < 0 ? r : 0;
}

static int complain_missing(struct cursor *c, const struct verb *verb, const struct arg *arg)
{
	char buf[32];

	return complain(c, verb, "%s: %s is missing", verb->name, arg_label(arg, buf, sizeof(buf)));
}

/* All that is left, whatever it looks like. */
static int parse_rest(struct cursor *c, const struct arg *arg, struct invocation *inv)
{
	if (c->argc == 0)
		return complain_missing(c, inv->verb, arg);
	inv->rest = c->argv;
	inv->n_rest = c->argc;
	c->argv += c->argc;
	c->argc = 0;
	return 0;
}

/* All that is left, one at least; or up to options, of which a text of such a verb is never one. */
static int parse_texts(
	struct cursor *c, const struct verb *verb, const struct arg *arg, struct invocation *inv)
{
	bool options = verb_has_options(verb);
	size_t bytes = 0;
	union value ignored;
	char buf[32];

	inv->rest = c->argv;
	for (; c->argc > 0 && !(options && strncmp(*c->argv, "--", 2) == 0);
		c->argv++, c->argc--, inv->n_rest++) {
		int r = parse_value(c, verb, arg, *c->argv, &ignored);

		if (r < 0)
			return r;
		bytes += strlen(*c->argv) + 8; /* length, NUL and padding */
	}
	if (inv->n_rest == 0)
		return complain_missing(c, verb, arg);
	if (bytes > TEXTS_BYTES_MAX)
		return complain(c, verb, "%s: these are too many %ss for one call", verb->name,
			arg_label(arg, buf, sizeof(buf)));
	return options ? take_verb_options(c, inv) : 0;
}

/* The next word for this argument, or what counts without one. */
static int parse_place(struct cursor *c, struct invocation *inv, unsigned i)
{
	const struct arg *arg = &args[inv->verb->args[i]];
	const char *text = arg->fallback;

	if (arg->shown && c->argc > 0) {
		text = *c->argv++;
		c->argc--;
	}
	if (!text && arg->shown[0] == '[')
		return 0;
	if (!text)
		return complain_missing(c, inv->verb, arg);
	inv->given |= 1U << i;
	return parse_value(c, inv->verb, arg, text, &inv->values[i]);
}

static int parse_arg(struct cursor *c, struct invocation *inv, unsigned i)
{
	const struct verb *verb = inv->verb;
	const struct arg *arg = &args[verb->args[i]];

	if (arg->kind == TAKES_PAIRS)
		return parse_pairs(c, verb, inv);
	if (arg->kind == TAKES_TEXTS)
		return arg->shown ? parse_texts(c, verb, arg, inv) : 0;
	if (arg->kind == TAKES_COMMAND)
		return parse_rest(c, arg, inv);
	if (!arg->option)
		return parse_place(c, inv, i);
	if ((inv->given & 1U << i) || !arg->fallback)
		return 0;
	inv->given |= 1U << i;
	return parse_value(c, verb, arg, arg->fallback, &inv->values[i]);
}

static int parse_values(struct cursor *c, struct invocation *inv)
{
	const struct verb *verb = inv->verb;

	for (unsigned i = 0; verb->args[i] != ARG_NONE; i++) {
		int r = parse_arg(c, inv, i);

		if (r < 0)
			return r;
	}
	if (c->argc > 0)
		return complain(c, verb, "%s: \"%.64s\" is one argument too many%s", verb->name,
			*c->argv,
			strncmp(*c->argv, "--", 2) != 0 ? ""
			: verb_has_options(verb)	? "; options come before the arguments"
							: "; options come before the verb");
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

static int option_json(struct cursor *c, const char *value, struct invocation *inv)
{
	(void)c;
	(void)value;
	inv->json = true;
	return 0;
}

static const struct option options[] = {
	{"--address", true, option_address},
	{"--timeout", true, option_timeout},
	{"--json", false, option_json},
	{"--help", .wish = WISH_HELP},
	{"-h", .wish = WISH_HELP},
	{"--version", .wish = WISH_VERSION},
	{"--verbs", .wish = WISH_LIST},
	{"--verbs=man", .wish = WISH_MAN},
	{"--keys", .wish = WISH_KEYS},
	{"--keys=man", .wish = WISH_KEYS_MAN},
	{"--devices", .wish = WISH_DEVICES},
	{"--devices=man", .wish = WISH_DEVICES_MAN},
	{"--events", .wish = WISH_EVENTS},
};

static const struct option *option_find(const char *word, const char **ret_value)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (option_matches(options[i].name, options[i].takes_value, word, ret_value))
			return &options[i];
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
		r = option->takes_value ? need_value(c, word, &value) : 0;
		if (!option->take)
			inv->wish = option->wish;
		else if (r == 0)
			r = option->take(c, value, inv);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Is the next word a wish for help? */
static bool help_is_next(const struct cursor *c)
{
	return c->argc > 0 && (strcmp(c->argv[0], "-h") == 0 || strcmp(c->argv[0], "--help") == 0);
}

/* The second word of a verb. Without one help is given of all of the group, if that is wished. */
static int take_second(struct cursor *c, const char *group, bool help, struct invocation *inv)
{
	char name[32];

	help |= help_is_next(c);
	if (help && (c->argc == 0 || help_is_next(c))) {
		inv->wish = WISH_HELP;
		inv->group = group;
		return 0;
	}
	if (c->argc == 0)
		return complain(c, NULL,
			"%s: a verb is missing\nusage: cgm [OPTION]... %s VERB [ARGUMENT]...\n"
			"See `cgm %s --help`.",
			group, group, group);
	if (snprintf(name, sizeof(name), "%s %s", group, c->argv[0]) < (int)sizeof(name))
		inv->verb = verb_find(name);
	if (!inv->verb)
		return complain(c, NULL, "unknown verb \"%s %.64s\"; see `cgm %s --help`", group,
			c->argv[0], group);
	c->argv++;
	c->argc--;
	return 0;
}

static int take_verb(struct cursor *c, bool help, struct invocation *inv)
{
	const char *name = *c->argv++;

	c->argc--;
	if (verb_is_group(name))
		return take_second(c, name, help, inv);
	/* a word with a blank in it is no verb */
	inv->verb = strchr(name, ' ') ? NULL : verb_find(name);
	if (!inv->verb)
		return complain(c, NULL, "unknown verb \"%.64s\"; see `cgm --help`", name);
	return 0;
}

/*
 * Only directly behind the verb: further on, what looks like an option may be a cgroup's name or a
 * value, and a script that creates "$name" must not be told that all went well.
 */
static int parse_verb_options(struct cursor *c, struct invocation *inv)
{
	while (c->argc > 0 && c->argv[0][0] == '-') {
		const char *word = c->argv[0];
		int r;

		if (help_is_next(c)) {
			inv->wish = WISH_HELP;
			return 0;
		}
		r = take_verb_option(c, inv);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (strcmp(word, "--json") == 0)
			inv->json = true;
		else if (strcmp(word, "--") != 0)
			return verb_has_options(inv->verb)
				       ? complain(c, inv->verb, "%s: unknown option \"%.64s\"",
						 inv->verb->name, word)
				       : 0;
		c->argv++;
		c->argc--;
		if (strcmp(word, "--") == 0)
			return 0;
	}
	return 0;
}

static bool asks_daemon(const struct verb *verb)
{
	return verb->output != OUTPUT_TEXT && verb->output != OUTPUT_VALUES;
}

static int parse_call(struct cursor *c, const char *environment, struct invocation *inv)
{
	const struct verb *verb = inv->verb;
	int r = parse_verb_options(c, inv);

	if (r < 0 || inv->wish != WISH_CALL)
		return r;
	if (inv->json && !verb_output_signature(verb)[0])
		return complain(c, verb, "%s: has nothing to print as JSON", verb->name);
	r = parse_values(c, inv);
	if (r < 0)
		return r;
	if (!inv->address && environment && environment[0] && asks_daemon(verb))
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
		return c->argc > 0 ? take_verb(c, true, inv) : 0;
	}
	r = take_verb(c, false, inv);
	if (r < 0 || inv->wish != WISH_CALL)
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
