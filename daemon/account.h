/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the clients of one account hold and use together; whose account it is tells
 * inspect_account(). Each bound is of the account, so that no number of connections takes more of
 * anybody else's. Account 0 is host root's: it is bounded by what there is in all alone, and never
 * waits. Nothing here is looked for or counted anew in a call.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "transport.h"

#define ACCOUNT_BUCKETS 256
/* Bytes of answers that clients of one account may leave unread. */
#define ACCOUNT_UNREAD_MAX ((size_t)16 << 20)
/* Exchanges of credentials (the Scm calls) that are under way. */
#define ACCOUNT_EXCHANGES_MAX 64
#define EXCHANGES_MAX 1024

/* Time of the loop's thread is looked at over this long. Who used more than BUSY of it comes after
 * all others. While one of these others was there within PRESENT, all the busy together get no more
 * than the share: then the loop is mostly idle when somebody comes who uses little. */
#define METER_NSEC UINT64_C(100000000)
#define METER_BUSY_NSEC (METER_NSEC / 20)
#define METER_SHARE_NSEC (METER_NSEC / 3)
#define METER_PRESENT_NSEC (METER_NSEC / 5)

struct meter {
	uint64_t window, now,
		before; /* number of a span of METER_NSEC; ns used in it, and before */
};

struct account {
	LIST_ENTRY(account) list;
	LIST_ENTRY(account) late; /* of those for whom a waiter waits */
	struct accounts *accounts;
	uint64_t number;
	unsigned refs, connections, exchanges;
	unsigned events; /* see perf/unread.h */
	size_t unread;
	struct meter meter;
	TAILQ_HEAD(waiters, waiter) waiters;
};
LIST_HEAD(account_list, account);

/* Something that must not go on until its account may. All zero: it does not wait. */
struct waiter {
	TAILQ_ENTRY(waiter) list;
	struct account *account;
	void (*go)(struct waiter *w); /* instead of the accounts' */
};

struct accounts {
	struct account_list buckets[ACCOUNT_BUCKETS], late;
	sd_event_source *timer;
	void (*go)(struct waiter *w);
	struct meter busy; /* all the busy together */
	uint64_t present;  /* when somebody was worked for who is not */
	unsigned connections, exchanges;
	/* Set by the owner: how many connections there may be in all, of one account, and how many
	 * of the first are kept for account 0; how many exchanges in all. */
	unsigned connections_max, connections_max_account, connections_kept, exchanges_max;
};

/* All zero before. go() is called from the loop, when the account may go on. */
int accounts_init(struct accounts *as, sd_event *event, void (*go)(struct waiter *w));
/* All accounts have been put by then. */
void accounts_done(struct accounts *as);

/* The account of this number, with one reference more; it lives until the last is gone, and what it
 * used is forgotten. NULL: out of memory. */
struct account *account_get(struct accounts *as, uint64_t number);
struct account *account_put(struct account *a); /* returns NULL */

/* -EDQUOT: none more. A sixteenth of all connections is for those who have less than 16. */
int account_take_connection(struct account *a);
void account_put_connection(struct account *a);

/* An exchange holds a reference to its account till account_put_exchange(), so it may outlive the
 * connection. -EDQUOT. */
int account_take_exchange(struct account *a);
void account_put_exchange(struct account *a);

/* What a connection leaves unread is no longer `*had` bytes but `has`. -EDQUOT: it is too much now
 * for the account; counted all the same. */
int account_set_unread(struct account *a, size_t *had, size_t has);

/* `cost` ns of the loop's thread, up to `now` (CLOCK_MONOTONIC). */
void account_charge(struct account *a, uint64_t now, uint64_t cost);
/* The same for taking on a connection, which counts with what the busy do: before it is done nobody
 * knows whose it is. */
void account_charge_accept(struct account *a, uint64_t now, uint64_t cost);
/* Microseconds for which no connection is to be taken on. */
uint64_t accounts_pause(struct accounts *as, uint64_t now);
enum turn account_turn(struct account *a, uint64_t now);
/* After TURN_WAIT; once is enough. */
void account_wait(struct account *a, struct waiter *w);
void waiter_cancel(struct waiter *w);

/* CLOCK_MONOTONIC in ns: no system call. */
uint64_t clock_monotonic(void);
