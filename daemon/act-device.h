/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The steps of an act that changes device rules, for those that do more besides. */
#pragma once

#include "op.h"

void device_change_run(struct op *op, struct target *t);
void device_change_undo(struct op *op, struct target *t);
void device_change_settle(struct op *op, struct target *t);
/*
 * For what goes to a worker: the lock that planning took is not kept while a worker is waited for,
 * or what lies in a container's /dev. The worker takes it for as long as it writes rules; what
 * others have changed before is seen then, and kept.
 */
void device_unlock(struct op *op);
