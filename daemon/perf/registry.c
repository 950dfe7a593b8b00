/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cleanup.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static struct perf_registry *map(int fd)
{
	void *p =
		mmap(NULL, sizeof(struct perf_registry), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

int perf_registry_new(struct perf_registry **ret)
{
	_cleanup_close_ int fd = memfd_create("cgmd-perf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct perf_registry *r;

	if (fd < 0 || ftruncate(fd, sizeof(*r)) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return -errno;
	r = map(fd);
	if (!r)
		return -errno;
	r->size = sizeof(*r);
	r->magic = PERF_REGISTRY_MAGIC;
	*ret = r;
	return TAKE_FD(fd);
}

/* What is looked up by what is in it must lie in it, whoever wrote that. */
static bool is_sound(const struct perf_registry *r)
{
	unsigned n = atomic_load(&r->n_slots);

	if (r->magic != PERF_REGISTRY_MAGIC || r->size != sizeof(*r) || n > PERF_SLOTS_MAX)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (atomic_load(&r->slot[i].kind) > PERF_SLOT_BROKER ||
			atomic_load(&r->slot[i].n_ledger) > PERF_LEDGER_MAX)
			return false;
	return true;
}

int perf_registry_map(int fd, struct perf_registry **ret)
{
	struct perf_registry *r;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	/* Of another size, or one that can shrink: reading it could end the reader (SIGBUS). */
	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0 ||
		st.st_size != (off_t)sizeof(*r))
		return -EPROTO;
	r = map(fd);
	if (!r)
		return -errno;
	if (!is_sound(r)) {
		perf_registry_unmap(r);
		return -EPROTO;
	}
	*ret = r;
	return 0;
}

void perf_registry_unmap(struct perf_registry *r)
{
	if (r)
		munmap(r, sizeof(*r));
}

static unsigned slots_used(const struct perf_registry *r)
{
	unsigned n = atomic_load(&r->n_slots);

	return n < PERF_SLOTS_MAX ? n : PERF_SLOTS_MAX;
}

static unsigned ledger_used(const struct perf_slot *slot)
{
	unsigned n = atomic_load(&slot->n_ledger);

	return n < PERF_LEDGER_MAX ? n : PERF_LEDGER_MAX;
}

static unsigned sum_at(uint64_t scope_id, unsigned cpu)
{
	uint64_t x = (scope_id * 1025 + cpu) * UINT64_C(0x9e3779b97f4a7c15);

	return (unsigned)(x >> 48) % PERF_SUMS;
}

static unsigned ledger_live(const struct perf_slot *slot)
{
	unsigned n = 0, used = ledger_used(slot);

	for (unsigned i = 0; i < used; i++)
		n += atomic_load(&slot->ledger[i].id) != 0;
	return n;
}

/* Its kind is 0 all the while. */
static void slot_wipe(struct perf_registry *r, struct perf_slot *slot)
{
	unsigned used = ledger_used(slot);

	for (unsigned i = 0; i < used; i++)
		perf_ledger_drop(r, &slot->ledger[i], atomic_load(&slot->ledger[i].id));
	memset(slot->ledger, 0, used * sizeof(slot->ledger[0]));
	memset(slot, 0, offsetof(struct perf_slot, ledger));
}

static struct perf_slot *slot_free(struct perf_registry *r)
{
	struct perf_slot *found = NULL;
	unsigned used = slots_used(r), fewest = UINT32_MAX;

	for (unsigned i = 0; i < used; i++) {
		struct perf_slot *slot = &r->slot[i];
		unsigned live;

		if (atomic_load(&slot->kind) != PERF_SLOT_FREE)
			continue;
		live = ledger_live(slot);
		if (live < fewest) {
			fewest = live;
			found = slot;
		}
	}
	if (fewest > 0 && used < PERF_SLOTS_MAX) {
		atomic_store(&r->n_slots, used + 1);
		found = &r->slot[used];
	}
	return found;
}

int perf_slot_take(struct perf_registry *r, enum perf_slot_kind kind, uint64_t account)
{
	struct perf_slot *slot = slot_free(r);

	if (!slot)
		return -EDQUOT;
	slot_wipe(r, slot);
	slot->account = account;
	atomic_store(&slot->kind, kind);
	return (int)(slot - r->slot);
}

void perf_slot_put(struct perf_registry *r, unsigned index)
{
	struct perf_slot *slot = &r->slot[index];

	atomic_store(&slot->kind, PERF_SLOT_FREE);
	atomic_store(&slot->busy, 0);
	memset(slot->notif, 0, sizeof(slot->notif));
	perf_ledger_unwatch(slot);
}

unsigned perf_ledger_sum(const struct perf_registry *r, uint64_t scope_id, unsigned cpu)
{
	return atomic_load(&r->sums[sum_at(scope_id, cpu)]);
}

unsigned perf_ledger_count(const struct perf_registry *r, uint64_t scope_id, unsigned cpu)
{
	unsigned n = 0, slots = slots_used(r);

	for (unsigned i = 0; i < slots; i++) {
		const struct perf_slot *slot = &r->slot[i];
		unsigned used = ledger_used(slot);

		for (unsigned j = 0; j < used; j++) {
			const struct perf_entry *e = &slot->ledger[j];

			n += atomic_load(&e->id) != 0 && e->scope_id == scope_id && e->cpu == cpu;
		}
	}
	return n;
}

bool perf_ledger_strays(const struct perf_registry *r, uint64_t scope_id)
{
	unsigned slots = slots_used(r);

	for (unsigned i = 0; i < slots; i++) {
		const struct perf_slot *slot = &r->slot[i];
		unsigned used = ledger_used(slot);

		for (unsigned j = 0; j < used; j++) {
			const struct perf_entry *e = &slot->ledger[j];

			if (atomic_load(&e->id) != 0 && e->scope_id == scope_id &&
				!atomic_load(&e->watched))
				return true;
		}
	}
	return false;
}

int perf_ledger_add(struct perf_registry *r, struct perf_slot *slot, const struct perf_entry *entry)
{
	unsigned used = ledger_used(slot), i = 0;
	struct perf_entry *e;

	while (i < used && atomic_load(&slot->ledger[i].id) != 0)
		i++;
	if (i == PERF_LEDGER_MAX)
		return -EDQUOT;
	e = &slot->ledger[i];
	e->scope_id = entry->scope_id;
	e->config = entry->config;
	e->type = entry->type;
	e->cpu = entry->cpu;
	e->by = entry->by;
	atomic_store(&e->watched, atomic_load(&entry->watched));
	if (i == used)
		atomic_store(&slot->n_ledger, used + 1);
	/* Before the entry: whoever is killed in between leaves a sum too high, which costs a count
	 * now and then. */
	atomic_fetch_add(&r->sums[sum_at(e->scope_id, e->cpu)], 1);
	atomic_store(&e->id, atomic_load(&entry->id));
	return (int)i;
}

void perf_ledger_drop(struct perf_registry *r, struct perf_entry *entry, uint64_t id)
{
	unsigned sum = sum_at(entry->scope_id, entry->cpu);

	if (id != 0 && atomic_compare_exchange_strong(&entry->id, &id, 0))
		atomic_fetch_sub(&r->sums[sum], 1);
}

void perf_ledger_unwatch(struct perf_slot *slot)
{
	unsigned used = ledger_used(slot);

	for (unsigned i = 0; i < used; i++)
		atomic_store(&slot->ledger[i].watched, 0);
}

static bool is_in(const uint64_t *ids, size_t n, uint64_t id)
{
	size_t low = 0;

	while (low < n) {
		size_t mid = low + (n - low) / 2;

		if (ids[mid] == id)
			return true;
		if (ids[mid] < id)
			low = mid + 1;
		else
			n = mid;
	}
	return false;
}

static unsigned slot_keep(struct perf_registry *r, struct perf_slot *slot, uint64_t scope_id,
	const uint64_t *ids, size_t n)
{
	unsigned used = ledger_used(slot), freed = 0;

	for (unsigned i = 0; i < used; i++) {
		struct perf_entry *e = &slot->ledger[i];
		uint64_t id = atomic_load(&e->id);

		if (id == 0 || e->scope_id != scope_id || atomic_load(&e->watched) ||
			is_in(ids, n, id))
			continue;
		perf_ledger_drop(r, e, id);
		freed++;
	}
	return freed;
}

unsigned perf_ledger_keep(struct perf_registry *r, uint64_t scope_id, const uint64_t *ids, size_t n)
{
	unsigned freed = 0, slots = slots_used(r);

	for (unsigned i = 0; i < slots; i++)
		freed += slot_keep(r, &r->slot[i], scope_id, ids, n);
	return freed;
}

struct perf_entry *perf_ledger_find(struct perf_registry *r, uint64_t id)
{
	unsigned slots = slots_used(r);

	for (unsigned i = 0; id != 0 && i < slots; i++) {
		struct perf_slot *slot = &r->slot[i];
		unsigned used = ledger_used(slot);

		for (unsigned j = 0; j < used; j++)
			if (atomic_load(&slot->ledger[j].id) == id)
				return &slot->ledger[j];
	}
	return NULL;
}
