/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "path.h"

/* Every controller of kernels 4.x to 6.x; "irq" has files of its name (irq.pressure) without being
 * one. */
static const char *const controllers[] = {
	"blkio",
	"cgroup",
	"cpu",
	"cpuacct",
	"cpuset",
	"debug",
	"devices",
	"dmem",
	"freezer",
	"hugetlb",
	"io",
	"irq",
	"memory",
	"misc",
	"net_cls",
	"net_prio",
	"perf_event",
	"pids",
	"rdma",
};

static const char *const kernel_names[] = {"notify_on_release", "release_agent", "tasks"};

size_t path_control(const char *text)
{
	unsigned char c = (unsigned char)text[0];

	if ((c != 0 && c < 0x20) || c == 0x7f)
		return 1;
	if (c == 0xc2) {
		unsigned char next = (unsigned char)text[1];

		return next >= 0x80 && next <= 0x9f ? 2 : 0;
	}
	return 0;
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if (path_control(text))
			return true;
	return false;
}

static void path_append(struct path *p, const char *name, size_t len)
{
	if (p->n > 0)
		p->text[p->len++] = '/';
	memcpy(p->text + p->len, name, len);
	p->len += len;
	p->n++;
}

enum reason path_parse(const char *text, struct path *ret)
{
	/* strnlen: what a client sent is not walked to its end only to be refused for its length */
	if (strnlen(text, PATH_TEXT_MAX + 1) > PATH_TEXT_MAX)
		return REASON_PATH_LENGTH;
	if (has_control(text))
		return REASON_PATH_CONTROL;

	ret->absolute = text[0] == '/';
	ret->n = 0;
	ret->len = 0;
	while (*text) {
		size_t len = strcspn(text, "/");
		const char *name = text;

		text += len + (text[len] == '/');
		if (len == 0 || (len == 1 && name[0] == '.'))
			continue;
		if (len == 2 && name[0] == '.' && name[1] == '.')
			return REASON_PATH_DOTDOT;
		if (len > PATH_NAME_MAX)
			return REASON_NAME_LENGTH;
		if (ret->n == PATH_COMPONENTS_MAX)
			return REASON_PATH_DEPTH;
		path_append(ret, name, len);
	}
	ret->text[ret->len] = '\0';
	return REASON_OK;
}

static bool name_is(const char *name, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(name, word, len) == 0;
}

static bool name_starts(const char *name, size_t len, const char *word)
{
	size_t n = strlen(word);

	return len >= n && memcmp(name, word, n) == 0;
}

enum reason path_name_check(const char *name, size_t len)
{
	if (name_starts(name, len, ".cgm_"))
		return REASON_NAME_RESERVED;
	for (size_t i = 0; i < sizeof(kernel_names) / sizeof(kernel_names[0]); i++)
		if (name_is(name, len, kernel_names[i]))
			return REASON_NAME_RESERVED;
	for (size_t i = 0; i < sizeof(controllers) / sizeof(controllers[0]); i++) {
		size_t n = strlen(controllers[i]);

		if (name_starts(name, len, controllers[i]) && len > n && name[n] == '.')
			return REASON_NAME_RESERVED;
	}
	return REASON_OK;
}

bool path_is_within(const char *path, const char *ancestor, const char **ret_rest)
{
	size_t n = strlen(ancestor);

	/* "/" is the one path that ends in the separator */
	if (n == 1)
		n = 0;
	if (strncmp(path, ancestor, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return false;
	if (ret_rest)
		*ret_rest = path + n + (path[n] == '/');
	return true;
}

size_t path_common(const char *a, const char *b)
{
	size_t common = 0, i = 0;

	for (; a[i] && a[i] == b[i]; i++)
		if (a[i] == '/')
			common = i;
	/* a whole component ends in both where each is at its end or at a separator */
	if ((a[i] == '\0' || a[i] == '/') && (b[i] == '\0' || b[i] == '/') && i > 1)
		common = i;
	return common > 0 ? common : 1;
}

unsigned path_depth(const char *path)
{
	unsigned n = 0;

	if (path[1] == '\0')
		return 0;
	for (; *path; path++)
		n += *path == '/';
	return n;
}

size_t path_prefix(const char *path, unsigned depth)
{
	size_t len = 0;

	if (depth == 0)
		return 1;
	while (depth-- > 0)
		len += 1 + strcspn(path + len + 1, "/");
	return len;
}

unsigned path_prefix_depth(const char *path, size_t len)
{
	unsigned depth = 0;

	for (size_t i = 0; len > 1 && i < len; i++)
		depth += path[i] == '/';
	return depth;
}
