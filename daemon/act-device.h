/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The steps of an act that changes device rules, for those that do more besides. */
#pragma once

#include "op.h"

void device_change_run(struct op *op, struct target *t);
void device_change_undo(struct op *op, struct target *t);
void device_change_settle(struct op *op, struct target *t);
