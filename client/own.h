/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owning locals of the client. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OWN(release) __attribute__((cleanup(release)))

static inline void own_string(char **s)
{
	free(*s);
}

static inline void own_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void own_file(FILE **f)
{
	if (*f)
		fclose(*f);
}
