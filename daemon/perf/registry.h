/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the workers and the core know together, in a memfd that outlives both: who listens, the
 * notification that was taken and not answered, and which events were opened. With it and the
 * listeners' fds a daemon that comes after kill -9 goes on where the last one was.
 *
 * A worker has the kernel write each notification straight into its slot
 * (SECCOMP_IOCTL_NOTIF_RECV), so there is no moment at which it is taken and not noted. All are the
 * same program and the same user's; nobody else has the memfd.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../../policy/perf.h"

#define PERF_REGISTRY_MAGIC UINT64_C(0x3230706d67636400) /* with the layout's version */
#define PERF_SLOTS_MAX 256
#define PERF_CPUS_MAX 1024
#define PERF_LEDGER_MAX 4096 /* events of one slot */
#define PERF_SUMS 65536
#define PERF_NOTIF_MAX 256 /* SECCOMP_GET_NOTIF_SIZES: 80 until now */

enum perf_slot_kind {
	PERF_SLOT_FREE,
	PERF_SLOT_NOTIFY, /* we hold the listener and take its notifications */
	PERF_SLOT_LXC,	  /* a connection of LXC's, which takes them */
	PERF_SLOT_BROKER, /* OpenPerfEvent, of one account */
};

/* An event that was opened and may still be. `id` (PERF_EVENT_IOC_ID) 0: the entry is free, and
 * is written last; whoever finds the event gone frees it by exchanging it for 0, and only who did
 * that takes it off the sum. */
struct perf_entry {
	_Atomic uint64_t id;
	uint64_t scope_id; /* cgroup whose events count together */
	uint64_t config;
	uint32_t type;
	uint16_t cpu;		 /* PERF_CPUS_MAX: of a task on any */
	uint8_t by;		 /* enum perf_item_kind */
	_Atomic uint8_t watched; /* the slot's worker will know when it is closed */
};

struct perf_slot {
	_Atomic uint32_t kind; /* enum perf_slot_kind; the core's to write */
	uint32_t pad;
	uint64_t account; /* see inspect_account(); the core's to write */
	/* CLOCK_MONOTONIC in ms since when it works on one thing; 0: it waits. The core ends a
	 * worker that takes longer than PERF_WORKER_MSEC. */
	_Atomic uint64_t busy;
	/* Statistics, for ShowPerf and the log. */
	_Atomic uint64_t calls, refused, dropped;
	/* The notification that is being answered: its id is the first field; 0: none. Before RECV
	 * all of it must be 0. */
	union {
		uint8_t notif[PERF_NOTIF_MAX];
		uint64_t notif_words[PERF_NOTIF_MAX / 8];
	};
	/* It was begun before the worker was ended for taking too long: it is to be refused. */
	_Atomic uint32_t condemned;
	_Atomic uint32_t n_ledger; /* entries that may be in use lie below that */
	struct perf_entry ledger[PERF_LEDGER_MAX];
};

struct perf_registry {
	uint64_t magic, size;
	/* Whatever was told about grants, scopes or PMUs before it changed does not hold any more.
	 */
	_Atomic uint64_t generation;
	_Atomic uint32_t n_slots; /* slots that were ever taken lie below that */
	/* How many entries there are, by the hash of scope and CPU: never less than there are of
	 * one, so nobody need count as long as they are few. */
	_Atomic uint32_t sums[PERF_SUMS];
	struct perf_slot slot[PERF_SLOTS_MAX];
};

#define PERF_WORKER_MSEC 2000

/* A new one; *ret is mapped, the fd the caller's. Pages that nobody uses take no memory. */
int perf_registry_new(struct perf_registry **ret);
/* Maps an earlier one. -EPROTO: it is of another version, or was meddled with. */
int perf_registry_map(int fd, struct perf_registry **ret);
void perf_registry_unmap(struct perf_registry *r);

/* All zero but for the kind and account; the core's. -EDQUOT: none is free. Returns its index. */
int perf_slot_take(struct perf_registry *r, enum perf_slot_kind kind, uint64_t account);
/* Its events may outlive the listener, so they count until they are found closed, or the slot is
 * taken again and no other was free. */
void perf_slot_put(struct perf_registry *r, unsigned index);

/* How many events of a scope are open on a CPU (PERF_CPUS_MAX: of tasks), by all slots. */
unsigned perf_ledger_count(const struct perf_registry *r, uint64_t scope_id, unsigned cpu);
/* The same or more, at once. */
unsigned perf_ledger_sum(const struct perf_registry *r, uint64_t scope_id, unsigned cpu);
/* Are any of a scope's such that no worker watches? */
bool perf_ledger_strays(const struct perf_registry *r, uint64_t scope_id);
/* -EDQUOT: the slot has no room. Returns its index in the slot. */
int perf_ledger_add(
	struct perf_registry *r, struct perf_slot *slot, const struct perf_entry *entry);
/* Frees it if it still is of event `id`. */
void perf_ledger_drop(struct perf_registry *r, struct perf_entry *entry, uint64_t id);
/* No worker watches the slot's events any more: it has ended. */
void perf_ledger_unwatch(struct perf_slot *slot);
/* Frees what is not in `ids` (sorted) of a scope's events that nobody watches; returns how many. */
unsigned perf_ledger_keep(
	struct perf_registry *r, uint64_t scope_id, const uint64_t *ids, size_t n);
/* The entry of an event, of any slot; NULL: not ours, or forgotten. */
struct perf_entry *perf_ledger_find(struct perf_registry *r, uint64_t id);
