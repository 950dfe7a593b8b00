/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "perf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cleanup.h"
#include "../listener.h"
#include "../log.h"
#include "../manager.h"
#include "gate.h"
#include "grants.h"
#include "implicit.h"
#include "perf-core.h"

#define LOOK_USEC 1000000
/* Of listeners whose registry is of another version, or lost: no quota of anybody's. */
#define ACCOUNT_LEFT (UINT64_MAX - 2)

uint64_t perf_msec(void)
{
	return clock_monotonic() / 1000000;
}

const char *perf_off(const struct perf *p)
{
	return p->off;
}

bool perf_gated(const struct perf *p)
{
	return !gate_why(p->gate);
}

/* With perf off too: what the gate lets through is the containers' own. */
static int gate_begin(struct perf *p)
{
	const struct options *o = p->manager->options;
	const struct hierarchies *all = &p->manager->hierarchies;
	const char *why;
	int root = -EBADF, r;

	for (unsigned i = 0; i < all->n; i++)
		if (all->list[i].v2)
			root = all->list[i].root_fd;
	r = gate_new(o->bpffs, root, o->perf_gate, &p->gate);
	if (r < 0)
		return r;
	why = gate_why(p->gate);
	if (o->perf_gate && why)
		log_line(LOG_WARNING, "perf: there is no gate: %s", why);
	return gate_follow(p->gate, p->manager);
}

void perf_changed(struct perf *p)
{
	if (p && gate_follow(p->gate, p->manager) < 0)
		log_line(LOG_WARNING, "perf: the gate does not know of it, ignoring");
	if (p && p->registry)
		atomic_fetch_add(&p->registry->generation, 1);
}

int perf_attach(struct perf *p, uint64_t number, int listener)
{
	_cleanup_close_ int fd = listener;
	struct account *account;
	struct perf_life *l;
	int r;

	if (p->off)
		return -EOPNOTSUPP;
	account = account_get(&p->manager->accounts, number);
	if (!account)
		return -ENOMEM;
	r = life_allowed(p, account) ? life_slot(p, PERF_SLOT_NOTIFY, account) : -EDQUOT;
	if (r >= 0) {
		unsigned slot = (unsigned)r;

		r = life_new(p, PERF_SERVE_NOTIFY, account, slot, fd, &l);
		if (r < 0)
			perf_slot_put(p->registry, slot);
	}
	account_put(account);
	if (r < 0)
		return r;
	(void)keeper_store(p->keeper, l->slot, TAKE_FD(fd));
	life_start(l);
	return 0;
}

void perf_tally(const struct perf *p, uint64_t number, struct perf_tally *ret)
{
	const struct perf_life *l;

	*ret = (struct perf_tally){0};
	LIST_FOREACH(l, &p->lives, list)
	{
		const struct perf_slot *slot = perf_slot_of(l);

		if (!slot || (number != PERF_ALL && l->account->number != number))
			continue;
		ret->listeners += l->kind == PERF_SERVE_NOTIFY || l->fd >= 0 ||
				  (l->kind == PERF_SERVE_LXC && l->pidfd >= 0);
		ret->wedged += l->wedged;
		ret->calls += atomic_load(&slot->calls);
		ret->refused += atomic_load(&slot->refused);
		ret->dropped += atomic_load(&slot->dropped);
		for (unsigned i = 0; i < PERF_LEDGER_MAX && i < atomic_load(&slot->n_ledger); i++)
			ret->events += atomic_load(&slot->ledger[i].id) != 0;
	}
}

/*
 * The clock.
 */

static void log_dropped(struct perf *p, const struct perf_life *l)
{
	const struct perf_slot *slot = perf_slot_of(l);
	uint64_t dropped = slot ? atomic_load(&slot->dropped) : 0;

	if (!slot || dropped == p->dropped[l->slot])
		return;
	log_limited(LOG_NOTICE, l->account->number, "perf: %llu messages or calls were dropped",
		(unsigned long long)(dropped - p->dropped[l->slot]));
	p->dropped[l->slot] = dropped;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct perf *p = userdata;
	struct perf_life *l, *next;
	uint64_t now = perf_msec();

	for (l = LIST_FIRST(&p->lives); l; l = next) {
		next = LIST_NEXT(l, list);
		log_dropped(p, l);
		life_look(l, now);
	}
	if (!unread_sweep(p->manager) && LIST_EMPTY(&p->lives))
		return sd_event_source_set_enabled(source, SD_EVENT_OFF);
	/* When it was to come might be long ago. */
	return sd_event_source_set_time(source, clock_monotonic() / 1000 + LOOK_USEC);
}

void perf_look(struct perf *p)
{
	(void)sd_event_source_set_enabled(p->tick, SD_EVENT_ON);
}

/*
 * Start.
 */

static int registry_make(struct perf *p)
{
	p->registry_fd = perf_registry_new(&p->registry);
	if (p->registry_fd < 0)
		return p->registry_fd;
	(void)keeper_store_registry(p->keeper, p->registry_fd);
	return 0;
}

/* Takes fd. False: it is of another version. */
static bool registry_take(struct perf *p, int fd)
{
	int r = perf_registry_map(fd, &p->registry);

	if (r < 0) {
		log_line(LOG_WARNING, "perf: what an earlier daemon left cannot be read: %s",
			strerror(-r));
		close(fd);
		return false;
	}
	p->registry_fd = fd;
	return true;
}

