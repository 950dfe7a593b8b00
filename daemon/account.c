/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "account.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* How often those who wait are looked at. */
#define LOOK_USEC 5000
/* Who has fewer connections has few. */
#define CONNECTIONS_FEW 16
#define FEW_PART 16
/* A quarter of all exchanges is for those who have less than four, and nobody gets more than an
 * eighth. */
#define EXCHANGES_FEW 4
#define EXCHANGES_FEW_PART 4
#define EXCHANGES_SHARE 8
/* This part of all exchanges is for account 0 alone. */
#define KEPT_PART 16

uint64_t clock_monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void meter_turn(struct meter *m, uint64_t now)
{
	uint64_t window = now / METER_NSEC;

	if (window == m->window)
		return;
	m->before = window == m->window + 1 ? m->now : 0;
	m->now = 0;
	m->window = window;
}

/* Of the last METER_NSEC, as if what was used in the span before had been used evenly. */
static uint64_t meter_used(struct meter *m, uint64_t now)
{
	meter_turn(m, now);
	return m->now + m->before * (METER_NSEC - now % METER_NSEC) / METER_NSEC;
}

static void meter_add(struct meter *m, uint64_t now, uint64_t cost)
{
	meter_turn(m, now);
	m->now += cost;
}

/* Frees those that nobody refers to and that have used nothing lately. Whoever could be forgotten
 * by leaving for a moment would always be one who uses little. */
static void list_purge(struct account_list *bucket, uint64_t now)
{
	struct account *a, *next;

	for (a = LIST_FIRST(bucket); a; a = next) {
		next = LIST_NEXT(a, list);
		if (a->refs > 0 || meter_used(&a->meter, now) > 0)
			continue;
		LIST_REMOVE(a, list);
		free(a);
	}
}

struct account *account_get(struct accounts *as, uint64_t number)
{
	struct account_list *bucket = &as->buckets[number % ACCOUNT_BUCKETS];
	struct account *a;

	LIST_FOREACH(a, bucket, list)
	if (a->number == number) {
		a->refs++;
		return a;
	}
	list_purge(bucket, clock_monotonic());
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->accounts = as;
	a->number = number;
	a->refs = 1;
	TAILQ_INIT(&a->waiters);
	LIST_INSERT_HEAD(bucket, a, list);
	return a;
}

struct account *account_put(struct account *a)
{
	if (!a || --a->refs > 0)
		return NULL;
	assert(a->connections == 0 && a->exchanges == 0 && TAILQ_EMPTY(&a->waiters));
	list_purge(&a->accounts->buckets[a->number % ACCOUNT_BUCKETS], clock_monotonic());
	return NULL;
}

static bool connection_allowed(const struct account *a)
{
	const struct accounts *as = a->accounts;
	unsigned kept = as->connections_kept;

	if (a->number == 0)
		return as->connections < as->connections_max;
	if (a->connections >= CONNECTIONS_FEW)
		kept += as->connections_max / FEW_PART;
	return a->connections < as->connections_max_account &&
	       as->connections + kept < as->connections_max;
}

int account_take_connection(struct account *a)
{
	if (!connection_allowed(a))
		return -EDQUOT;
	a->connections++;
	a->accounts->connections++;
	return 0;
}

void account_put_connection(struct account *a)
{
	a->connections--;
	a->accounts->connections--;
}

static bool exchange_allowed(const struct account *a)
{
	const struct accounts *as = a->accounts;
	unsigned kept = as->exchanges_max / KEPT_PART;

	if (a->number == 0)
		return as->exchanges < as->exchanges_max;
	if (a->exchanges >= EXCHANGES_FEW)
		kept += as->exchanges_max / EXCHANGES_FEW_PART;
	return a->exchanges < ACCOUNT_EXCHANGES_MAX &&
	       a->exchanges <= as->exchanges_max / EXCHANGES_SHARE &&
	       as->exchanges + kept < as->exchanges_max;
}

