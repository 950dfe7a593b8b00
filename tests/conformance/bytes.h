/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bytes as D-Bus marshals them: what a reply is made comparable by, whichever library read it, and
 * what the raw client sends. Running out of memory ends the program.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
	uint8_t *data;
	size_t size;
	bool big; /* big-endian */
};

void bytes_done(struct bytes *b);
void bytes_put(struct bytes *b, const void *data, size_t size);
void bytes_align(struct bytes *b, size_t to);
void bytes_u32(struct bytes *b, uint32_t value);
void bytes_u64(struct bytes *b, uint64_t value);
void bytes_string(struct bytes *b, const char *text);
void bytes_signature(struct bytes *b, const char *text);

/* An array: its length is filled in by the second. */
struct array {
	size_t length_at, start;
};
struct array bytes_array(struct bytes *b, char element);
void bytes_array_end(struct bytes *b, struct array a);

/* Of a type that begins with this character. */
size_t alignment(char type);
/* How many characters the first complete type of a signature has. */
size_t type_length(const char *signature);

/*
 * Texts from values: a number in decimal, a variant as its signature and its value, an array as its
 * elements, an element that is a struct as its members with spaces between. -1: malformed, or bytes
 * are left over.
 */
struct texts {
	char **items;
	size_t n;
};
int texts_from(const char *signature, const struct bytes *body, struct texts *ret);
void texts_done(struct texts *t);
void texts_sort(struct texts *t);
/* Takes the text over. */
void texts_add(struct texts *t, char *text);

/* The other way; takes what it needs off `texts`, an array all that is left. */
void bytes_from_texts(struct bytes *b, const char *signature, const char *const **texts);

/* The same values in little-endian. `body` is of the given order. -1: malformed. */
int bytes_swap(const char *signature, const struct bytes *body, struct bytes *ret);
