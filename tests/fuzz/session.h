/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One client's connection, from the first byte of authentication on: the daemon's own transport and
 * dispatch on a socketpair, with canned answers.
 *
 * The first byte of the input says how the daemon is set up, the second what it answers; then come
 * segments that the client sends, and between them MARK and a letter: what happens before the next
 * (r the client reads, a the daemon answers what it kept, s and x the client shuts down and closes,
 * d the daemon drops it, t six seconds pass, + nothing, not even the loop), or how that is sent (f
 * with a socket, g with two, n with /dev/null, o out of band).
 */
#pragma once

#include "fuzz.h"

#define MARK "\xff\xfe\xfd"
#define MARK_SIZE 3

/* Without porters a passed fd ends the connection. */
void session_run(const uint8_t *data, size_t size, bool with_porters);
