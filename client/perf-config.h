/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cgm perf config: what a container runtime is to be told, so that cgmd answers perf_event_open. */
#pragma once

#include "verb.h"

/* Of "lxc", "proxmox", "oci": the file of that name that is installed too; NULL: no other is known.
 */
const char *perf_config_text(const char *runtime);

local_verb_fn perf_config;
