/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The result of an Scm call as it goes over the passed socket: up to three pieces, each one write
 * and so on a datagram socket one packet, and then pids, which travel as credentials.
 *
 *   nothing      '1'; an error '0'
 *   existed      '2' it existed, '1' it did not; an error '0'
 *   a string     the string and a NUL; an error: nothing, which is an empty packet
 *   pids         int32 count, then one byte with the credentials {pid, 0, 0} for each; an error -1
 *   names, keys  int32 count, uint32 length, then the texts, each with a NUL, if there are any; a
 *                key's is "name\nuid\ngid\nmode\n" in decimal, -1 an id that is not mapped; an
 *                error -1
 *
 * Numbers are in the byte order of the machine. Pure but for memory.
 */
#pragma once

#include "method.h"

#define SCM_PIECES_MAX 3

struct scm_frames {
	unsigned char *data; /* heap */
	unsigned n;
	size_t ends[SCM_PIECES_MAX]; /* of the pieces in data; the first starts at 0 */
	int32_t *pids;		     /* heap, taken from the reply */
	size_t n_pids;
};

/* Of a reply to the twin, or to the row itself; takes the reply's pids. -ENOMEM. -EMSGSIZE: a piece
 * is longer than `piece_max`, which is what one packet can carry. */
int scm_frames(
	const struct method *method, struct reply *reply, size_t piece_max, struct scm_frames *ret);
void scm_frames_done(struct scm_frames *f);
