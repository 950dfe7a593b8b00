/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One vocabulary for limits: each setting has a neutral name and, on cgroup v1 and v2, files with
 * formats of their own; translate.def has one row for each. A client names a setting by any of
 * these names, or by an alias of the 2013 proposal, whatever the hierarchy has; what it reads and
 * writes has the format that goes with the name it used. What has no counterpart is refused, and
 * the row says why; nothing is ignored.
 *
 * Pure text: the caller reads the files that a plan names and writes what it is given. A neutral
 * name that is a file's name too means the same as that file, in the same format and units or in
 * more.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "reason.h"

#define PLAN_FILES_MAX 4
#define PLAN_TEXT_MAX 4096 /* bytes of one value, its NUL included */

enum plan_flags {
	PLAN_DEVICE =
		1 << 0, /* the value may begin with a block device's path: see plan_device() */
	PLAN_SHARES = 1 << 1, /* reading: plan_shares() may have a better answer */
	PLAN_BLIND = 1 << 2,  /* writing: no file has to be read first, texts may all be NULL */
};

struct setting; /* a row of translate.def */

struct plan {
	const struct setting *setting; /* NULL: nothing to translate, the name is the file */
	const char *name;	       /* as asked; borrowed */
	bool v2;		       /* what the hierarchy is */
	unsigned flags;
	/* The files to read before plan_get() or plan_set(); which of them may be missing. For a
	 * write also the files that may be written. Names with a '*' of the row are filled in. */
	unsigned n;
	const char *file[PLAN_FILES_MAX];
	bool optional[PLAN_FILES_MAX];
	char names[PLAN_FILES_MAX][64]; /* what file[] points to where it was filled in */
};

struct plan_write {
	const char *file; /* one of the plan's */
	char text[PLAN_TEXT_MAX];
};

/*
 * What reading or writing `name` takes in a hierarchy of v1 or v2. REASON_OK; REASON_KEY_MAPPING:
 * it has no counterpart there, or none that can be written; then *ret_why is the row's text
 * (static) that tells why. A name that has no row is nothing to translate. `ret` must stay where it
 * is (file[] may point into it).
 */
enum reason plan_read(const char *name, bool v2, struct plan *ret, const char **ret_why);
enum reason plan_write(const char *name, bool v2, struct plan *ret, const char **ret_why);

/*
 * The value in the format of the name that was asked for. texts[i] is what file[i] holds, newlines
 * at its end stripped, NULL where an optional one is not there. REASON_KEY_MISSING: none of what is
 * needed is there. REASON_VALUE_FORMAT: a file does not hold what kernels write.
 */
enum reason plan_get(const struct plan *p, const char *const texts[], char *buf, size_t size);

/*
 * The writes, in their order, that set the value; 0 is possible (it is so already). A value that is
 * malformed, out of range or contradicts another setting gives a reason, and *ret_why (static text,
 * may stay NULL) tells more: "memory.memsw.limit_in_bytes would be below memory.limit_in_bytes".
 */
enum reason plan_set(const struct plan *p, const char *value, const char *const texts[],
	struct plan_write writes[PLAN_FILES_MAX], unsigned *ret_n, const char **ret_why);

/* PLAN_DEVICE: the length of the path ("/dev/...") that the value begins with, 0 if it begins with
 * none. The caller puts "MAJOR:MINOR" in its place. */
size_t plan_device(const char *value);

/* PLAN_SHARES: were these shares set, and does the weight that cpu.weight (texts[0]) holds still
 * say so? Then they are the answer to cpu.shares; without, it is the smallest that gives the
 * weight. */
bool plan_shares(const struct plan *p, const char *const texts[], unsigned long long shares);

/* What a number of shares is as weight and the other way round (the smallest number of shares). See
 * KEYS: 1024 is 100. */
unsigned shares_to_weight(unsigned long long shares);
unsigned long long weight_to_shares(unsigned weight);

/*
 * For people: the same setting in all three formats, where there is no cgroup to look at. Each of
 * `ret` is "NAME VALUE" lines, or empty where there is no counterpart; without a value, "NAME" or
 * "NAME FIELD" lines. Of the `given` settings a new cgroup is imagined to have, some may be needed:
 * v1's limit of memory and swap counts together with that of memory. Devices are MAJOR:MINOR.
 *
 * REASON_KEY_MISSING: no row has that name. Another reason says what is wrong with the value; with
 * any, ret->why may tell more and ret->fault whose value it is. About 130 KiB of stack.
 */
struct given {
	const char *name, *value;
};
struct translation {
	char neutral[PLAN_TEXT_MAX], v1[PLAN_TEXT_MAX], v2[PLAN_TEXT_MAX];
	const char *why; /* static or NULL: why one is empty, or what else counts */
	unsigned fault;	 /* 0: the value that is asked for; i + 1: given[i] */
};
enum reason translate(const char *name, const char *value, const struct given *given,
	unsigned n_given, struct translation *ret);

/* The settings that have a neutral name; false behind the last. */
struct vocabulary {
	const char *neutral, *format;
	bool read_only;
};
bool vocabulary_row(unsigned index, struct vocabulary *ret);
