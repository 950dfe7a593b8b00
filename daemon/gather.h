/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of gathering (requestor.c, place.c, victim.c, facts.c) need of each other. */
#pragma once

#include "op.h"

/* A line for each hierarchy, each up to PATH_MAX long. */
#define GATHER_TEXT_MAX ((size_t)128 * 1024)
/* /proc/PID/cgroup as read last. The loop's thread alone comes here. */
extern char gather_text[GATHER_TEXT_MAX];

enum reason gather_error(int r);

/* One party and, with a target, where it stands there. */
struct standing *party_standing(const struct op *op, const struct party *p, struct target *t);

/* FACT_CAPS, FACT_GROUPS, FACT_MAPS, FACT_NS, and with a target FACT_ROOT. */
int gather_subject(struct op *op, struct party *p, struct target *t, unsigned need);
int gather_ns(struct op *op, struct party *p, struct target *t);
int gather_host_root(struct op *op, struct party *p, struct target *t, bool *ret);
/* The party's pid namespace, borrowed; the daemon's own where it is that. */
int gather_pidns(struct op *op, struct party *p);

/* A task's cgroup out of the text of its /proc/PID/cgroup. What lies deeper than PLACE_DEPTH_MAX is
 * refused: to look at all ancestors takes time by the square of their number. */
#define PLACE_DEPTH_MAX 128
bool gather_doubtful(const struct hierarchy *h, const char *path);
enum reason gather_path(const struct hierarchy *h, const char *text, size_t len, char *ret);

/* Opens the way from the base of the method to the target. Where the parties stand is set. */
enum reason place_open(struct op *op, struct target *t);
int place_scope(struct op *op, struct target *t);
/* Where the victim's cgroup lies to base and target, by their paths. */
int place_victim(struct target *t);
int place_ancestor(struct target *t);
