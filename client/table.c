/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <errno.h>

#include "own.h"
#include "table.h"

#define GAP 2

static void print_cell(FILE *out, const json_t *value, enum escape escape)
{
	const char *gap = "";
	json_t *item;
	size_t i;

	if (json_is_string(value)) {
		print_text(out, json_string_value(value), escape);
	} else if (json_is_integer(value)) {
		fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	} else if (json_array_size(value) > 0) {
		json_array_foreach(value, i, item)
		{
			fputs(gap, out);
			print_cell(out, item, escape);
			gap = " ";
		}
	} else {
		putc('-', out);
	}
}

static char *cell_text(const json_t *value, enum escape escape)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	print_cell(out, value, escape);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

/* Characters, for which the bytes that go on with one do not count. */
static int text_width(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

static int column_width(const json_t *rows, const char *name, enum escape escape)
{
	int width = text_width(name);
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		OWN(own_string) char *text = cell_text(json_object_get(row, name), escape);
		int n = text ? text_width(text) : -ENOMEM;

		if (n < 0)
			return n;
		if (n > width)
			width = n;
	}
	return width;
}

static int print_row(FILE *out, const json_t *row, const char *const *names, const int *widths,
	enum escape escape)
{
	for (; *names; names++, widths++) {
		OWN(own_string) char *text = cell_text(json_object_get(row, *names), escape);

		if (!text)
			return -ENOMEM;
		fputs(text, out);
		if (names[1])
			fprintf(out, "%*s", *widths - text_width(text) + GAP, "");
	}
	putc('\n', out);
	return 0;
}

static void print_headings(FILE *out, const char *const *names, const int *widths)
{
	for (; *names; names++, widths++) {
		for (const char *p = *names; *p; p++)
			putc(toupper((unsigned char)*p), out);
		if (names[1])
			fprintf(out, "%*s", *widths - text_width(*names) + GAP, "");
	}
	putc('\n', out);
}

int table_print(FILE *out, const json_t *rows, const char *const *names, enum escape escape)
{
	int widths[OUTPUT_NAMES_MAX], r = 0;
	json_t *row;
	size_t i;

	if (json_array_size(rows) == 0)
		return 0;
	for (i = 0; names[i]; i++) {
		widths[i] = column_width(rows, names[i], escape);
		if (widths[i] < 0)
			return widths[i];
	}
	print_headings(out, names, widths);
	json_array_foreach(rows, i, row)
	{
		r = print_row(out, row, names, widths, escape);
		if (r < 0)
			break;
	}
	return r;
}

void pairs_print(FILE *out, const json_t *pairs, enum escape escape)
{
	const char *name;
	json_t *value;
	int width = 0;

	json_object_foreach((json_t *)pairs, name, value) width =
		text_width(name) > width ? text_width(name) : width;
	json_object_foreach((json_t *)pairs, name, value)
	{
		print_text(out, name, escape);
		fprintf(out, "%*s", width - text_width(name) + GAP, "");
		print_cell(out, value, escape);
		putc('\n', out);
	}
}
