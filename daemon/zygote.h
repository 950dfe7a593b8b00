/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The core's end of the zygote; zygote_start() and its kin are in porter.h. */
#pragma once

#include "porter.h"

/* Forks a porter. *ret_channel is non-blocking. Waits for the zygote, which waits for nobody: some
 * hundred microseconds. -ETIMEDOUT after 5 s: it is ended then. Both fds are the caller's. */
int zygote_fork(struct zygote *z, int *ret_channel, int *ret_pidfd);
