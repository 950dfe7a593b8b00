/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Words of a command line, judged by themselves. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "verb.h"

/* All of it digits of this base, at least one, and at most `max`. -EINVAL. */
int digits_parse(const char *text, unsigned base, uint64_t max, uint64_t *ret);

/*
 * Strict numbers: the whole string is digits (an id may also be "-1"; octal for a mode). -EINVAL.
 * An id above INT32_MAX becomes the negative number with the same bits, as the wire has it.
 */
int number_parse(enum arg_kind kind, const char *text, int32_t *ret);

/* UTF-8 as D-Bus wants it: no overlong forms, no surrogates, at most U+10FFFF. */
bool word_is_utf8(const char *text);

/* "rwm", "w": letters of these, each at most once, and at least one. */
bool word_is_access(const char *text);
