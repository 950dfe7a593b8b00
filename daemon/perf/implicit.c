/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "implicit.h"

#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "../cgroupfs.h"

#define CONTROL "cgroup.subtree_control"

/* The cheapest to have for a moment, where it is there; else the first. */
static void choose(const char *controllers, char *ret, size_t size)
{
	size_t len = strcspn(controllers, " \n");

	if (strstr(controllers, "pids"))
		snprintf(ret, size, "pids");
	else
		snprintf(ret, size, "%.*s", (int)len, controllers);
}

int perf_implicit_begin(const struct hierarchy *h)
{
	char text[512], name[64], change[66];
	ssize_t n;
	int r;

	if (!h || !h->v2)
		return 0;
	n = cgroup_read_small(h->root_fd, CONTROL, text, sizeof(text));
	if (n != 0)
		return n < 0 ? (int)n : 0;
	n = cgroup_read_small(h->root_fd, "cgroup.controllers", text, sizeof(text));
	if (n <= 0)
		return (int)n;
	choose(text, name, sizeof(name));
	snprintf(change, sizeof(change), "+%s", name);
	r = cgroup_write(h->root_fd, CONTROL, change, strlen(change));
	if (r < 0)
		return r;
	change[0] = '-';
	r = cgroup_write(h->root_fd, CONTROL, change, strlen(change));
	return r < 0 ? r : 1;
}
