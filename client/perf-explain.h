/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cgm perf explain: why an event cannot be opened here, and what would mend it. */
#pragma once

#include "verb.h"

local_verb_fn perf_explain;
