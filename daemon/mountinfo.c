/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <string.h>

#include "mountinfo.h"

/* A field of a line: [at, end). Fields are separated by exactly one space and may be empty (the
 * source of a mount can be ""). */
struct field {
	const char *at, *end;
};

/* False: the line had no further field. */
static bool field_next(const char **at, const char *line_end, struct field *ret)
{
	const char *space;

	if (!*at)
		return false;
	space = memchr(*at, ' ', line_end - *at);
	ret->at = *at;
	ret->end = space ? space : line_end;
	*at = space ? space + 1 : NULL;
	return true;
}

static bool field_is(const struct field *f, const char *text)
{
	size_t len = strlen(text);

	return (size_t)(f->end - f->at) == len && memcmp(f->at, text, len) == 0;
}

static bool field_copy(const struct field *f, char *buf, size_t size)
{
	size_t len = f->end - f->at;

	if (len >= size)
		return false;
	memcpy(buf, f->at, len);
	buf[len] = '\0';
	return true;
}

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* Undoes the kernel's mangle(): blank, tab, newline, backslash and '#' come as \ooo. */
static bool field_unescape(const struct field *f, char *buf, size_t size)
{
	size_t n = 0;

	for (const char *p = f->at; p < f->end; p++) {
		char c = *p;

		if (c == '\\') {
			if (f->end - p < 4 || !is_octal(p[1]) || !is_octal(p[2]) || !is_octal(p[3]))
				return false;
			c = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
			p += 3;
		}
		if (c == '\0' || n + 1 >= size)
			return false;
		buf[n++] = c;
	}
	buf[n] = '\0';
	return true;
}

/* Decimal digits up to `stop` exactly. */
static bool number(const char *at, const char *stop, unsigned *ret)
{
	unsigned long long value = 0;

	if (at == stop)
		return false;
	for (; at < stop; at++) {
		if (*at < '0' || *at > '9')
			return false;
		value = value * 10 + (unsigned)(*at - '0');
		if (value > UINT32_MAX)
			return false;
	}
	*ret = (unsigned)value;
	return true;
}

static bool device(const struct field *f, struct mountinfo *ret)
{
	const char *colon = memchr(f->at, ':', f->end - f->at);

	return colon && number(f->at, colon, &ret->major) && number(colon + 1, f->end, &ret->minor);
}

/* What stands in each line up to the type. */
struct line {
	struct field id, parent, dev, root, target, flags, type;
};

/* "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - cgroup cgroup rw,cpu": moves *at behind the
 * type. */
static bool line_begin(const char **at, const char *end, struct line *l)
{
	struct field f;

	if (!field_next(at, end, &l->id) || !field_next(at, end, &l->parent) ||
		!field_next(at, end, &l->dev) || !field_next(at, end, &l->root) ||
		!field_next(at, end, &l->target) || !field_next(at, end, &l->flags))
		return false;
	do { /* any number of optional fields */
		if (!field_next(at, end, &f))
			return false;
	} while (!field_is(&f, "-"));
	return field_next(at, end, &l->type);
}

static bool line_parse(const char *at, const char *end, struct mountinfo *ret)
{
	struct field source, options;
	struct line l;

	if (!line_begin(&at, end, &l))
		return false;
	ret->v2 = field_is(&l.type, "cgroup2");
	if (!ret->v2 && !field_is(&l.type, "cgroup"))
		return false;
	if (!field_next(&at, end, &source) || !field_next(&at, end, &options))
		return false;
	return number(l.id.at, l.id.end, &ret->id) && device(&l.dev, ret) &&
	       field_unescape(&l.root, ret->root, sizeof(ret->root)) &&
	       field_unescape(&l.target, ret->target, sizeof(ret->target)) && ret->root[0] == '/' &&
	       ret->target[0] == '/' && field_copy(&options, ret->options, sizeof(ret->options));
}

int mountinfo_next(const char **text, struct mountinfo *ret)
{
	while (**text) {
		const char *at = *text, *end = strchrnul(at, '\n');

		*text = *end ? end + 1 : end;
		if (line_parse(at, end, ret))
			return 1;
	}
	return 0;
}

bool mountinfo_type(const char *text, uint64_t id, char *buf, size_t size)
{
	while (*text) {
		const char *at = text, *end = strchrnul(text, '\n');
		struct line l;
		unsigned is;

		text = *end ? end + 1 : end;
		if (line_begin(&at, end, &l) && number(l.id.at, l.id.end, &is) && is == id)
			return field_copy(&l.type, buf, size);
	}
	return false;
}
