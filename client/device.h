/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the answers about devices say to people and to scripts. No daemon is asked here. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

#include "print.h"
#include "verb.h"

enum device_answer {
	ANSWER_ALLOWED,
	ANSWER_DENIED,
	ANSWER_UNKNOWN,
};

/* Is this verb's answer printed by device_print()? */
bool device_prints(const struct verb *verb);

/* Of an answer as json_read() gives it. In place of `allowed`, which cannot tell "denied" from
 * "unknown", the object gets a member `verdict`. -ENOMEM. */
int device_verdict(json_t *answer, enum device_answer *ret);

/* The answer as lines; that of a VERDICT after device_verdict(). -ENOMEM. */
int device_print(FILE *out, const struct verb *verb, const json_t *answer, enum escape escape);

/* What no line says: that there is none, and what that means. NULL: nothing. */
const char *device_note(const struct verb *verb, const json_t *answer);

/* The texts of `cgm --devices` (names that are complete as they are) and `cgm --devices=man`. */
void devices_print_list(FILE *out);
void devices_print_man(FILE *out);

/* Does this verb set or show the rules of a cgroup, so that device_runtime_sits_on() matters? */
bool device_takes_hint(const struct verb *verb);

/*
 * Is there a program of a runtime on the cgroup `named` itself, by the rules listed for it? It
 * replaces what it finds there, so that rules are better set on the parent. `scope` is the property
 * Scope: a relative path starts at the requestor's own cgroup, of any hierarchy.
 */
bool device_runtime_sits_on(const json_t *rules, const char *named, const json_t *scope);
