/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* The parts of bench-devices. Each makes its cgroups in BASE of v2's hierarchy, and removes them.
 */
#include <systemd/sd-bus.h>

#include "party.h"

#define BASE "bench-devices"

/* What an open costs more in a governed cgroup. `base`: the directory. */
void bench_opens(sd_bus *bus, int base);
/* Many cgroups, by SetDevices. */
void bench_many_calls(sd_bus *bus, int base, const struct daemon *d);
/* The same by devprog_policy_set() in this process; with no daemon about. */
void bench_many_direct(int base);
