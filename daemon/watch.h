/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Remove-on-empty: cgroups that carry MARK_RELEASE go when their last task has left, on v1 by a
 * bounded poll in slices, on v2 by inotify on cgroup.events, of which 4,096 at most are armed, for
 * they are host root's; the rest is polled. The host's release_agent and
 * notify_on_release are never touched. All state is the mark on the cgroup, so a restart forgets
 * nothing.
 *
 * A cgroup that was empty when it was marked stays until it has had a task. Once a marked cgroup
 * has gone, its parent, if marked too, is looked at again.
 */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

#include "hierarchy.h"
#include "inspect.h"

struct watch;

int watch_new(sd_event *event, struct inspector *inspector, const struct hierarchies *hierarchies,
	struct watch **ret);
struct watch *watch_free(struct watch *w);

/* The caller has set the mark. `dirfd` stays the caller's; `path` is the cgroup's in the hierarchy.
 * Watching what is watched already is success. `account`: see inspect_account(). -EDQUOT: 65,536
 * are watched, or 4,096 for this account, unless it is 0; what the scan took up and the same uid
 * owns counts too. */
int watch_add(
	struct watch *w, const struct hierarchy *h, int dirfd, const char *path, uint64_t account);

/* A task was moved into this cgroup: it counts as populated, however short the task's stay. */
void watch_touch(struct watch *w, const struct hierarchy *h, uint64_t id);

/* Walks all hierarchies, in slices from the loop, and takes up what is marked; a marked cgroup that
 * is empty then was emptied while nobody watched, and goes. */
int watch_scan(struct watch *w);
