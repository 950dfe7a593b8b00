/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What /proc tells of a process' credentials. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "userns.h"

enum cap_set_id {
	CAP_SET_INHERITABLE,
	CAP_SET_PERMITTED,
	CAP_SET_EFFECTIVE,
	CAP_SET_BOUNDING,
	CAP_SET_AMBIENT,
	CAP_SET_MAX,
};

extern const char *const cap_set_names[CAP_SET_MAX];

struct credentials {
	pid_t pid, parent;
	char name[64];
	uid_t uid[4]; /* real, effective, saved, of the file system */
	gid_t gid[4];
	uint64_t sets[CAP_SET_MAX];
	bool no_new_privs;
	unsigned seccomp;	   /* SECCOMP_MODE_* */
	int filters;		   /* -1: the kernel does not tell (before 5.9) */
	struct userns_chain chain; /* n 0: may not be seen */
};

/* Of the text of /proc/PID/status; the chain stays as it was. -EBADMSG: it is none. */
int credentials_parse(const char *status, struct credentials *ret);
/* -ESRCH: there is no such process. 0 as the pid: our own. */
int credentials_get(pid_t pid, struct credentials *ret);

/* Does what it may in its own user namespace count where the kernel asks for perf's capability,
 * CAP_PERFMON or CAP_SYS_ADMIN in the initial one (perfmon_capable(), Linux 5.8)? */
bool credentials_count_for_perf(const struct credentials *c);
bool credentials_have_perf(const struct credentials *c); /* and in its own? */

/* "none", "all", "all but cap_sys_admin", "cap_perfmon cap_kill"; the caller's, NULL: no memory. */
char *cap_set_text(uint64_t set);
/* The names, as an array; NULL: no memory. */
json_t *cap_set_json(uint64_t set);
