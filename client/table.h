/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Objects as lines of aligned columns. */
#pragma once

#include <stdio.h>

#include <jansson.h>

#include "print.h"

/* The members `names` (NULL at the end) of each object in the array `rows`, under headings; nothing
 * if there are none. null is "-", the items of an array stand side by side. -ENOMEM. */
int table_print(FILE *out, const json_t *rows, const char *const *names, enum escape escape);

/* An object of texts, a line each. */
void pairs_print(FILE *out, const json_t *pairs, enum escape escape);
