/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "../policy/devices.h"
#include "device.h"
#include "own.h"
#include "table.h"

#define ABOVE "(above)"

static const char *const verdict_names[] = {
	[ANSWER_ALLOWED] = "allowed",
	[ANSWER_DENIED] = "denied",
	[ANSWER_UNKNOWN] = "unknown",
};

static const char *member_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

bool device_prints(const struct verb *verb)
{
	switch (verb->output) {
	case OUTPUT_WIDENED:
	case OUTPUT_RULES:
	case OUTPUT_VERDICT:
	case OUTPUT_DEVICES:
	case OUTPUT_GPUS:
	case OUTPUT_ITEMS:
	case OUTPUT_PAIRS:
		return true;
	default:
		return false;
	}
}

int device_verdict(json_t *answer, enum device_answer *ret)
{
	static const char unknown[] = "unknown";
	const char *why = member_text(answer, "why");

	if (json_is_true(json_object_get(answer, "allowed")))
		*ret = ANSWER_ALLOWED;
	else if (strncmp(why, unknown, strlen(unknown)) == 0)
		*ret = ANSWER_UNKNOWN;
	else
		*ret = ANSWER_DENIED;
	json_object_del(answer, "allowed");
	if (json_object_set_new(answer, "verdict", json_string(verdict_names[*ret])) < 0)
		return -ENOMEM;
	return 0;
}

static void print_widened(FILE *out, const json_t *answer, enum escape escape)
{
	json_t *cgroup;
	size_t i;

	json_array_foreach(answer, i, cgroup)
	{
		fputs("Widened ", out);
		print_text(out, json_string_value(cgroup), escape);
		putc('\n', out);
	}
}

/* Rows that each have a cgroup, which may be out of sight. */
static int print_rules(FILE *out, const struct verb *verb, const json_t *answer, enum escape escape)
{
	OWN(json_decrefp) json_t *rows = json_deep_copy(answer);
	json_t *row;
	size_t i;

	if (!rows)
		return -ENOMEM;
	json_array_foreach(rows, i, row)
	{
		if (!json_is_null(json_object_get(row, "cgroup")))
			continue;
		if (json_object_set_new(row, "cgroup", json_string(ABOVE)) < 0)
			return -ENOMEM;
	}
	return table_print(out, rows, outputs[verb->output].names, escape);
}

/* "why" begins with the verdict. */
static void print_verdict(FILE *out, const json_t *answer, enum escape escape)
{
	bool allowed = strcmp(member_text(answer, "verdict"), "allowed") == 0;
	const char *cgroup = member_text(answer, "cgroup");

	print_text(out, member_text(answer, "why"), escape);
	putc('\n', out);
	if (allowed)
		return;
	fputs("cgroup ", out);
	print_text(out, *cgroup ? cgroup : ABOVE, escape);
	putc('\n', out);
}

static void print_number(FILE *out, const json_t *number)
{
	if (json_is_integer(number))
		fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(number));
	else
		putc('*', out);
}

static void print_devices(FILE *out, const json_t *answer, enum escape escape)
{
	json_t *row;
	size_t i;

	json_array_foreach(answer, i, row)
	{
		const char *node = member_text(row, "node");

		print_text(out, member_text(row, "type"), escape);
		putc(' ', out);
		print_number(out, json_object_get(row, "major"));
		putc(':', out);
		print_number(out, json_object_get(row, "minor"));
		fputs(*node ? " " : "", out);
		print_text(out, node, escape);
		putc('\n', out);
	}
}

int device_print(FILE *out, const struct verb *verb, const json_t *answer, enum escape escape)
{
	switch (verb->output) {
	case OUTPUT_WIDENED:
		print_widened(out, answer, escape);
		return 0;
	case OUTPUT_RULES:
	case OUTPUT_ITEMS:
		return print_rules(out, verb, answer, escape);
	case OUTPUT_PAIRS:
		pairs_print(out, answer, escape);
		return 0;
	case OUTPUT_VERDICT:
		print_verdict(out, answer, escape);
		return 0;
	case OUTPUT_DEVICES:
		print_devices(out, answer, escape);
		return 0;
	default:
		return table_print(out, answer, outputs[verb->output].names, escape);
	}
}

