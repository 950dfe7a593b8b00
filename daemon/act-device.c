/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Acts on the devices of a cgroup. */
#include "act.h"

static void off_run(struct op *op, struct target *t)
{
	(void)op;
	t->reason = REASON_DEVICES_OFF;
}

static enum reason off_prepare(struct op *op, struct target *t)
{
	(void)op, (void)t;
	return REASON_DEVICES_OFF;
}

const struct act act_set_devices = {.prepare = off_prepare, .run = off_run};
const struct act act_allow_devices = {.prepare = off_prepare, .run = off_run};
const struct act act_deny_devices = {.prepare = off_prepare, .run = off_run};
const struct act act_list_devices = {.run = off_run};
const struct act act_check_device = {.run = off_run};
const struct act act_resolve_device = {.run = off_run};
const struct act act_add_device = {.prepare = off_prepare, .run = off_run};
const struct act act_remove_device = {.prepare = off_prepare, .run = off_run};
const struct act act_list_gpus = {.run = off_run};
