/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The text of /proc/PID/mountinfo. */
#include <stdio.h>
#include <string.h>

#include "../../daemon/cleanup.h"
#include "../../daemon/mountinfo.h"
#include "fuzz.h"

/* The kernel's way: blank, tab, newline, backslash and '#' as \ooo. */
static void put_escaped(FILE *f, const char *text)
{
	for (; *text; text++)
		if (strchr(" \t\n\\#", *text))
			fprintf(f, "\\%03o", (unsigned char)*text);
		else
			putc(*text, f);
}

static void check_written(const struct mountinfo *m)
{
	static struct mountinfo again;
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	const char *at;

	CHECK(f);
	fprintf(f, "%u 1 %u:%u ", m->id, m->major, m->minor);
	put_escaped(f, m->root);
	putc(' ', f);
	put_escaped(f, m->target);
	fprintf(f, " rw shared:1 - %s none %s\n", m->v2 ? "cgroup2" : "cgroup", m->options);
	CHECK(fclose(f) == 0);
	at = text;
	CHECK(mountinfo_next(&at, &again) == 1 && *at == '\0');
	CHECK(again.id == m->id && again.major == m->major && again.minor == m->minor);
	CHECK(strcmp(again.root, m->root) == 0 && strcmp(again.target, m->target) == 0);
	CHECK(strcmp(again.options, m->options) == 0 && again.v2 == m->v2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mountinfo m;
	struct input in = {data, size};
	_cleanup_free_ char *text = input_text(&in);
	const char *at = text, *before = text;

	while (mountinfo_next(&at, &m) == 1) {
		CHECK(at > before && at <= text + strlen(text));
		before = at;
		CHECK(m.root[0] == '/' && strnlen(m.root, sizeof(m.root)) < sizeof(m.root));
		CHECK(m.target[0] == '/' && strnlen(m.target, sizeof(m.target)) < sizeof(m.target));
		CHECK(strnlen(m.options, sizeof(m.options)) < sizeof(m.options));
		CHECK(!strpbrk(m.options, " \n"));
		check_written(&m);
	}
	CHECK(*at == '\0');
	return 0;
}
