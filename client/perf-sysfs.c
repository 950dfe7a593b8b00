/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where sysfs and tracefs describe events: see perf-event.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "own.h"
#include "perf-event.h"
#include "text.h"

#define LINE_MAX_BYTES 256

static void own_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* The file's first line, without its end. */
static int read_line(int dirfd, const char *name, char *buf)
{
	OWN(own_fd) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, LINE_MAX_BYTES - 1);

	if (n < 0)
		return -errno;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

static int read_number(int dirfd, const char *name, uint64_t max, uint64_t *ret)
{
	char line[LINE_MAX_BYTES];
	int r = read_line(dirfd, name, line);

	if (r < 0)
		return r;
	return digits_parse(line, 10, max, ret) < 0 ? -EBADMSG : 0;
}

/* "config:0-7,32-35": the value's bits go there, from the lowest on. Other words than config count
 * for nothing here: that the event can be opened does not hang on them. */
static int place_bits(const char *format, uint64_t value, uint64_t *config)
{
	const char *at = strchr(format, ':');
	unsigned from, to;
	int n;

	if (!at)
		return -EBADMSG;
	if (strncmp(format, "config:", strlen("config:")) != 0)
		return 0;
	do {
		at++;
		n = sscanf(at, "%u-%u", &from, &to);
		to = n == 2 ? to : from;
		if (n < 1 || to > 63 || from > to)
			return -EBADMSG;
		for (unsigned bit = from; bit <= to; bit++, value >>= 1)
			*config |= (value & 1) << bit;
		at = strchr(at, ',');
	} while (at);
	return 0;
}

/* "umask=0x1"; a word alone is 1. */
static int take_term(int pmu, char *term, uint64_t *config)
{
	char format[LINE_MAX_BYTES], path[EVENT_NAME_MAX + 16], *equals = strchr(term, '=');
	uint64_t value = 1;
	int r;

	if (equals) {
		char *end;

		*equals = '\0';
		errno = 0;
		value = strtoull(equals + 1, &end, 0);
		if (errno || end == equals + 1 || *end)
			return -EBADMSG;
	}
	if (strcmp(term, "config") == 0) {
		*config |= value;
		return 0;
	}
	snprintf(path, sizeof(path), "format/%.*s", EVENT_NAME_MAX, term);
	r = read_line(pmu, path, format);
	return r < 0 ? r : place_bits(format, value, config);
}

static int take_terms(int pmu, char *terms, uint64_t *config)
{
	char *rest = terms, *term;
	int r = 0;

	while (r == 0 && (term = strsep(&rest, ",")))
		r = take_term(pmu, term, config);
	return r;
}

/* Any event will do: the first that is described, or number 0. */
static void find_any_event(int pmu, char *ret)
{
	OWN(own_dir) DIR *dir = NULL;
	struct dirent *entry;
	int fd = openat(pmu, "events", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	strcpy(ret, "config=0");
	if (fd < 0)
		return;
	dir = fdopendir(fd);
	if (!dir)
		close(fd);
	while (dir && (entry = readdir(dir)))
		/* a ".unit" or ".scale" is none */
		if (!strchr(entry->d_name, '.') && strlen(entry->d_name) <= EVENT_NAME_MAX) {
			strcpy(ret, entry->d_name);
			return;
		}
}

static int resolve_config(int pmu, struct event *event)
{
	char terms[LINE_MAX_BYTES], path[EVENT_NAME_MAX + 16];

	if (!event->terms[0])
		find_any_event(pmu, event->terms);
	snprintf(path, sizeof(path), "events/%s", event->terms);
	event->config = 0;
	if (strchr(event->terms, '=') || read_line(pmu, path, terms) < 0)
		strcpy(terms, event->terms);
	return take_terms(pmu, terms, &event->config);
}

/* The first PMU of a GPU, by name. */
static int find_gpu(int devices, struct event *event)
{
	OWN(own_dir) DIR *dir = NULL;
	struct dirent *entry;
	int fd = openat(devices, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return -errno;
	}
	while ((entry = readdir(dir))) {
		struct event found = {.kind = EVENT_PMU};
		char item[EVENT_ITEM_MAX];

		if (entry->d_name[0] == '.' || strlen(entry->d_name) > EVENT_NAME_MAX)
			continue;
		strcpy(found.pmu, entry->d_name);
		event_item(&found, item);
		if (strcmp(item, "gpu") == 0 &&
			(!event->pmu[0] || strcmp(found.pmu, event->pmu) < 0))
			strcpy(event->pmu, found.pmu);
	}
	return event->pmu[0] ? 0 : -ENOENT;
}

/* "0", "0,18", "0-3": the first. -1: none, its events may be of a task. */
static int first_cpu(int pmu)
{
	char line[LINE_MAX_BYTES];
	unsigned cpu;

	return read_line(pmu, "cpumask", line) == 0 && sscanf(line, "%u", &cpu) == 1 ? (int)cpu
										     : -1;
}

static int resolve_pmu(struct event *event, const char *sysfs, int *ret_cpu)
{
	OWN(own_fd)
	int root = open(sysfs, O_PATH | O_DIRECTORY | O_CLOEXEC), devices = -EBADF, pmu = -EBADF;
	uint64_t type;
	int r;

	devices = openat(root, "bus/event_source/devices", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (devices < 0)
		return -errno;
	r = event->pmu[0] ? 0 : find_gpu(devices, event);
	if (r < 0)
		return r;
	pmu = openat(devices, event->pmu, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pmu < 0)
		return -errno;
	r = read_number(pmu, "type", UINT32_MAX, &type);
	if (r == 0)
		r = resolve_config(pmu, event);
	if (r < 0)
		return r;
	event->type = (uint32_t)type;
	*ret_cpu = first_cpu(pmu);
	return 0;
}

static int resolve_tracepoint(struct event *event, const char *tracefs)
{
	OWN(own_fd) int root = open(tracefs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char path[2 * EVENT_NAME_MAX + 16];

	if (root < 0)
		return -errno;
	/* the folder is there where tracefs is not */
	if (faccessat(root, "events", F_OK, 0) < 0)
		return errno == ENOENT ? -ENODEV : -errno;
	snprintf(path, sizeof(path), "events/%s/%s/id", event->pmu, event->terms);
	return read_number(root, path, UINT64_MAX, &event->config);
}

int event_resolve(struct event *event, const char *sysfs, const char *tracefs, int *ret_cpu)
{
	*ret_cpu = -1;
	switch (event->kind) {
	case EVENT_PMU:
		return resolve_pmu(event, sysfs, ret_cpu);
	case EVENT_TRACEPOINT:
		return resolve_tracepoint(event, tracefs);
	default:
		return 0;
	}
}
