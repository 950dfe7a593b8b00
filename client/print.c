/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <string.h>

#include "print.h"

/* How many bytes from here are one control character. */
static unsigned control_length(const unsigned char *p, enum escape escape)
{
	if (escape == ESCAPE_NONE)
		return 0;
	if (escape == ESCAPE_LINES && (*p == '\n' || *p == '\t'))
		return 0;
	if (*p < ' ' || *p == 0x7f)
		return 1;
	return p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0 ? 2 : 0;
}

void print_text(FILE *out, const char *text, enum escape escape)
{
	const unsigned char *p = (const unsigned char *)text;

	while (*p) {
		unsigned n = control_length(p, escape);

		if (n == 0)
			putc(*p++, out);
		for (; n > 0; n--)
			fprintf(out, "\\x%02x", *p++);
	}
}

void print_scdoc(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (strchr("\\*_~#[]", *text))
			fputc('\\', out);
		fputc(*text, out);
	}
}

static int print_existence(FILE *out, const struct verb *verb, sd_bus_message *m)
{
	int32_t existed;
	int r = sd_bus_message_read_basic(m, 'i', &existed);

	if (r < 0)
		return r;
	if (verb->output == OUTPUT_EXISTED && existed > 0)
		fputs("Path existed\n", out);
	if (verb->output == OUTPUT_ABSENT && existed <= 0)
		fputs("Path did not exist\n", out);
	return 0;
}

static int print_number(FILE *out, sd_bus_message *m)
{
	int32_t number;
	int r = sd_bus_message_read_basic(m, 'i', &number);

	if (r > 0)
		fprintf(out, "%d\n", number);
	return r;
}

static int print_string(FILE *out, sd_bus_message *m, enum escape escape)
{
	const char *text;
	int r = sd_bus_message_read_basic(m, 's', &text);

	if (r > 0) {
		print_text(out, text, escape);
		putc('\n', out);
	}
	return r;
}

/* An id that the user namespace does not map is all ones. */
static void print_id(FILE *out, uint32_t id)
{
	if (id == UINT32_MAX)
		fputs(" -1", out);
	else
		fprintf(out, " %u", id);
}

static int print_key(FILE *out, sd_bus_message *m, enum escape escape)
{
	uint32_t uid, gid, mode;
	const char *name;
	int r = sd_bus_message_read(m, "(suuu)", &name, &uid, &gid, &mode);

	if (r > 0) {
		print_text(out, name, escape);
		print_id(out, uid);
		print_id(out, gid);
		fprintf(out, " %o\n", mode);
	}
	return r;
}

static int print_array(FILE *out, const struct verb *verb, sd_bus_message *m, enum escape escape)
{
	int r = sd_bus_message_enter_container(m, 'a', verb_output_signature(verb) + 1);

	while (r > 0) {
		if (verb->output == OUTPUT_KEYS)
			r = print_key(out, m, escape);
		else if (verb->output == OUTPUT_NAMES)
			r = print_string(out, m, escape);
		else
			r = print_number(out, m);
	}
	return r;
}

int print_answer(FILE *out, const struct verb *verb, sd_bus_message *m, bool terminal)
{
	enum escape escape = terminal ? ESCAPE_ALL : ESCAPE_NONE;
	int r = 0;

	switch (verb->output) {
	case OUTPUT_NOTHING:
		break;
	case OUTPUT_EXISTED:
	case OUTPUT_ABSENT:
		r = print_existence(out, verb, m);
		break;
	case OUTPUT_NUMBER:
		r = print_number(out, m);
		break;
	case OUTPUT_LINE:
		r = print_string(out, m, escape);
		break;
	case OUTPUT_VALUE:
		r = print_string(out, m, terminal ? ESCAPE_LINES : ESCAPE_NONE);
		break;
	default:
		r = print_array(out, verb, m, escape);
	}
	return r < 0 ? r : 0;
}
