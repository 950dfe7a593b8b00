/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The methods as rows, and a call as values: what the wire carries, without the wire.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../policy/decide.h"

#define CGM_PATH "/org/linuxcontainers/cgmanager"
#define CGM_INTERFACE "org.linuxcontainers.cgmanager0_0"
#define CGM_API_VERSION 10
#define CGM_ADDRESS_DEFAULT "unix:path=/run/cgmd/socket"
#define CGM_ADDRESS_LEGACY "unix:path=/sys/fs/cgroup/cgmanager/sock"

/* Where the path argument of a method starts (CGMANAGER's table "Arguments"). */
enum base {
	BASE_NONE,
	BASE_OWN,     /* the requestor's cgroup, also with a leading '/' */
	BASE_BELOW,   /* the requestor's cgroup; a leading '/' is refused */
	BASE_CURRENT, /* the requestor's cgroup; with a leading '/' the top of the hierarchy as the
			 requestor's cgroup namespace shows it, and the result must lie within its
			 own cgroup */
	BASE_SCOPE,   /* the top of the requestor's scope */
};

enum method_flags {
	METHOD_MANY = 1 << 0, /* the controller may be "all" or a comma list */
	METHOD_RECURSIVE = 1 << 1,
	METHOD_KEYS = 1 << 2, /* LIST: files, not children */
	/* A twin: who calls, and whom it is about, come as credentials over a socket that is
	 * passed, and the result goes there; see daemon/scm.h. */
	METHOD_SCM = 1 << 3,
};

/* What the second credentials of a twin stand for. */
enum claim {
	CLAIM_NOTHING, /* there are none */
	CLAIM_VICTIM,  /* for `pid` */
	CLAIM_OWNER,   /* for `uid` and `gid` */
};

#define METHOD_ARGS_MAX 5

enum method_id {
#define METHOD(name, in, in_names, out, out_names, action, base, flags, act) METHOD_##name,
#include "methods.def"
#undef METHOD
	METHOD_MAX,
};

struct method {
	enum method_id id; /* of a twin: its row's */
	const char *name;
	const char *in, *out;
	const char *in_names[METHOD_ARGS_MAX], *out_names[METHOD_ARGS_MAX];
	enum action action;
	enum base base;
	unsigned flags;
	enum claim claim; /* METHOD_SCM */
};

extern const struct method methods[METHOD_MAX];

/* A row, or the twin of one; NULL: neither. On one thread. */
const struct method *method_find(const char *name);

/* The method with "Scm" behind its name, which takes `h sockfd` instead of pid, uid and gid and
 * gives its result over that socket; NULL: it has none (Ping, ListControllers). On one thread. */
const struct method *method_twin(enum method_id id);

/* A call. The strings belong to the message. */
struct request {
	const struct method *method;
	const char *controller, *cgroup, *file, *key, *value;
	int32_t pid, uid, gid, mode, recursive, junk;
	int sockfd; /* only that there is one: see transport_take_passed() */
};

struct reply_key {
	char *name;
	uint32_t uid, gid, mode;
};

/*
 * An answer; which fields count is said by the method's `out`. Heap members belong to the reply.
 */
struct reply {
	enum reason reason; /* not OK: an error, and the rest does not count */
	char *object;	    /* of an error: what the caller named, or NULL */
	char *detail;	    /* of an error: see reason_message(), or NULL */
	int32_t number;	    /* i */
	char *text;	    /* s */
	int32_t *pids;	    /* ai */
	size_t n_pids;
	char **names;		/* as, NULL-terminated or NULL */
	struct reply_key *keys; /* a(suuu) */
	size_t n_keys;
};

void reply_done(struct reply *r);
/* About as many bytes as it takes on the wire. */
size_t reply_size(const struct reply *r);
