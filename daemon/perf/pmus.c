/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pmus.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cgroupfs.h"
#include "../cleanup.h"
#include "../proc.h"

#define DEVICES "bus/event_source/devices"

/* A number alone on its line. */
static int number_read(int dirfd, const char *path, uint64_t *ret)
{
	char text[32], *end;
	ssize_t n = proc_read(dirfd, path, text, sizeof(text));

	if (n < 0)
		return n == -ESRCH ? -ENOENT : (int)n;
	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno != 0 || (*end != '\n' && *end != '\0') ? -EINVAL : 0;
}

static bool begins(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

/* "power", and since 6.13 "power_core" */
static bool is_power(const char *name)
{
	return strcmp(name, "power") == 0 || begins(name, "power_");
}

/* Only a CPU's own says so of its kind, where there is more than one kind. */
static bool is_cpu(int dirfd, const struct pmu *pmu)
{
	if (pmu->type == PERF_TYPE_RAW)
		return true;
	if (!begins(pmu->name, "cpu_") && !begins(pmu->name, "arm") && !begins(pmu->name, "apple"))
		return false;
	return faccessat(dirfd, "cpus", F_OK, 0) == 0;
}

/* amdgpu's have no cpumask, and count for all the card all the same. */
static bool is_scoped(int dirfd, const char *name)
{
	if (begins(name, "amdgpu_") || begins(name, "i915") || begins(name, "xe_"))
		return false;
	return faccessat(dirfd, "cpumask", F_OK, 0) < 0 && errno == ENOENT;
}

struct list {
	struct pmu *pmu; /* heap */
	unsigned n, size;
};

static void list_done(struct list *l)
{
	free(l->pmu);
}

/* One that goes meanwhile was not there. */
static int pmu_add(void *userdata, int dirfd, const char *name)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct list *list = userdata;
	struct pmu *pmu;
	uint64_t type;
	int r;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	r = number_read(fd, "type", &type);
	if (r < 0 || type > UINT32_MAX || strlen(name) > PERF_NAME_MAX)
		return r == -ENOMEM || r == -EMFILE || r == -ENFILE ? r : 0;
	if (list->n == PMUS_MAX)
		return -E2BIG;
	if (list->n == list->size) {
		unsigned size = list->size ? 2 * list->size : 64;
		struct pmu *bigger = reallocarray(list->pmu, size, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		list->pmu = bigger;
		list->size = size;
	}
	pmu = &list->pmu[list->n];
	*pmu = (struct pmu){.type = (uint32_t)type,
		.is_power = is_power(name),
		.is_probe = strcmp(name, "kprobe") == 0 || strcmp(name, "uprobe") == 0,
		.leaks = begins(name, "intel_bts") || begins(name, "arm_spe"),
		.no_exclude = strcmp(name, "msr") == 0};
	strcpy(pmu->name, name);
	pmu->is_cpu = is_cpu(fd, pmu);
	pmu->scoped = is_scoped(fd, name);
	list->n++;
	return 0;
}

static int by_type(const void *a, const void *b)
{
	const struct pmu *x = a, *y = b;

	return x->type < y->type ? -1 : x->type > y->type;
}

int pmus_list(int root, struct pmu **ret, unsigned *ret_n)
{
	_cleanup_close_ int dir = openat(root, DEVICES, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	__attribute__((cleanup(list_done))) struct list list = {0};
	int r;

	if (dir < 0)
		return -errno;
	/* Links; in a tree that somebody has bound there perhaps not. */
	r = cgroup_each(dir, false, pmu_add, &list);
	if (r >= 0)
		r = cgroup_each(dir, true, pmu_add, &list);
	if (r < 0 && r != -E2BIG)
		return r;
	if (list.n > 0)
		qsort(list.pmu, list.n, sizeof(*list.pmu), by_type);
	*ret = TAKE_PTR(list.pmu);
	*ret_n = list.n;
	return 0;
}

int tracepoint_find(int tracefs, const char *name, uint64_t *ret)
{
	char path[PERF_NAME_MAX + 16];
	const char *colon = strchr(name, ':');
	int n;

	if (!colon)
		return -EINVAL;
	if (tracefs < 0)
		return -ENOENT;
	n = snprintf(path, sizeof(path), "events/%.*s/%s/id", (int)(colon - name), name, colon + 1);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	return number_read(tracefs, path, ret);
}