static int slot_adopt(struct perf *p, unsigned n, int fd)
{
	struct account *account = account_get(&p->manager->accounts, p->registry->slot[n].account);
	struct perf_life *l;
	int r = account ? life_new(p, PERF_SERVE_NOTIFY, account, n, fd, &l) : -ENOMEM;

	account_put(account);
	return r;
}

/* A slot as an earlier daemon left it. */
static int slot_take_over(struct perf *p, unsigned n, int *fd)
{
	struct perf_slot *slot = &p->registry->slot[n];

	perf_ledger_unwatch(slot);
	if (atomic_load(&slot->kind) == PERF_SLOT_NOTIFY && *fd >= 0)
		return slot_adopt(p, n, TAKE_FD(*fd));
	/* A connection, or a broker: nobody's any more. */
	if (atomic_load(&slot->kind) != PERF_SLOT_FREE)
		perf_slot_put(p->registry, n);
	if (*fd >= 0)
		(void)keeper_drop(p->keeper, n);
	return 0;
}

static int take_over(struct perf *p, int listener[PERF_SLOTS_MAX])
{
	struct perf_life *l, *next;
	unsigned n = 0;
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < PERF_SLOTS_MAX; i++)
		r = slot_take_over(p, i, &listener[i]);
	/* Whatever was told to workers is of before. */
	perf_changed(p);
	for (l = LIST_FIRST(&p->lives); r >= 0 && l; l = next) {
		next = LIST_NEXT(l, list);
		n++;
		life_start(l);
	}
	if (n > 0)
		log_line(LOG_INFO, "perf: %u listeners of an earlier daemon are served again", n);
	return r;
}

/* Listeners without a registry: what was taken and not answered is lost, the rest is served. */
static int attach_left(struct perf *p, int listener[PERF_SLOTS_MAX])
{
	int r = 0;

	for (unsigned i = 0; i < PERF_SLOTS_MAX; i++)
		if (listener[i] >= 0)
			(void)keeper_drop(p->keeper, i);
	for (unsigned i = 0; r != -ENOMEM && i < PERF_SLOTS_MAX; i++)
		if (listener[i] >= 0)
			r = perf_attach(p, ACCOUNT_LEFT, TAKE_FD(listener[i]));
	return r == -ENOMEM ? r : 0;
}

static int registry_begin(struct perf *p, int *fd, int listener[PERF_SLOTS_MAX])
{
	int r;

	if (*fd >= 0 && registry_take(p, TAKE_FD(*fd)))
		return take_over(p, listener);
	r = registry_make(p);
	return r < 0 ? r : attach_left(p, listener);
}

static int on_spawner_end(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct perf *p = userdata;

	manager_fail(p->manager, -EPIPE, "perf's spawner has ended");
	return 0;
}

static int watch_begin(struct perf *p)
{
	sd_event *event = p->manager->event;
	int r = sd_event_add_time(event, &p->tick, CLOCK_MONOTONIC,
		clock_monotonic() / 1000 + LOOK_USEC, LOOK_USEC / 4, on_tick, p);

	if (r >= 0)
		r = sd_event_source_set_enabled(p->tick, SD_EVENT_OFF);
	return r < 0 ? r
		     : sd_event_add_io(event, &p->end, spawner_pidfd(p->spawner), EPOLLIN,
			       on_spawner_end, p);
}

static int perf_begin(struct perf *p)
{
	const char *path = p->manager->options->perf_keeper;
	_cleanup_close_ int registry = -EBADF;
	int listener[PERF_SLOTS_MAX], r;

	for (unsigned i = 0; i < PERF_SLOTS_MAX; i++)
		listener[i] = -EBADF;
	(void)perf_implicit_begin(perf_hierarchy(p->manager));
	r = watch_begin(p);
	if (r < 0)
		return r;
	r = keeper_open(p->spawner, path, &p->keeper, &registry, listener);
	if (r < 0) {
		log_line(LOG_WARNING, "perf: %s: %s; listeners will not outlive the daemon", path,
			strerror(-r));
		p->keeper = NULL;
	}
	r = registry_begin(p, &registry, listener);
	for (unsigned i = 0; i < PERF_SLOTS_MAX; i++)
		close_fd(&listener[i]);
	return r < 0 ? r : perf_listen(p);
}

int perf_new(struct manager *m, struct spawner *spawner, const char *why, struct perf **ret)
{
	struct perf *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->manager = m;
	p->spawner = spawner;
	p->registry_fd = -EBADF;
	p->off = spawner ? NULL : why;
	LIST_INIT(&p->lives);
	r = gate_begin(p);
	if (r >= 0 && spawner)
		r = perf_begin(p);
	if (r < 0) {
		perf_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

struct perf *perf_free(struct perf *p)
{
	if (!p)
		return NULL;
	listener_free(p->lxc);
	listener_free(p->oci);
	while (!LIST_EMPTY(&p->lives))
		life_free(LIST_FIRST(&p->lives));
	sd_event_source_disable_unref(p->tick);
	sd_event_source_disable_unref(p->end);
	keeper_free(p->keeper);
	gate_free(p->gate);
	perf_registry_unmap(p->registry);
	close_fd(&p->registry_fd);
	free(p);
	return NULL;
}
