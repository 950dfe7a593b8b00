/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* policy/path on two texts, and on the paths that they give. */
#include <stdio.h>
#include <string.h>

#include "../../daemon/cleanup.h"
#include "../../policy/path.h"
#include "fuzz.h"

/* An absolute, normalised path. */
struct whole {
	char text[PATH_TEXT_MAX + 2];
	unsigned n;
};

static void check_component(const char *name, size_t len)
{
	CHECK(len > 0 && len <= PATH_NAME_MAX);
	CHECK(!(len == 1 && name[0] == '.'));
	CHECK(!(len == 2 && name[0] == '.' && name[1] == '.'));
	if (path_name_check(name, len) != REASON_OK)
		CHECK(memchr(name, '.', len) || (len == 5 && memcmp(name, "tasks", 5) == 0) ||
			memchr(name, '_', len));
}

static void check_parsed(const char *text, const struct path *p)
{
	unsigned n = 0;

	CHECK(p->absolute == (text[0] == '/'));
	CHECK(p->n <= PATH_COMPONENTS_MAX);
	CHECK(p->len == strlen(p->text) && p->len <= strlen(text));
	CHECK((p->n == 0) == (p->len == 0));
	for (const char *at = p->text; p->n > 0; n++) {
		size_t len = strcspn(at, "/");

		check_component(at, len);
		if (at[len] == '\0')
			break;
		at += len + 1;
	}
	CHECK(p->n == 0 || n + 1 == p->n);
	for (const char *at = p->text; *at; at++)
		CHECK((unsigned char)*at >= 0x20 && *at != 0x7f && !path_control(at));
}

static void check_refused(const char *text, enum reason reason)
{
	size_t len = strlen(text);
	bool control = false;

	for (const char *at = text; *at; at++)
		control |= path_control(at) > 0;
	if (reason == REASON_PATH_LENGTH)
		CHECK(len > PATH_TEXT_MAX);
	else if (reason == REASON_PATH_CONTROL)
		CHECK(control);
	else if (reason == REASON_PATH_DOTDOT)
		CHECK(strstr(text, ".."));
	else if (reason == REASON_NAME_LENGTH)
		CHECK(len > PATH_NAME_MAX);
	else if (reason == REASON_PATH_DEPTH)
		CHECK(len > PATH_COMPONENTS_MAX);
	else
		CHECK(!"another reason");
}

static bool parse(const char *text, struct whole *ret)
{
	struct path p, again;
	enum reason reason = path_parse(text, &p);

	if (reason != REASON_OK) {
		check_refused(text, reason);
		return false;
	}
	check_parsed(text, &p);
	/* What is folded is not folded further. */
	CHECK(path_parse(p.text, &again) == REASON_OK);
	CHECK(again.n == p.n && !again.absolute && strcmp(again.text, p.text) == 0);
	snprintf(ret->text, sizeof(ret->text), "/%s", p.text);
	ret->n = p.n;
	CHECK(path_depth(ret->text) == ret->n);
	return true;
}

static bool is_within(const struct whole *path, const struct whole *ancestor)
{
	size_t len = strlen(ancestor->text);

	if (ancestor->n == 0)
		return true;
	return strncmp(path->text, ancestor->text, len) == 0 &&
	       (path->text[len] == '\0' || path->text[len] == '/');
}

static void check_within(const struct whole *path, const struct whole *ancestor)
{
	const char *rest = NULL;
	bool within = path_is_within(path->text, ancestor->text, &rest);
	_cleanup_free_ char *joined = NULL;

	CHECK(within == is_within(path, ancestor));
	CHECK(within == path_is_within(path->text, ancestor->text, NULL));
	CHECK(within == (rest != NULL));
	if (!within)
		return;
	CHECK(rest[0] != '/');
	CHECK(path_common(path->text, ancestor->text) == strlen(ancestor->text));
	CHECK(asprintf(&joined, "%s%s%s", ancestor->text, *rest && ancestor->n > 0 ? "/" : "",
		      rest) > 0);
	CHECK(strcmp(joined, path->text) == 0);
}

static void check_pair(const struct whole *a, const struct whole *b)
{
	size_t common = path_common(a->text, b->text);
	struct whole top = {};

	check_within(a, b);
	check_within(b, a);
	CHECK(common == path_common(b->text, a->text));
	CHECK(common >= 1 && common <= strlen(a->text) && common <= strlen(b->text));
	memcpy(top.text, a->text, common);
	top.n = path_depth(top.text);
	CHECK(is_within(a, &top) && is_within(b, &top));
	/* and it is the longest: the components behind it differ, or there is none */
	if (top.n < a->n && top.n < b->n) {
		const char *next_a = a->text + common + (top.n > 0);
		const char *next_b = b->text + common + (top.n > 0);
		size_t len = strcspn(next_a, "/");

		CHECK(len != strcspn(next_b, "/") || memcmp(next_a, next_b, len) != 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	_cleanup_free_ char *first = input_text(&in);
	_cleanup_free_ char *second = input_text(&in);
	struct whole a, b;
	bool has_a = parse(first, &a), has_b = parse(second, &b);

	if (has_a && has_b)
		check_pair(&a, &b);
	return 0;
}
