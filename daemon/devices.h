/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The native device calls: their words as rules, what is known of the cgroup before they are
 * judged, and the change that they make, in each hierarchy that governs devices. All on the loop:
 * nothing here waits.
 *
 * A change is worked out whole, in every hierarchy, before anything is written; the act then only
 * writes, and can be taken back.
 */
#pragma once

#include "devlock.h"
#include "devway.h"
#include "op.h"

enum device_verb {
	DEVICE_VERB_SET,
	DEVICE_VERB_ALLOW,
	DEVICE_VERB_DENY,
};

/* What a call says, for all its hierarchies. */
struct device_call {
	enum device_verb verb;
	bool clears;		      /* SET: without a rule */
	struct device_rules rules;    /* as they were written; of ALLOW and DENY one */
	struct device_rules resolved; /* the same in numbers */
	bool is_resolved;
	/* Who asks is not host root, and sees devices as its own cgroups may have them. */
	bool own_known, host_root;
	unsigned n_own;
	struct devway *own[2];
	enum tri answer; /* CheckDevice: of the hierarchies so far */
};

struct device_change {
	struct devlock lock; /* v2 */
	struct devway *way;
	struct device_level *facts; /* one a level of the way; of v1 the parent's */
	unsigned n_facts;
	struct device_change_v1 *v1;
	/* v2: the policy that is to be; data NULL: none of ours. `before`: what there was. */
	struct device_policy before, after;
	bool same; /* nothing is to be written */
	bool written;
};

/* The words of the call, before anything is gathered. */
enum reason devices_question(struct op *op);
/* What its names stand for now, for whoever asks; a prepare(). */
enum reason devices_prepare(struct op *op, struct target *t);
/* devway_read() of a target's path, after what somebody has detached there was attached again. On
 * the loop. `locked`: the path's lock is held. */
int devices_way(struct op *op, struct target *t, const char *path, unsigned flags, bool locked,
	struct devway **ret);
/* Only what devices_visible() goes by. */
enum reason devices_own_prepare(struct op *op, struct target *t);
/* FACT_DEVICES, FACT_GRANT: 0 or a negative errno; what the change cannot be is t->reason. */
int devices_gather(struct op *op, struct target *t);
int devices_gather_grant(struct op *op, struct target *t);
/* "cgmd's rules in /a/b" for DEVICE_WIDER and DEVICE_OVERRIDE; heap or NULL. Needs FACT_SCOPE. */
char *devices_detail(
	const struct op *op, const struct target *t, enum reason reason, unsigned level);

/* Does the policy file grant what the rule says, or these devices, at the target? */
bool devices_granted(struct op *op, struct target *t, const struct device_rule *rule,
	const struct device_range *range, unsigned n);
/* cgmd's rules on the way follow what is granted; and back; and once all is done, what else that
 * has widened goes to op->reply.names. */
int devices_widen(struct op *op, struct target *t);
void devices_narrow(struct op *op, struct target *t);
int devices_widened(struct op *op, struct target *t);

/* The bytes of a policy with these rules, whose names stand for what they do now. */
int devices_compile(struct manager *m, const struct device_rules *rules, struct device_policy *ret);

struct device_call *device_call_free(struct device_call *c);
struct device_change *device_change_free(struct device_change *c);

/* A level's cgroup as the caller names it from the top of its scope; "" if that is above. `buf`
 * holds PATH_TEXT_MAX + 1. Needs FACT_SCOPE. */
const char *devices_place(
	const struct target *t, const struct devway *w, unsigned level, char *buf);
/* "cgmd", "cgmd v1", "v1"; `other` >= 0: that program's name, or "unknown program". */
void devices_whose(const struct devway_level *l, int other, char *buf, size_t size);

/* What the device stands for, of those that the caller may know of; 0 and *ret (heap), or why not.
 */
enum reason devices_ranges(struct op *op, const struct device_rule *rule, struct device_rules *ret);
/* May the caller know of it? Also where it cannot be told. */
bool devices_visible(struct op *op, const struct device_range *range);
