/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Device rules: what people write, what they mean, and what the kernel is given.
 *
 * Of rules written by people (`allow gpu:render rw`, `deny c 10:232 rwm`, `default deny`) the last
 * that matches decides, for each access bit by itself; where none matches, the default. `default
 * allow` adds nothing to what the cgroups above allow. A name stands for any number of ranges,
 * which are looked up when the rules are resolved and again when devices come and go.
 *
 * access(2) with F_OK asks the kernel for no access at all. That is refused where the default
 * denies and nothing of the device is allowed, so what cannot be had is not there either; it is
 * what cgroup v1 answers to the same rules.
 *
 * Rules written as cgroup v1 has them (`v1`) are its behaviour (the default) and its exceptions,
 * all of the other kind: see device-v1.h for how they change. There one exception must cover the
 * whole request where the default denies.
 *
 * What the kernel gets is a policy: bytes with everything in them, the compiled form and the rules
 * as they were written, so that one update of a map changes both and they never disagree.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reason.h"
#include "throttle.h"

/* As BPF has them (BPF_DEVCG_ACC_*, BPF_DEVCG_DEV_*; linux/bpf.h, 4.15). */
#define DEVICE_MKNOD 1
#define DEVICE_READ 2
#define DEVICE_WRITE 4
#define DEVICE_ALL 7
#define DEVICE_BLOCK 1
#define DEVICE_CHAR 2
#define DEVICE_BOTH 3

#define DEVICE_ANY UINT32_MAX /* a major: any, and so any minor from `first` to `last` */
#define DEVICE_RULES_MAX 2048
#define DEVICE_RESOLVED_MAX 16384 /* of these, when names have been looked up */
#define DEVICE_NAME_MAX 127
#define DEVICE_RULE_TEXT_MAX (DEVICE_NAME_MAX + 32)

/* Some devices: minors first to last of a major, or of all. */
struct device_range {
	uint8_t types;	/* DEVICE_BLOCK, DEVICE_CHAR or both */
	uint8_t access; /* DEVICE_ALL; a name may give less of some (oci-default: any, mknod) */
	uint32_t major;
	uint32_t first, last; /* 0 and DEVICE_MINOR_MAX: any */
};

/* A rule as it was written. */
struct device_rule {
	bool allow;
	uint8_t access;
	char name[DEVICE_NAME_MAX +
		  1]; /* "" : the range; else it stands for others, see devices.def */
	struct device_range range;
};

struct device_rules {
	bool allow; /* the default */
	bool v1;
	unsigned n, size;
	struct device_rule *rule; /* heap */
};

void device_rules_done(struct device_rules *r);
int device_rules_copy(struct device_rules *to, const struct device_rules *from);
/* Appends; -E2BIG, -ENOMEM: then nothing has changed. An earlier rule for the very same devices
 * that can have no effect any more goes, or loses the access bits that are decided anew; not so
 * those of v1, see device-v1.h. No verdict changes but by what the new rule says. */
int device_rules_add(struct device_rules *r, const struct device_rule *rule);

/* One line: "allow|deny DEVICE ACCESS", "default allow|deny". DEVICE: `c|b|a MAJOR:MINOR` with `*`
 * for any and FIRST-LAST for a range of minors, `a`: all; a /dev path; a name that devices.def
 * knows the form of. ACCESS: one to three of r, w, m. *ret_default: the line was a default, of
 * which only `allow` counts. REASON_OK, or a reason and *why, static text (may be NULL). */
enum reason device_rule_parse(
	const char *text, struct device_rule *ret, bool *ret_default, const char **why);
/* DEVICE and ACCESS alone, as `cgm device allow` and CheckDevice take them. */
enum reason device_parse(
	const char *device, const char *access, struct device_rule *ret, const char **why);
/* Is it of a form that devices.def has, and a path without "." and ".."? Whether there is such a
 * device is another question. */
bool device_name_valid(const char *name);
/* buf holds DEVICE_RULE_TEXT_MAX. "allow c 1:3 rwm"; `allow gpu:render rw`. */
void device_rule_text(const struct device_rule *rule, char *buf);
void device_default_text(const struct device_rules *r, char *buf);

/* What a name stands for; the daemon's, which asks the kernel. Appends to *ret (heap) and adds to
 * *n; 0: the name is known and stands for nothing now. -ENOENT: no such name. */
typedef int (*device_resolve)(
	void *userdata, const char *name, struct device_range **ret, unsigned *n);

/* One request of the kernel: exactly one type, one major and minor, access 0 to 7. The naive
 * evaluator, rule by rule; what everything else is compared with. `r` holds no names. */
bool device_check(
	const struct device_rules *r, uint8_t type, uint32_t major, uint32_t minor, uint8_t access);

/* Rules without names: each name's rule replaced by those of its ranges. FIXED rows of devices.def
 * are looked up there, others by `resolve` (NULL: are unknown). Names that are unknown now, or are
 * no devices (-ENOENT, -ENXIO, -ENOTSUP, -EINVAL), stand for nothing. -E2BIG, -ENOMEM, or what else
 * `resolve` returned. */
int device_rules_resolve(const struct device_rules *r, device_resolve resolve, void *userdata,
	struct device_rules *ret);

/* ---- policies: see device-policy.h for their bytes */

struct device_policy {
	size_t size; /* one of the classes, the smallest that fits */
	void *data;  /* heap; where any such bytes are read, they are aligned to 4 */
};

void device_policy_done(struct device_policy *p);

/* `source` is kept in it as it was written, `resolved` is what it means now. `max`: no class above
 * it. -E2BIG: no class is large enough, or rules name the minors of any major in more than
 * DEVICE_MINORS_MAX ways; -ENOMEM. Pure: the same rules give the same bytes. */
#define DEVICE_MINORS_MAX 64
int device_policy_compile(const struct device_rules *source, const struct device_rules *resolved,
	size_t max, struct device_policy *ret);
/* The rules as they were written. -EINVAL: these bytes are no policy of this version; -ENODATA:
 * they are all zero, so there is none; -ENOMEM. */
int device_policy_source(const void *data, size_t size, struct device_rules *ret);
/* What the program in the kernel answers, by the same steps. Zero bytes allow everything. */
bool device_policy_check(const void *data, size_t size, uint8_t type, uint32_t major,
	uint32_t minor, uint8_t access);
/* Is all of it (each device in the range, all bits at once) allowed? */
bool device_policy_covers(
	const void *data, size_t size, const struct device_range *range, uint8_t access);
