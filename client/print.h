/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What cgm prints of an answer. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include <systemd/sd-bus.h>

#include "verb.h"

enum escape {
	ESCAPE_NONE,
	ESCAPE_LINES, /* control characters but newline and tab */
	ESCAPE_ALL,
};

/*
 * Text from elsewhere. Control characters (C0, DEL, and C1 in UTF-8) would be commands to a
 * terminal: they come out as \xNN, a byte each.
 */
void print_text(FILE *out, const char *text, enum escape escape);

/* Text as it is, for scdoc, which takes some characters for markup. */
void print_scdoc(FILE *out, const char *text);

/* One item a line. `terminal`: `out` is one. Negative errno if the message cannot be read; errors
 * of `out` are left to its error flag. */
int print_answer(FILE *out, const struct verb *verb, sd_bus_message *m, bool terminal);