int account_take_exchange(struct account *a)
{
	struct accounts *as = a->accounts;

	if (!exchange_allowed(a))
		return -EDQUOT;
	a->exchanges++;
	as->exchanges++;
	a->refs++;
	return 0;
}

void account_put_exchange(struct account *a)
{
	a->exchanges--;
	a->accounts->exchanges--;
	account_put(a);
}

int account_set_unread(struct account *a, size_t *had, size_t has)
{
	bool more = has > *had;

	a->unread = a->unread - *had + has;
	*had = has;
	return more && a->unread > ACCOUNT_UNREAD_MAX ? -EDQUOT : 0;
}

static bool is_busy(struct account *a, uint64_t now)
{
	return a->number != 0 && meter_used(&a->meter, now) > METER_BUSY_NSEC;
}

void account_charge(struct account *a, uint64_t now, uint64_t cost)
{
	struct accounts *as = a->accounts;

	meter_add(&a->meter, now, cost);
	if (is_busy(a, now))
		meter_add(&as->busy, now, cost);
	else
		as->present = now;
}

void account_charge_accept(struct account *a, uint64_t now, uint64_t cost)
{
	if (a->number == 0)
		return;
	meter_add(&a->meter, now, cost);
	meter_add(&a->accounts->busy, now, cost);
}

/* The busy have had their share, and there are others. */
static bool share_is_used(struct accounts *as, uint64_t now)
{
	return now <= as->present + METER_PRESENT_NSEC &&
	       meter_used(&as->busy, now) > METER_SHARE_NSEC;
}

uint64_t accounts_pause(struct accounts *as, uint64_t now)
{
	return share_is_used(as, now) ? LOOK_USEC : 0;
}

/* PRESENT is less than the share, so that nobody waits for what it did itself before it was busy.
 */
enum turn account_turn(struct account *a, uint64_t now)
{
	if (!is_busy(a, now))
		return TURN_NOW;
	return share_is_used(a->accounts, now) ? TURN_WAIT : TURN_LATER;
}

static void timer_set(struct accounts *as)
{
	(void)sd_event_source_set_time(as->timer, clock_monotonic() / 1000 + LOOK_USEC);
	(void)sd_event_source_set_enabled(as->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct accounts *as = userdata;
	uint64_t now = clock_monotonic();
	struct account *a, *next;

	for (a = LIST_FIRST(&as->late); a; a = next) {
		next = LIST_NEXT(a, late);
		if (account_turn(a, now) == TURN_WAIT)
			continue;
		while (!TAILQ_EMPTY(&a->waiters)) {
			struct waiter *w = TAILQ_FIRST(&a->waiters);

			waiter_cancel(w);
			(w->go ?: as->go)(w);
		}
	}
	if (!LIST_EMPTY(&as->late))
		timer_set(as);
	return 0;
}

int accounts_init(struct accounts *as, sd_event *event, void (*go)(struct waiter *w))
{
	int r = sd_event_add_time(event, &as->timer, CLOCK_MONOTONIC, 0, LOOK_USEC, on_timer, as);

	as->go = go;
	return r < 0 ? r : sd_event_source_set_enabled(as->timer, SD_EVENT_OFF);
}

void accounts_done(struct accounts *as)
{
	as->timer = sd_event_source_disable_unref(as->timer);
	for (size_t i = 0; i < ACCOUNT_BUCKETS; i++)
		list_purge(&as->buckets[i], UINT64_MAX);
}

void account_wait(struct account *a, struct waiter *w)
{
	struct accounts *as = a->accounts;

	if (w->account)
		return;
	if (LIST_EMPTY(&as->late))
		timer_set(as);
	if (TAILQ_EMPTY(&a->waiters))
		LIST_INSERT_HEAD(&as->late, a, late);
	w->account = a;
	TAILQ_INSERT_TAIL(&a->waiters, w, list);
}

void waiter_cancel(struct waiter *w)
{
	struct account *a = w->account;

	if (!a)
		return;
	w->account = NULL;
	TAILQ_REMOVE(&a->waiters, w, list);
	if (TAILQ_EMPTY(&a->waiters))
		LIST_REMOVE(a, late);
}
