/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside policy/translate: the converters that the rows of translate.def name, and what they work
 * with. Each row has one type; a type reads the hierarchy's files and tells the value in the words
 * of the name that was asked for (get), or the other way round (set).
 */
#pragma once

#include <stdint.h>

#include "translate.h"

/* Whose format a value has. On a hierarchy the files' own is FACE_V1 or FACE_V2. */
enum face {
	FACE_NEUTRAL,
	FACE_V1,
	FACE_V2,
};

enum access {
	ACCESS_RO, /* no name of the row is written by translating it */
	ACCESS_RW,
};

/* No limit; also the larger numbers that kernels show for it. */
#define VALUE_MAX UINT64_MAX
/* v1 counts pages: its "no limit" is LONG_MAX rounded down to a page, or to a huge page, which is
 * 16 GiB at most (PAGE_COUNTER_MAX, include/linux/page_counter.h). */
#define BYTES_UNLIMITED ((UINT64_C(1) << 63) - (UINT64_C(1) << 34))
#define BYTES_UNLIMITED_TEXT "9223372036854771712"

/* A text that grows up to its size, always terminated; what does not fit is `cut`. */
struct text {
	char *buf;
	size_t size, len;
	bool cut;
};

struct conversion {
	const struct plan *plan;
	const struct setting *setting;
	enum face face; /* of the name that was asked for */
	enum face here; /* of the hierarchy */
	const char *const *texts;
	struct text out; /* get: the value */
	struct plan_write *writes;
	unsigned n;	 /* writes so far */
	const char *why; /* set: what is wrong; the type's format if it stays NULL */
};

struct codec {
	bool (*parse)(enum face face, const char *text, uint64_t *ret);
	void (*print)(enum face face, uint64_t n, struct text *out);
	bool lossy; /* several values of one format are one of another */
};

struct type {
	const char *format;    /* of neutral values, for people */
	const char *format_v1; /* of v1's, where it differs */
	enum reason (*get)(struct conversion *c);
	enum reason (*set)(struct conversion *c, const char *value);
	const struct codec *codec;
	unsigned flags; /* PLAN_DEVICE, PLAN_SHARES, PLAN_BLIND */
	bool same; /* the neutral format is the file's: nothing to translate where it is there */
};

struct setting {
	const struct type *type;
	enum access access;
	/* Names, divided by blanks. v1 and v2: the files that it takes; "FILE:FIELD" is a line of a
	 * file and no name, "FILE!" only counts besides, "FILE?" may be missing. aliases: "v1:NAME"
	 * has the format of v1. */
	const char *neutral, *v1, *v2, *aliases;
	const char *why; /* nothing corresponds, or what does not do so quite */
};

#define TYPE(name) extern const struct type type_##name;
#include "types.def"
#undef TYPE

void text_put(struct text *t, const char *s);
void text_bytes(struct text *t, const char *s, size_t len);
void text_number(struct text *t, uint64_t n);

/* Numbers as the kernel reads them: decimal, 0x and 0 before hexadecimal and octal. False for none
 * or one beyond 64 bits; *at moves behind. */
bool take_number(const char **at, uint64_t *ret);
bool take_decimal(const char **at, uint64_t *ret);
bool take_word(const char **at, const char *word);
/* A number that may have a suffix K, M, G, T, P, E, all binary, with or without an i. */
bool take_bytes(const char **at, uint64_t *ret);
/* The whole text is one number. */
bool whole_number(const char *text, uint64_t *ret);
/* "8:0" and blanks behind; *ret_len is that of "8:0". */
bool take_device(const char **at, size_t *ret_len);
/* To the next line, if there is one. */
bool next_line(const char **at);
/* The value in the line "FIELD VALUE" of a file. */
bool take_field(const char *text, const char *field, uint64_t *ret);

/* Microseconds, or with us, ms, s. */
bool take_time(const char **at, uint64_t *ret);

/* The FIELD of the plan's file i; false if it has none. */
bool place_field(const struct conversion *c, unsigned i, char *buf, size_t size);

/* The next write, to the plan's file `i`, as a text to fill. */
struct text write_next(struct conversion *c, unsigned i);
enum reason write_number(
	struct conversion *c, unsigned i, const struct codec *codec, uint64_t number);
/* The number that file i holds. */
enum reason load_number(struct conversion *c, unsigned i, const struct codec *codec, uint64_t *ret);

/* As plan_read() and plan_write(), but a row's own file is planned too. REASON_KEY_MISSING: no row
 * has the name. */
enum reason plan_whole(
	const char *name, bool v2, bool write, struct plan *ret, const char **ret_why);
/* The row of a name, and in `out` the lines that its names in one vocabulary are. NULL: none. */
const struct setting *setting_names(const char *name, enum face face, struct text *out);

/* translate-scalar.c: one number in one file */
enum reason scalar_get(struct conversion *c);
enum reason scalar_set(struct conversion *c, const char *value);
extern const struct codec codec_bytes, codec_number;

#define FORMAT_BYTES "a number of bytes, or with K, M, G, T (of 1024; Ki is the same), or max"
#define FORMAT_BYTES_V1 "a number of bytes, or with K, M, G, T (of 1024; Ki is the same), or -1"
