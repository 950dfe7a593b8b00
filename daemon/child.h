/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the processes beside the core begin with. */
#pragma once

#include <sys/types.h>

/* fork(2); the child has all signals blocked until child_signals(), for one that came before would
 * end it. */
pid_t child_fork(void);

/* In the child: what the core is ended with is ignored, for it ends when the core closes its
 * socket, after the last question; and so are the ends of its own children. Nothing is blocked any
 * more. */
int child_signals(void);
