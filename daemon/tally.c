/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tally.h"

#include <stdlib.h>

static struct holders *bucket(struct tally *t, uint64_t number)
{
	return &t->buckets[number % TALLY_BUCKETS];
}

static struct holder *find(struct tally *t, uint64_t number)
{
	struct holder *holder;

	LIST_FOREACH(holder, bucket(t, number), list)
	if (holder->number == number)
		return holder;
	return NULL;
}

unsigned tally_count(struct tally *t, uint64_t number)
{
	const struct holder *holder = find(t, number);

	return holder ? holder->n : 0;
}

struct holder *tally_take(struct tally *t, uint64_t number)
{
	struct holder *holder = find(t, number);

	if (!holder) {
		holder = calloc(1, sizeof(*holder));
		if (!holder)
			return NULL;
		holder->number = number;
		LIST_INSERT_HEAD(bucket(t, number), holder, list);
	}
	holder->n++;
	return holder;
}

void tally_put(struct holder *holder)
{
	if (!holder || --holder->n > 0)
		return;
	LIST_REMOVE(holder, list);
	free(holder);
}
