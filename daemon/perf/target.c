/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See target_hold() of opener.c. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "spawner.h"

bool perf_target_alive(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct f_owner_ex owner;

	/* A pidfd has no owner, and what has one is always readable. */
	if (fcntl(fd, F_GETOWN_EX, &owner) == 0 && owner.pid > 0)
		return true;
	return poll(&p, 1, 0) == 0;
}
