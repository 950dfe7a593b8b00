/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "controller.h"

#include <stdio.h>
#include <string.h>

static const struct controller rows[] = {
#define CONTROLLER(name, v1, flags) {name, v1, flags},
#include "controllers.def"
#undef CONTROLLER
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

_Static_assert(N_ROWS < sizeof(unsigned) * 8, "a set is an unsigned");

const struct controller *controller_row(unsigned index)
{
	return index < N_ROWS ? &rows[index] : NULL;
}

static bool is(const char *name, const char *word, size_t len)
{
	return strlen(name) == len && memcmp(name, word, len) == 0;
}

static unsigned controller_of(const char *word, size_t len)
{
	for (unsigned i = 0; i < N_ROWS; i++)
		if ((rows[i].flags & CONTROLLER_ENABLED) &&
			(is(rows[i].name, word, len) || is(rows[i].v1, word, len)))
			return 1U << i;
	return 0;
}

unsigned controllers_of(const char *text)
{
	unsigned set = 0;

	while (*text) {
		size_t len = strcspn(text, ", \n");

		set |= controller_of(text, len);
		text += len + (text[len] != '\0');
	}
	return set;
}

unsigned controllers_threaded(unsigned set)
{
	unsigned threaded = 0;

	for (unsigned i = 0; i < N_ROWS; i++)
		if (rows[i].flags & CONTROLLER_THREADED)
			threaded |= 1U << i;
	return set & threaded;
}

void controllers_text(unsigned set, char sign, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < N_ROWS && len < size; i++)
		if (set & 1U << i)
			len += (size_t)snprintf(buf + len, size - len, "%s%.*s%s", len ? " " : "",
				sign ? 1 : 0, &sign, rows[i].name);
}

unsigned controller_of_file(const char *name)
{
	return controller_of(name, strcspn(name, "."));
}
