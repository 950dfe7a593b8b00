/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devices.h"

#include <string.h>

static const struct device_form rows[] = {
#define DEVICE(form, kind, text) {form, DEVICE_FORM_##kind, text},
#include "devices.def"
#undef DEVICE
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       c == '-';
}

/* No name has a blank or what a terminal would obey. */
static bool is_graphic(char c)
{
	return (unsigned char)c > ' ' && c != 127;
}

/* One character of what stands for <N>, <ADDRESS>, <DRIVER>, <PATH>; told apart by the letter. */
static bool fits(char which, char c)
{
	switch (which) {
	case 'N':
		return is_digit(c);
	case 'A':
		return is_word(c) || c == ':' || c == '.';
	case 'D':
		return is_word(c);
	default:
		return is_graphic(c);
	}
}

/* The length of what stands for <...>, 0 where there is none, or -1: the name has another form. */
static int word_length(const char *form, const char *name)
{
	const char *open = strchr(form, '<'), *close = strchr(form, '>');
	size_t n = strlen(name), before, behind;

	if (!open)
		return strcmp(form, name) == 0 ? 0 : -1;
	before = open - form;
	behind = strlen(close + 1);
	if (n <= before + behind || memcmp(name, form, before) != 0 ||
		memcmp(name + n - behind, close + 1, behind) != 0)
		return -1;
	for (size_t i = before; i < n - behind; i++)
		if (!fits(open[1], name[i]))
			return -1;
	/* One number has one name. */
	if (open[1] == 'N' && name[before] == '0' && n - behind - before > 1)
		return -1;
	return (int)(n - before - behind);
}

const struct device_form *device_form_row(unsigned index)
{
	return index < N_ROWS ? &rows[index] : NULL;
}

const struct device_form *device_form_find(const char *name)
{
	if (strnlen(name, DEVICE_NAME_MAX + 1) > DEVICE_NAME_MAX)
		return NULL;
	for (unsigned i = 0; i < N_ROWS; i++)
		if (word_length(rows[i].form, name) >= 0)
			return &rows[i];
	return NULL;
}

size_t device_form_word(const struct device_form *f, const char *name, const char **ret)
{
	int n = word_length(f->form, name);

	if (n <= 0)
		return 0;
	*ret = name + (strchr(f->form, '<') - f->form);
	return n;
}

static uint32_t number(const char **text)
{
	uint32_t n = 0;

	for (; is_digit(**text); ++*text)
		n = n * 10 + (uint32_t)(**text - '0');
	return n;
}

static void minors(const char **text, struct device_range *ret)
{
	if (**text == '*') {
		++*text;
		ret->first = 0;
		ret->last = DEVICE_MINOR_MAX;
		return;
	}
	ret->first = ret->last = number(text);
	if (**text == '-') {
		++*text;
		ret->last = number(text);
	}
}

static uint8_t access_bits(const char **text)
{
	uint8_t bits = 0;

	for (; **text && **text != ','; ++*text)
		bits |= **text == 'r'	? DEVICE_READ
			: **text == 'w' ? DEVICE_WRITE
			: **text == 'm' ? DEVICE_MKNOD
					: 0;
	return bits ? bits : DEVICE_ALL;
}

bool device_form_next(const char **text, struct device_range *ret, const char **driver, size_t *len)
{
	const char *at = *text;

	if (!at)
		return false;
	at += strspn(at, ", ");
	if (!*at)
		return false;
	*ret = (struct device_range){.types = *at == 'b' ? DEVICE_BLOCK : DEVICE_CHAR};
	at += 2;
	*driver = at;
	*len = is_digit(*at) || *at == '*' ? 0 : strcspn(at, ":");
	ret->major = is_digit(*at) ? number(&at) : DEVICE_ANY;
	at += strcspn(at, ":") + 1;
	minors(&at, ret);
	ret->access = access_bits(&at);
	*text = at;
	return true;
}
