/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* policy/key and policy/throttle on three texts: a file's name, the ancestors' lines, a value. */
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "../../daemon/cleanup.h"
#include "../../policy/key.h"
#include "../../policy/path.h"
#include "../../policy/throttle.h"
#include "fuzz.h"

#define LINES_MAX 16

static void check_name(const char *name)
{
	struct path p;
	const struct key *key;

	if (!key_name_valid(name))
		return;
	/* one component, which the parser of paths takes as it is */
	CHECK(path_parse(name, &p) == REASON_OK);
	CHECK(p.n == 1 && !p.absolute && strcmp(p.text, name) == 0);
	key = key_find(name);
	if (!key)
		return;
	CHECK(fnmatch(key->name, name, FNM_NOESCAPE) == 0);
	/* the wildcard stands for no dot, so both have as many */
	for (const char *a = key->name, *b = name; a || b;) {
		a = strchr(a, '.');
		b = strchr(b, '.');
		CHECK(!a == !b);
		if (a)
			a++, b++;
	}
}

/* -EINVAL, or whether no limit of `lines` is lifted by `value`, told anew. */
static void check_narrows(const char *lines, const char *value)
{
	int r = throttle_narrows(lines, value);
	struct throttle_line line = {};
	const char *at = value;
	uint64_t limit;

	CHECK(r == 0 || r == 1 || r == -EINVAL);
	if (r == -EINVAL) {
		CHECK(throttle_next(&at, &line) != 1 || *at != '\0');
		return;
	}
	CHECK(throttle_next(&at, &line) == 1 && *at == '\0');
	limit = throttle_limit(lines, line.major, line.minor);
	if (r == 0)
		CHECK(limit > 0 && (line.limit == 0 || line.limit > limit));
	else
		CHECK(limit == 0 || (line.limit > 0 && line.limit <= limit));
}

/* Each line as it is read can be written and read again, and is no narrower than the limit. Not all
 * of many: each is compared with all. */
static void check_lines(const char *lines)
{
	struct throttle_line line, again;
	const char *at = lines, *before = lines;
	char text[64];
	int r;

	for (unsigned n = 0; (r = throttle_next(&at, &line)) == 1 && n < LINES_MAX; n++) {
		const char *copy = text;
		uint64_t limit = throttle_limit(lines, line.major, line.minor);

		CHECK(at > before);
		before = at;
		CHECK(line.limit == 0 || (limit > 0 && limit <= line.limit));
		snprintf(text, sizeof(text), "%u:%u %llu\n", line.major, line.minor,
			(unsigned long long)line.limit);
		CHECK(throttle_next(&copy, &again) == 1 && *copy == '\0');
		CHECK(again.major == line.major && again.minor == line.minor &&
			again.limit == line.limit);
		CHECK(throttle_narrows(lines, text) == (limit == 0 || line.limit == limit));
	}
	CHECK(r == 0 ? *at == '\0' : r == 1 || r == -EINVAL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	_cleanup_free_ char *name = input_text(&in);
	_cleanup_free_ char *lines = input_text(&in);
	_cleanup_free_ char *value = input_text(&in);

	check_name(name);
	check_lines(lines);
	check_narrows(lines, value);
	return 0;
}