const char *device_note(const struct verb *verb, const json_t *answer)
{
	if (json_array_size(answer) > 0)
		return NULL;
	switch (verb->output) {
	case OUTPUT_RULES:
		return "no device rules are in force: every device is allowed";
	case OUTPUT_ITEMS:
		return "nothing of perf is granted here";
	case OUTPUT_DEVICES:
		return "the name is known, but there is no such device now";
	case OUTPUT_GPUS:
		return "there is no GPU that you may have";
	default:
		return NULL;
	}
}

/* Of what the kernel is asked for, there is nothing in the row. */
static const char *const form_notes[] = {
	[DEVICE_FORM_FIXED] = "",
	[DEVICE_FORM_PROC] = "",
	[DEVICE_FORM_GPU] =
		"GPUs, as *gpu list* shows them; with _:render_ only their nodes for rendering",
	[DEVICE_FORM_NVIDIA] = "NVIDIA's nodes, of one GPU or all, and those that all share",
	[DEVICE_FORM_PATH] = "The device node at this path",
};

void devices_print_list(FILE *out)
{
	const struct device_form *form;

	for (unsigned i = 0; (form = device_form_row(i)); i++)
		if (!strchr(form->form, '<'))
			fprintf(out, "%s\n", form->form);
}

void devices_print_man(FILE *out)
{
	const struct device_form *form, *next;

	for (unsigned i = 0; (form = device_form_row(i)); i++) {
		fputc('*', out);
		print_scdoc(out, form->form);
		next = device_form_row(i + 1);
		/* forms of which the same is said stand together */
		if (!form->text && next && next->kind == form->kind) {
			fputs("*, ", out);
			continue;
		}
		fprintf(out, "*\n\t%s", form_notes[form->kind]);
		print_scdoc(out, form->text ? form->text : "");
		fputs(".\n\n", out);
	}
}

bool device_takes_hint(const struct verb *verb)
{
	switch (verb->method) {
	case METHOD_ListDevices:
	case METHOD_SetDevices:
	case METHOD_AllowDevices:
	case METHOD_DenyDevices:
		return true;
	default:
		return false;
	}
}

/* Not ours, not those of a list of cgroup v1, nor systemd's, which leaves others in place. */
static bool is_runtimes(const char *whose)
{
	return strncmp(whose, "cgmd", 4) != 0 && strcmp(whose, "v1") != 0 &&
	       !strstr(whose, "sd_devices");
}

/* Is `path` the same as `start`, a slash, and `rest`? Slashes at the ends do not count. */
static bool path_is_joined(const char *path, const char *start, const char *rest)
{
	size_t len = strlen(start);

	while (len > 0 && start[len - 1] == '/')
		len--;
	if (strncmp(path, start, len) != 0)
		return false;
	path += len;
	while (*rest == '/')
		rest++;
	if (*rest && *path != '/')
		return false;
	while (*path == '/')
		path++;
	len = strlen(rest);
	while (len > 0 && rest[len - 1] == '/')
		len--;
	return strncmp(path, rest, len) == 0 && path[len] == '\0';
}

static bool path_is_named(const char *path, const char *named, const json_t *scope)
{
	const char *hierarchy;
	json_t *own;

	if (named[0] == '/')
		return path_is_joined(path, "", named);
	json_object_foreach((json_t *)scope, hierarchy, own)
	{
		if (path_is_joined(path, json_string_value(own), named))
			return true;
	}
	return false;
}

bool device_runtime_sits_on(const json_t *rules, const char *named, const json_t *scope)
{
	json_t *rule;
	size_t i;

	json_array_foreach(rules, i, rule)
	{
		const char *cgroup = member_text(rule, "cgroup");

		if (*cgroup && is_runtimes(member_text(rule, "whose")) &&
			path_is_named(cgroup, named, scope))
			return true;
	}
	return false;
}
