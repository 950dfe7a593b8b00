/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* User namespaces, as far as a process may see them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* As deep as the kernel lets them be nested, and the initial one (user_namespaces(7)). */
#define USERNS_DEPTH_MAX 34

struct userns {
	uint64_t inode;
	uid_t owner; /* as our own namespace has it; (uid_t)-1: unknown */
	bool owner_unknown;
};

/* Of a process, from its own outwards; the last is the initial one or the last that may be seen. */
struct userns_chain {
	unsigned n;
	struct userns ns[USERNS_DEPTH_MAX];
};

/* Has the kernel's initial user namespace this number? It is the same on every host. */
bool userns_is_initial(const struct userns *ns);
bool userns_is_visible(const struct userns_chain *chain); /* does it end with the initial one? */

/* By a directory of /proc: "/proc/self". -EACCES: ptrace(2) rules; -ENOENT: it has gone. */
int userns_chain_get(const char *proc, struct userns_chain *ret);
