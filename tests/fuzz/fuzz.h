/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the fuzz targets share. A target is one file, fuzz-NAME.c, with LLVMFuzzerTestOneInput():
 * the same input always does the same, nothing of the host is touched, and what must hold is
 * CHECKed. -Dfuzzers=true links it with libFuzzer; else replay.c runs it on its corpus.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition) ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))
_Noreturn void fuzz_fail(const char *file, int line, const char *condition);

/* What is left of an input. */
struct input {
	const uint8_t *at;
	size_t left;
};

/* 0 where nothing is left. */
uint8_t input_byte(struct input *in);
uint32_t input_u32(struct input *in);

/* The bytes up to the next NUL, or all that are left, as a text of just that size on the heap, so
 * that a read behind it shows. Caller frees; never NULL. */
char *input_text(struct input *in);

/* The same for all that is left, with whatever is in it; `ret_size` is without the added NUL. */
char *input_rest(struct input *in, size_t *ret_size);

/* UTF-8 as RFC 3629 has it, shortest forms and no surrogates, and without noncharacters: what
 * sd-bus carries. */
bool text_is_utf8(const char *text, size_t size);

/* The first of the fds that are open, a bit each: the same afterwards, or one leaks. */
uint64_t fuzz_fds(void);
