/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The text of /proc/PID/cgroup: a hierarchy's number (255: by its name), its name, the text. And
 * the text as the name of a controller. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../daemon/cleanup.h"
#include "../../daemon/hierarchy.h"
#include "../../policy/path.h"
#include "fuzz.h"

static void check_path(const char *text, size_t len, const char *path)
{
	static const char deleted[] = " (deleted)";
	size_t n = strnlen(path, PATH_TEXT_MAX + 1);

	CHECK(path[0] == '/' && n < PATH_TEXT_MAX);
	CHECK(memmem(text, len, path, n));
	CHECK(strncmp(path, "/..", 3) != 0 || (path[3] != '\0' && path[3] != '/'));
	CHECK(n < sizeof(deleted) || strcmp(path + n - sizeof(deleted) + 1, deleted) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hierarchies all = {.n = 1};
	struct hierarchy *h = &all.list[0];
	struct input in = {data, size};
	uint8_t id = input_byte(&in);
	_cleanup_free_ char *name = input_text(&in);
	_cleanup_free_ char *text = input_text(&in);
	size_t len = strlen(text);
	char path[PATH_TEXT_MAX + 1] = "untouched";
	int r;

	h->id = id == UINT8_MAX ? -1 : id;
	snprintf(h->proc_name, sizeof(h->proc_name), "%s", name);
	snprintf(h->name, sizeof(h->name), "%s", name);
	r = hierarchy_path(h, text, (unsigned)len, path);
	if (r == 0)
		check_path(text, len, path);
	else
		CHECK(strcmp(path, "untouched") == 0);
	CHECK(r == 0 || r == -ENOENT || r == -ENAMETOOLONG || r == -EINVAL || r == -EXDEV ||
		r == -ESTALE);

	/* a controller is one of the list, or the list */
	if (hierarchy_find(&all, text, (unsigned)len))
		CHECK(len > 0 && memmem(h->name, strlen(h->name), text, len));
	CHECK(!h->name[0] || hierarchy_find(&all, h->name, (unsigned)strlen(h->name)) == h);
	return 0;
}
