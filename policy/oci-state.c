/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "oci-state.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

struct cursor {
	const char *at, *end;
};

/* What lies between a string's quotes. */
struct span {
	const char *at, *end;
};

static void space_skip(struct cursor *c)
{
	while (c->at < c->end && memchr(" \t\r\n", *c->at, 4))
		c->at++;
}

/* The next character that is no blank, or -EAGAIN. */
static int peek(struct cursor *c)
{
	space_skip(c);
	return c->at < c->end ? (unsigned char)*c->at : -EAGAIN;
}

static int expect(struct cursor *c, char wanted)
{
	int r = peek(c);

	if (r < 0)
		return r;
	if (r != wanted)
		return -EBADMSG;
	c->at++;
	return 0;
}

static int hex_digit(char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	ch |= 0x20;
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -EBADMSG;
}

/* Behind a backslash; the code unit that it stands for. */
static int escape_take(struct cursor *c)
{
	static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
	const char *name;
	int unit = 0;

	if (c->at == c->end)
		return -EAGAIN;
	if (*c->at != 'u') {
		name = memchr(names, *c->at, sizeof(names) - 1);
		c->at++;
		return name ? means[name - names] : -EBADMSG;
	}
	c->at++;
	for (unsigned i = 0; i < 4; i++, c->at++) {
		int digit = c->at < c->end ? hex_digit(*c->at) : -EAGAIN;

		if (digit < 0)
			return digit;
		unit = unit << 4 | digit;
	}
	return unit;
}

static int string_take(struct cursor *c, struct span *ret)
{
	int r = expect(c, '"');

	if (r < 0)
		return r;
	ret->at = c->at;
	while (c->at < c->end) {
		char ch = *c->at++;

		if (ch == '"') {
			ret->end = c->at - 1;
			return 0;
		}
		if ((unsigned char)ch < 0x20)
			return -EBADMSG;
		if (ch != '\\')
			continue;
		r = escape_take(c);
		if (r < 0)
			return r;
	}
	return -EAGAIN;
}

/* `word` is plain ASCII; "f\u0064s" is "fds" too. */
static bool span_is(struct span s, const char *word)
{
	struct cursor c = {s.at, s.end};

	for (; *word; word++) {
		int unit;

		if (c.at == c.end)
			return false;
		unit = (unsigned char)*c.at++;
		if (unit == '\\')
			unit = escape_take(&c);
		if (unit != *word)
			return false;
	}
	return c.at == c.end;
}

static int word_skip(struct cursor *c, const char *word)
{
	for (; *word; word++, c->at++) {
		if (c->at == c->end)
			return -EAGAIN;
		if (*c->at != *word)
			return -EBADMSG;
	}
	return 0;
}

/* At least one digit. */
static int digits_skip(struct cursor *c)
{
	const char *from = c->at;

	while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
		c->at++;
	if (c->at == c->end)
		return -EAGAIN;
	return c->at > from ? 0 : -EBADMSG;
}

/* It is in an object, so it is not over where the text is. */
static int number_skip(struct cursor *c)
{
	bool zero;
	int r;

	if (*c->at == '-')
		c->at++;
	zero = c->at < c->end && *c->at == '0';
	if (zero)
		r = ++c->at < c->end ? 0 : -EAGAIN;
	else
		r = digits_skip(c);
	if (r == 0 && *c->at == '.') {
		c->at++;
		r = digits_skip(c);
	}
	if (r < 0 || (*c->at | 0x20) != 'e')
		return r;
	c->at++;
	if (c->at < c->end && (*c->at == '+' || *c->at == '-'))
		c->at++;
	return digits_skip(c);
}

static int value_skip(struct cursor *c, unsigned depth);

/* The values of an object or an array, up to and with its end. */
static int values_skip(struct cursor *c, bool object, unsigned depth)
{
	struct span key;
	int r;

	if (depth > OCI_STATE_DEPTH_MAX)
		return -E2BIG;
	c->at++;
	r = peek(c);
	if (r == (object ? '}' : ']')) {
		c->at++;
		return 0;
	}
	do {
		r = object ? string_take(c, &key) ?: expect(c, ':') : 0;
		r = r ?: value_skip(c, depth);
		if (r < 0)
			return r;
		r = peek(c);
		if (r < 0)
			return r;
		c->at++;
	} while (r == ',');
	return r == (object ? '}' : ']') ? 0 : -EBADMSG;
}

static int value_skip(struct cursor *c, unsigned depth)
{
	struct span string;
	int r = peek(c);

	switch (r) {
	case '{':
	case '[':
		return values_skip(c, r == '{', depth + 1);
	case '"':
		return string_take(c, &string);
	case 't':
		return word_skip(c, "true");
	case 'f':
		return word_skip(c, "false");
	case 'n':
		return word_skip(c, "null");
	case '-':
	case '0' ... '9':
		return number_skip(c);
	default:
		return r < 0 ? r : -EBADMSG;
	}
}

/* Where a value begins. 1: it is ["seccompFd"...]. Looks at what a value_skip() will check. */
static int names_listener(struct cursor c)
{
	struct span name;
	int r = expect(&c, '[') ?: string_take(&c, &name);

	return r < 0 ? 0 : span_is(name, "seccompFd");
}

/* One member of the outermost object. *fds: -1 none yet; else whether they are the right ones. */
static int member_take(struct cursor *c, int *fds)
{
	struct span key;
	int r = string_take(c, &key) ?: expect(c, ':');

	if (r < 0)
		return r;
	if (span_is(key, "fds")) {
		if (*fds >= 0)
			return -ENOTUNIQ;
		*fds = names_listener(*c);
	}
	return value_skip(c, 1);
}

static int object_check(struct cursor *c)
{
	int fds = -1, r = expect(c, '{');

	if (r < 0)
		return r;
	r = peek(c);
	if (r == '}') {
		c->at++;
		return -ENOENT;
	}
	do {
		r = member_take(c, &fds);
		if (r < 0)
			return r;
		r = peek(c);
		if (r < 0)
			return r;
		c->at++;
	} while (r == ',');
	if (r != '}')
		return -EBADMSG;
	return fds > 0 ? 0 : -ENOENT;
}

int oci_state_check(const char *text, size_t size)
{
	struct cursor c = {text, text + size};
	int r;

	if (size > OCI_STATE_MAX)
		return -E2BIG;
	r = object_check(&c);
	if (r < 0 && r != -ENOENT)
		return r;
	return peek(&c) == -EAGAIN ? r : -EBADMSG;
}
