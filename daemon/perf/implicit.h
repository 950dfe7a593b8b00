/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "../hierarchy.h"

/*
 * On v2 every cgroup has perf's part, whatever controllers are enabled. But the kernel gives it to
 * new cgroups only once it has gone over the root's controllers because some were changed; until
 * then no event can be opened for a cgroup (ENOENT; seen on 6.1 and 6.12, with a v2 that nobody has
 * enabled a controller in). This changes one and takes it back where none is enabled. 1: it did.
 */
int perf_implicit_begin(const struct hierarchy *h);
