/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cgm perf run: a program whose perf_event_open calls cgmd answers. */
#pragma once

#include "verb.h"

/* Status of what could not be executed, and of what was not found, as of env(1). */
#define EXIT_NOT_EXECUTED 126
#define EXIT_NOT_FOUND 127

/* Has this process' calls handed to the daemon. 1: whose listener was there before answers them. On
 * failure ret_error holds what to tell, which the caller frees. */
int perf_trap(const struct invocation *inv, char **ret_error);

/* Does not return where the program was executed. */
local_verb_fn perf_run;
