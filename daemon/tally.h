/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How many things each of many holds, by a number. */
#pragma once

#include <stdint.h>
#include <sys/queue.h>

#define TALLY_BUCKETS 256

struct holder {
	LIST_ENTRY(holder) list;
	uint64_t number;
	unsigned n;
};

LIST_HEAD(holders, holder);

/* All zero: nobody holds anything. */
struct tally {
	struct holders buckets[TALLY_BUCKETS];
};

unsigned tally_count(struct tally *t, uint64_t number);

/* One more; NULL: out of memory. One less with tally_put(), after the last of which it is gone. */
struct holder *tally_take(struct tally *t, uint64_t number);
void tally_put(struct holder *holder);
