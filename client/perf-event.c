/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>

#include "perf-event.h"

static const struct {
	const char *name;
	uint32_t type;
	uint64_t config;
} events[] = {
#define EVENT(name, type, config) {name, PERF_TYPE_##type, PERF_COUNT_##config},
#include "events.def"
#undef EVENT
};

static const struct program programs[] = {
#define PROGRAM(name, needs, likes, note) {name, needs, likes, note},
#include "programs.def"
#undef PROGRAM
};

const struct program *program_find(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		if (strcmp(programs[i].name, name) == 0)
			return &programs[i];
	return NULL;
}

void events_print_list(FILE *out)
{
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		fprintf(out, "%s\n", events[i].name);
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		fprintf(out, "%s\n", programs[i].name);
}

/* Those of policy/perf-items.h: none leads out of a folder. */
static bool is_name(const char *text, size_t len, const char *more)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789_.-";

	if (len > EVENT_NAME_MAX || (len > 0 && len <= 2 && strspn(text, ".") >= len))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!strchr(letters, text[i]) && !strchr(more, text[i]))
			return false;
	return true;
}

static void copy_name(char *to, const char *text, size_t len)
{
	memcpy(to, text, len);
	to[len] = '\0';
}

/* "u" and what else perf takes for the sides that are counted. -EINVAL. */
static int parse_modifier(const char *text, struct event *event)
{
	if (!*text || text[strspn(text, "uk")])
		return -EINVAL;
	event->user = !strchr(text, 'k');
	event->kernel = !strchr(text, 'u');
	return 0;
}

static int parse_kernels(const char *text, struct event *event)
{
	size_t len = strcspn(text, ":");

	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		if (strncmp(events[i].name, text, len) != 0 || events[i].name[len])
			continue;
		event->kind = EVENT_KERNEL;
		event->type = events[i].type;
		event->config = events[i].config;
		return text[len] ? parse_modifier(text + len + 1, event) : 0;
	}
	return -EINVAL;
}

static int parse_pmu(const char *text, struct event *event)
{
	size_t len = strcspn(text, "/");
	const char *terms = text + len + 1, *end = strchr(terms, '/');

	if (!end || len == 0 || !is_name(text, len, "") ||
		!is_name(terms, (size_t)(end - terms), ",="))
		return -EINVAL;
	event->kind = EVENT_PMU;
	copy_name(event->pmu, text, len);
	copy_name(event->terms, terms, (size_t)(end - terms));
	if (strcmp(event->pmu, "gpu") == 0)
		event->pmu[0] = '\0';
	if (!end[1])
		return 0;
	return parse_modifier(end + 1 + (end[1] == ':'), event);
}

static int parse_tracepoint(const char *text, struct event *event)
{
	size_t len = strcspn(text, ":");
	const char *name = text + len + 1;

	if (text[len] != ':' || len == 0 || !*name || !is_name(text, len, "") ||
		!is_name(name, strlen(name), ""))
		return -EINVAL;
	event->kind = EVENT_TRACEPOINT;
	event->type = PERF_TYPE_TRACEPOINT;
	copy_name(event->pmu, text, len);
	copy_name(event->terms, name, strlen(name));
	return 0;
}

int event_parse(const char *text, struct event *ret)
{
	struct event event = {0};
	int r = -EINVAL;

	if (strchr(text, '/'))
		r = parse_pmu(text, &event);
	else
		r = parse_kernels(text, &event);
	if (r < 0 && !strchr(text, '/'))
		r = parse_tracepoint(text, &event);
	if (r < 0)
		return r;
	*ret = event;
	return 0;
}

static bool is_gpus(const char *pmu)
{
	static const char *const drivers[] = {"i915", "xe", "amdgpu"};

	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
		size_t len = strlen(drivers[i]);

		if (strncmp(pmu, drivers[i], len) == 0 && (!pmu[len] || pmu[len] == '_'))
			return true;
	}
	return !*pmu;
}

static bool is_power(const char *pmu)
{
	return strcmp(pmu, "power") == 0;
}

void event_item(const struct event *event, char *ret)
{
	if (event->kind == EVENT_KERNEL)
		strcpy(ret, event->kernel ? "kernel" : "cpu");
	else if (event->kind == EVENT_TRACEPOINT)
		snprintf(ret, EVENT_ITEM_MAX, "tracepoint:%s:%s", event->pmu, event->terms);
	else if (is_gpus(event->pmu))
		strcpy(ret, "gpu");
	else if (is_power(event->pmu))
		strcpy(ret, "power");
	else
		snprintf(ret, EVENT_ITEM_MAX, "pmu:%s", event->pmu);
}

bool event_is_uncore(const struct event *event)
{
	return event->kind == EVENT_PMU &&
	       (is_gpus(event->pmu) || is_power(event->pmu) ||
		       strncmp(event->pmu, "uncore", strlen("uncore")) == 0);
}
