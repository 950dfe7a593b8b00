/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the spawner's children are left with. */
#pragma once

#include <stdint.h>

/* These capabilities, of those that are had, permitted and effective; for PERFMON what
 * rights_perfmon() says. With no_new_privs, and never dumpable: no ptrace(2), and what /proc/PID
 * has is root's. */
int rights_keep(const int *caps, unsigned n);
/* As that, by bits; `effective` may be fewer. */
int rights_set(uint64_t permitted, uint64_t effective);
/* The permitted ones. */
int rights_get(uint64_t *ret);
/* Empties the bounding set, where that may be done. */
void rights_unbind(void);
/* CAP_PERFMON, and what this kernel asks for besides or in its place; found out once, by the first
 * who asks, with all capabilities that he has. */
uint64_t rights_perfmon(void);

/* Closes all fds but these, which become 0, 1, 2 ...; `fds` is renumbered. */
int fds_keep(int *fds, unsigned n);
