/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cgm caps: what a process may do, and in which user namespace. No daemon is asked. */
#pragma once

#include "verb.h"

local_verb_fn caps_print;
