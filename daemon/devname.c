/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devname.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../policy/devices.h"
#include "cleanup.h"
#include "log.h"
#include "uevent.h"

struct devnames {
	struct device_roots roots;
	struct uevents *uevents; /* NULL: no socket */
	pthread_mutex_t lock;	 /* of what follows */
	struct gpu *gpus;
	unsigned n_gpus;
	uint64_t state; /* of uevents, of which the list is; 0: it is of none */
};

/* What a name has been found to stand for. */
struct found {
	struct devname_entry *list;
	unsigned n;
	bool nodes; /* the nodes' paths are wanted */
};

static void found_done(struct found *f)
{
	free(f->list);
}

static bool is_found(const struct found *f, const struct device_range *r)
{
	for (unsigned i = 0; i < f->n; i++) {
		const struct device_range *at = &f->list[i].range;

		if (at->types == r->types && at->access == r->access && at->major == r->major &&
			at->first == r->first && at->last == r->last)
			return true;
	}
	return false;
}

static int found_add(struct found *f, const struct device_range *range, const char *node)
{
	struct devname_entry *grown;

	/* What several cards share. */
	if (is_found(f, range))
		return 0;
	grown = realloc(f->list, (f->n + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	f->list = grown;
	grown[f->n] = (struct devname_entry){.range = *range};
	snprintf(grown[f->n].node, sizeof(grown[f->n].node), "%s", node);
	f->n++;
	return 0;
}

static struct device_range device_one(uint8_t type, uint32_t major, uint32_t minor)
{
	return (struct device_range){type, DEVICE_ALL, major, minor, minor};
}

static int node_add(struct found *f, const struct gpu_node *node)
{
	struct device_range range = device_one(DEVICE_CHAR, node->major, node->minor);

	return found_add(f, &range, node->path);
}

/* ---- FIXED, PROC */

static int ranges_add(struct devnames *d, const struct device_form *form, struct found *f)
{
	const char *text = form->text, *driver;
	struct device_range range;
	size_t len;
	int r = 0;

	while (r >= 0 && device_form_next(&text, &range, &driver, &len)) {
		char node[sizeof(f->list->node)] = "";

		/* A driver that is not there has no devices. */
		if (len > 0 &&
			device_major_read(&d->roots, range.types, driver, len, &range.major) < 0)
			continue;
		if (f->nodes && range.major != DEVICE_ANY && range.first == range.last)
			device_node(&d->roots, range.types, range.major, range.first, node,
				sizeof(node));
		r = found_add(f, &range, node);
	}
	return r;
}

/* ---- GPU */

/* NVIDIA's nodes are made by user space, of which nobody tells. */
static bool may_be_kept(const struct gpu *gpus, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (strcmp(gpus[i].driver, "nvidia") == 0)
			return false;
	return true;
}

/* With the lock. */
static int gpus_refresh(struct devnames *d)
{
	uint64_t state = uevents_state(d->uevents);
	struct gpu *gpus;
	unsigned n;
	int r;

	if (state != 0 && state == d->state)
		return 0;
	/* An event during the look counts from now on, so the list that may lack it is looked up
	 * again. */
	r = gpus_list_from(&d->roots, &gpus, &n);
	if (r < 0)
		return r;
	free(d->gpus);
	d->gpus = gpus;
	d->n_gpus = n;
	d->state = may_be_kept(gpus, n) ? state : 0;
	return 0;
}

uint64_t devnames_state(struct devnames *d)
{
	return d ? uevents_state(d->uevents) : 0;
}

int devname_gpus(struct devnames *d, struct gpu **ret, unsigned *ret_n)
{
	struct gpu *copy = NULL;
	int r;

	pthread_mutex_lock(&d->lock);
	r = gpus_refresh(d);
	if (r >= 0 && d->n_gpus > 0) {
		copy = malloc(d->n_gpus * sizeof(*copy));
		if (copy)
			memcpy(copy, d->gpus, d->n_gpus * sizeof(*copy));
		else
			r = -ENOMEM;
	}
	if (r >= 0) {
		*ret = copy;
		*ret_n = d->n_gpus;
	}
	pthread_mutex_unlock(&d->lock);
	return r;
}

static bool is_word(const char *text, const char *word, size_t len)
{
	return strlen(text) == len && memcmp(text, word, len) == 0;
}

/* "gpu", "gpu@ADDRESS", "gpu:DRIVER", each with ":render" behind it or not. */
static int gpus_add(
	struct devnames *d, const struct device_form *form, const char *name, struct found *f)
{
	_cleanup_free_ struct gpu *gpus = NULL;
	bool render = strstr(form->form, ":render"), one = form->form[3] == '@', any = false;
	const char *word = NULL;
	size_t len = device_form_word(form, name, &word);
	unsigned n;
	int r = devname_gpus(d, &gpus, &n);

	for (unsigned i = 0; r >= 0 && i < n; i++) {
		const struct gpu *g = &gpus[i];

		if (len > 0 && !is_word(one ? g->address : g->driver, word, len))
			continue;
		any = true;
		for (unsigned k = 0; r >= 0 && k < g->n_nodes; k++)
			if (!render || g->node[k].render)
				r = node_add(f, &g->node[k]);
	}
	return r < 0 ? r : one && !any ? -ENOENT : 0;
}

/* ---- NVIDIA */

/* All of the driver's, or one card with what all share. The capabilities' nodes, which part a card
 * and watch it, are in `nvidia` alone. */
static int nvidia_add(
	struct devnames *d, const struct device_form *form, const char *name, struct found *f)
{
	_cleanup_free_ struct nvidia_card *cards = NULL;
	struct gpu_node node, shared[NVIDIA_SHARED_MAX];
	struct device_range caps = {DEVICE_CHAR, DEVICE_ALL, 0, 0, DEVICE_MINOR_MAX};
	const char *word = NULL;
	bool one = device_form_word(form, name, &word) > 0, any = false;
	unsigned n, n_shared;
	int r = nvidia_cards(&d->roots, &cards, &n);

	for (unsigned i = 0; r >= 0 && i < n; i++) {
		if (one && strtoul(word, NULL, 10) != cards[i].minor)
			continue;
		any = true;
		nvidia_node(&d->roots, &cards[i], &node);
		r = node_add(f, &node);
	}
	if (r < 0 || (one && !any))
		return r < 0 ? r : -ENOENT;
	n_shared = nvidia_shared(&d->roots, shared);
	for (unsigned i = 0; r >= 0 && i < n_shared; i++)
		r = node_add(f, &shared[i]);
	if (r >= 0 && !one && nvidia_caps(&d->roots, &caps.major))
		r = found_add(f, &caps, "");
	return r;
}

/* ---- PATH */

static int path_add(struct devnames *d, const char *path, struct found *f)
{
	uint32_t major, minor;
	struct device_range range;
	uint8_t type;
	int r = device_node_resolve(&d->roots, path, &type, &major, &minor);

	if (r < 0)
		return r;
	range = device_one(type, major, minor);
	return found_add(f, &range, strlen(path) < sizeof(f->list->node) ? path : "");
}

static int find(struct devnames *d, const char *name, struct found *f)
{
	const struct device_form *form = device_form_find(name);

	switch (form ? (int)form->kind : -1) {
	case DEVICE_FORM_FIXED:
	case DEVICE_FORM_PROC:
		return ranges_add(d, form, f);
	case DEVICE_FORM_GPU:
		return gpus_add(d, form, name, f);
	case DEVICE_FORM_NVIDIA:
		return nvidia_add(d, form, name, f);
	case DEVICE_FORM_PATH:
		return path_add(d, name, f);
	default:
		return -EINVAL;
	}
}

int devname_resolve(struct devnames *d, const char *name, struct devname_entry **ret, unsigned *n)
{
	__attribute__((cleanup(found_done))) struct found f = {.nodes = true};
	struct devname_entry *grown;
	int r = find(d, name, &f);

	if (r < 0 || f.n == 0)
		return r;
	grown = realloc(*ret, (*n + f.n) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memcpy(grown + *n, f.list, f.n * sizeof(*grown));
	*ret = grown;
	*n += f.n;
	return 0;
}

int devname_ranges(void *userdata, const char *name, struct device_range **ret, unsigned *n)
{
	__attribute__((cleanup(found_done))) struct found f = {.nodes = false};
	struct device_range *grown;
	int r = find(userdata, name, &f);

	if (r < 0 || f.n == 0)
		return r;
	grown = realloc(*ret, (*n + f.n) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	*ret = grown;
	for (unsigned i = 0; i < f.n; i++)
		grown[(*n)++] = f.list[i].range;
	return 0;
}

int devnames_new_at(const struct device_roots *roots, sd_event *event,
	void (*changed)(void *userdata), void *userdata, struct devnames **ret)
{
	struct devnames *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->roots = *roots;
	pthread_mutex_init(&d->lock, NULL);
	r = event ? uevents_new(event, changed, userdata, &d->uevents) : 0;
	if (r < 0)
		log_line(LOG_NOTICE,
			"no news of devices that come and go: %s; names are looked up at each use",
			strerror(-r));
	*ret = d;
	return 0;
}

int devnames_new(
	sd_event *event, void (*changed)(void *userdata), void *userdata, struct devnames **ret)
{
	struct device_roots roots;
	int r = device_roots_open(&roots);

	if (r < 0)
		return r;
	r = devnames_new_at(&roots, event, changed, userdata, ret);
	if (r < 0)
		device_roots_close(&roots);
	return r;
}

struct devnames *devnames_free(struct devnames *d)
{
	if (!d)
		return NULL;
	uevents_free(d->uevents);
	device_roots_close(&d->roots);
	pthread_mutex_destroy(&d->lock);
	free(d->gpus);
	free(d);
	return NULL;
}
