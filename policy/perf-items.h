/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What of perf a cgroup may use, as items, and what a cgroup's record says of them. Pure.
 *
 *	cpu			software, hardware and cache events, of the user side
 *	kernel			the kernel side too, and sampling with callchains; has `cpu` in it
 *	gpu			the PMUs of the GPUs that the cgroup's device rules allow
 *	power			RAPL
 *	pmu:NAME		a PMU of the host's /sys/bus/event_source/devices
 *	tracepoint:SYS:NAME	a tracepoint of the host's
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define PERF_ITEMS_MAX 64
#define PERF_NAME_MAX 95	  /* bytes of "i915" or "sched:sched_switch" */
#define PERF_ITEM_TEXT_MAX 110	  /* bytes of an item as text, without NUL */
#define PERF_RECORD_TEXT_MAX 4000 /* bytes of a record as text, without NUL */

enum perf_item_kind {
	PERF_ITEM_CPU,
	PERF_ITEM_KERNEL,
	PERF_ITEM_GPU,
	PERF_ITEM_POWER,
	PERF_ITEM_PMU,
	PERF_ITEM_TRACEPOINT,
	PERF_ITEM_KIND_MAX,
};

struct perf_item {
	enum perf_item_kind kind;
	char name[PERF_NAME_MAX + 1]; /* PMU, TRACEPOINT; else "" */
};

/* Sorted, none twice. All zero: none. */
struct perf_items {
	unsigned n;
	struct perf_item item[PERF_ITEMS_MAX];
};

/* -EINVAL: no item. Names are of [A-Za-z0-9_.-], no "." and ".."; a tracepoint's two parts too. */
int perf_item_parse(const char *text, struct perf_item *ret);
/* "pmu:i915"; buf holds PERF_ITEM_TEXT_MAX + 1. */
void perf_item_print(const struct perf_item *item, char *buf);

/* -E2BIG: PERF_ITEMS_MAX. */
int perf_items_add(struct perf_items *items, const struct perf_item *item);
/* What is removed is not had any more: with `cpu` goes `kernel`. */
void perf_items_remove(struct perf_items *items, const struct perf_item *item);
/* `kernel` has `cpu` in it; a name stands for itself alone. */
bool perf_items_have(const struct perf_items *items, const struct perf_item *item);
/* The first of `items` that `in` does not have, or NULL. */
const struct perf_item *perf_items_beyond(
	const struct perf_items *items, const struct perf_items *in);
int perf_items_union(
	struct perf_items *items, const struct perf_items *more); /* -E2BIG: as it was */
/* What both have: {kernel} and {cpu} have cpu. */
void perf_items_intersect(struct perf_items *items, const struct perf_items *with);

/*
 * A cgroup's record: what host root gave to it and to what is below, and to what somebody limited
 * what comes from above. What a cgroup has is, from the hierarchy's root down:
 *
 *	(what its parent has, within its limit) and what was given to it, and what the policy file
 *	says of it
 */
struct perf_record {
	bool limited;
	struct perf_items given, limit; /* `limit` counts if limited */
};

/* Text: items with blanks between; behind a '|' the limit, if there is one: "cpu gpu",
 * "|cpu", "gpu |". -EINVAL; -E2BIG. */
int perf_record_parse(const char *text, struct perf_record *ret);
int perf_record_print(const struct perf_record *record, char *buf, size_t size); /* -E2BIG */
/* Says nothing: it need not be kept. */
bool perf_record_empty(const struct perf_record *record);

/* One cgroup further down: `have` is its parent's and becomes its own. `policy` may be NULL.
 * -E2BIG: as it was. */
int perf_items_descend(
	struct perf_items *have, const struct perf_record *record, const struct perf_items *policy);

/*
 * What GrantPerf and RevokePerf make of a record. `above`: what the parent has. `host`: by host
 * root, who gives, whatever is above; from others -EACCES if an item is not above, *record as it
 * was, *ret_beyond the first such item. Revoking what is not there changes nothing; revoking what
 * comes from above makes a limit; revoking `kernel` leaves `cpu`, but for one that was given with
 * `kernel` alone. -E2BIG: *record as it was.
 */
int perf_record_grant(struct perf_record *record, const struct perf_items *above, bool host,
	const struct perf_items *items, const struct perf_item **ret_beyond);
int perf_record_revoke(
	struct perf_record *record, const struct perf_items *above, const struct perf_items *items);
