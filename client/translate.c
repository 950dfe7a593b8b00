/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "../policy/translate.h"
#include "own.h"
#include "translate.h"

#define LABEL "%-9s"

/* What was given, with MAJOR:MINOR in place of devices' paths. The first is what is asked for. */
struct settings {
	unsigned n;
	struct given given[1 + PAIRS_MAX];
	char *values[1 + PAIRS_MAX]; /* owned */
};

static void settings_done(struct settings *s)
{
	for (unsigned i = 0; i < s->n; i++)
		free(s->values[i]);
}

static void own_translation(struct translation **t)
{
	free(*t);
}

/* Gives -EINVAL, to be returned, or -ENOMEM. */
static int complain(char **ret_error, const struct given *g, enum reason r, const char *detail)
{
	char *text = NULL;
	int n;

	if (r == REASON_KEY_MISSING)
		n = asprintf(&text, "translate: no setting is named \"%.64s\"; see KEYS in cgm(1)",
			g->name);
	else
		n = asprintf(&text, "translate: %s %.64s: %s%s%s%s", g->name,
			g->value ? g->value : "", reason_row(r)->why, detail ? " (" : "",
			detail ? detail : "", detail ? ")" : "");
	if (n < 0)
		return -ENOMEM;
	*ret_error = text;
	return -EINVAL;
}

/* May a value of this name begin with a block device, on either hierarchy? */
static bool takes_device(const char *name)
{
	const char *why;
	struct plan p;

	for (unsigned v2 = 0; v2 < 2; v2++)
		if (plan_write(name, v2, &p, &why) == REASON_OK && (p.flags & PLAN_DEVICE))
			return true;
	return false;
}

/* "/dev/sda rbps=1M" as "8:0 rbps=1M" */
static int resolve(const char *value, size_t len, char **ret)
{
	OWN(own_string) char *path = strndup(value, len);
	struct stat st;

	if (!path)
		return -ENOMEM;
	if (stat(path, &st) < 0 || !S_ISBLK(st.st_mode))
		return -ENODEV;
	if (asprintf(ret, "%u:%u%s", major(st.st_rdev), minor(st.st_rdev), value + len) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int settings_add(struct settings *s, const char *name, const char *value, char **ret_error)
{
	struct given *g = &s->given[s->n];
	char **owned = &s->values[s->n++];
	size_t device;
	int r;

	*owned = NULL;
	*g = (struct given){name, value};
	device = value && takes_device(name) ? plan_device(value) : 0;
	if (device == 0)
		return 0;
	r = resolve(value, device, owned);
	if (r == -ENODEV)
		return complain(ret_error, g, REASON_VALUE_DEVICE, NULL);
	g->value = *owned;
	return r;
}

/* Lines behind a label that stands once. */
static void print_lines(FILE *out, const char *label, const char *lines, const char *why)
{
	if (!*lines)
		fprintf(out, LABEL "none%s%s\n", label, why ? ": " : "", why ? why : "");
	while (*lines) {
		int len = (int)strcspn(lines, "\n");

		fprintf(out, LABEL "%.*s\n", label, len, lines);
		lines += len + (lines[len] != '\0');
		label = "";
	}
}

/* Why there is no counterpart stands in its place; what else counts, by itself. */
static void print_translation(FILE *out, const struct translation *t)
{
	print_lines(out, "neutral", t->neutral, NULL);
	print_lines(out, "v1", t->v1, t->why);
	print_lines(out, "v2", t->v2, t->why);
	if (*t->v1 && *t->v2 && t->why)
		fprintf(out, LABEL "%s\n", "note", t->why);
}

int translate_print(FILE *out, const struct invocation *inv, char **ret_error)
{
	OWN(settings_done) struct settings s = {0};
	OWN(own_translation) struct translation *t = calloc(1, sizeof(*t));
	const char *value = inv->values[1].text;
	enum reason reason;
	int r;

	if (!t)
		return -ENOMEM;
	r = settings_add(&s, inv->values[0].text, *value ? value : NULL, ret_error);
	for (int i = 0; r == 0 && i < inv->n_rest; i += 2)
		r = settings_add(&s, inv->rest[i], inv->rest[i + 1], ret_error);
	if (r < 0)
		return r;
	reason = translate(s.given[0].name, s.given[0].value, s.given + 1, s.n - 1, t);
	if (reason != REASON_OK) {
		unsigned i = t->fault < s.n ? t->fault : 0;

		return complain(ret_error, &s.given[i], reason, t->why);
	}
	print_translation(out, t);
	return 0;
}

void settings_print_list(FILE *out)
{
	struct vocabulary v;

	for (unsigned i = 0; vocabulary_row(i, &v); i++)
		fprintf(out, "%s\n", v.neutral);
}

/* A column of names, divided by blanks; scdoc takes '*' and '_' for markup. */
static void print_names(FILE *out, const char *label, const char *names)
{
	if (!*names)
		return;
	fputs(label, out);
	for (; *names; names++) {
		if (*names == '\n') {
			fputs(", ", out);
			continue;
		}
		if (strchr("\\*_~#[]", *names))
			fputc('\\', out);
		fputc(*names, out);
	}
}

void settings_print_man(FILE *out)
{
	struct translation t;
	struct vocabulary v;

	for (unsigned i = 0; vocabulary_row(i, &v); i++) {
		if (translate(v.neutral, NULL, NULL, 0, &t) != REASON_OK)
			continue;
		print_names(out, "*", v.neutral);
		fputs("*\n\t", out);
		print_names(out, v.read_only ? "Read only: " : "", v.format);
		print_names(out, ".++\ncgroup v1: ", t.v1);
		print_names(out, ".++\ncgroup v2: ", t.v2);
		fputs(".\n\n", out);
	}
}
