/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The methods as rows, and a call as values: what the wire carries, without the wire.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../policy/decide.h"
#include "../policy/device.h"
#include "../policy/perf-items.h"

#define CGM_PATH "/org/linuxcontainers/cgmanager"
#define CGM_INTERFACE "org.linuxcontainers.cgmanager0_0"
#define CGM_SERVICE "org.linuxcontainers.cgmanager"
#define CGM_API_VERSION 10
#define NATIVE_PATH "/org/cgmd1"
#define NATIVE_INTERFACE "org.cgmd1.Manager"
#define NATIVE_SERVICE "org.cgmd1"
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
	BASE_NATIVE,  /* the requestor's cgroup; with a leading '/' the top of its scope */
};

/* Each is at a path of its own, and the service has a well-known name for it. */
enum interface_id {
	INTERFACE_CGMANAGER,
	INTERFACE_NATIVE,
	INTERFACE_MAX,
};

struct interface {
	enum interface_id id;
	const char *name, *path, *service;
};

extern const struct interface interfaces[INTERFACE_MAX];

enum method_flags {
	METHOD_MANY = 1 << 0, /* the controller may be "all" or a comma list */
	METHOD_RECURSIVE = 1 << 1,
	METHOD_KEYS = 1 << 2, /* LIST: files, not children */
	/* A twin: who calls, and whom it is about, come as credentials over a socket that is
	 * passed, and the result goes there; see daemon/scm.h. */
	METHOD_SCM = 1 << 3,
	/* Of org.cgmd1.Manager: it has no twin, and a failure has the error's name that its
	 * reason's kind says (errors.def). */
	METHOD_NATIVE = 1 << 4,
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

const struct interface *method_interface(const struct method *method);

/* A row of the interface, or the twin of one; NULL: neither. On one thread. */
const struct method *method_find(const struct interface *interface, const char *name);

/* The method with "Scm" behind its name, which takes `h sockfd` instead of pid, uid and gid and
 * gives its result over that socket; NULL: it has none (Ping, ListControllers, native ones). On one
 * thread. */
const struct method *method_twin(enum method_id id);

/* The length of the first complete type of a signature; 0 at its end. */
size_t type_length(const char *signature);

enum property_id {
#define PROPERTY(name, type, interface, changes) PROPERTY_##name,
#include "properties.def"
#undef PROPERTY
	PROPERTY_MAX,
};

struct property {
	const char *name, *type;
	enum interface_id interface;
	const char *changes;
};

extern const struct property properties[PROPERTY_MAX];

/* Of an a{sv}: which keys of options.def were there, a bit each, and what they hold. */
enum option_id {
#define OPTION(method, name, type) OPTION_##method##_##name,
#include "options.def"
#undef OPTION
	OPTION_MAX,
};

struct request_options {
	unsigned given; /* 1 << OPTION_METHOD_NAME */
	uint32_t uid, gid, mode;
	const char *path;
	int kill; /* as sd-bus has a boolean */
};

/* An ay; the message's, or `heap`. */
struct request_bytes {
	const uint8_t *data;
	size_t size;
	uint8_t *heap; /* or NULL */
};

/* A call. The strings belong to the message. */
struct request {
	const struct method *method;
	const char *controller, *cgroup, *file, *key, *value, *device, *access, *name, *item;
	int32_t pid, uid, gid, mode, recursive, junk, cpu;
	uint64_t flags;
	/* only that there is one: see transport_take_passed() */
	int sockfd, group, listener;
	/* NULL-terminated; the arrays are heap, at most DEVICE_RULES_MAX and PERF_ITEMS_MAX */
	const char **rules, **items;
	struct request_bytes attr;
	struct request_options options;
};

void request_done(struct request *r);
/* Moves what is heap, too. */
struct request request_take(struct request *r);

struct reply_key {
	char *name;
	uint32_t uid, gid, mode;
};

struct reply_pair {
	char *key, *value;
};

struct reply_triple {
	char *text[3];
};

struct reply_device {
	char type; /* 'c' or 'b' */
	uint32_t major, minor;
	char *node; /* NULL: none */
};

struct reply_gpu {
	char *address, *id, *driver, *pmu, *region; /* NULL: none */
	char **nodes;				    /* NULL-terminated or NULL */
};

/*
 * An answer; which fields count is said by the method's `out`, or by the property's type. Heap
 * members belong to the reply, and a text that is NULL goes out as "".
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
	bool allowed; /* bss: with the next two */
	char *who, *why;
	struct reply_pair *pairs; /* a{ss} */
	size_t n_pairs;
	struct reply_triple *triples; /* a(sss) */
	size_t n_triples;
	struct reply_device *devices; /* a(suus) */
	size_t n_devices;
	struct reply_gpu *gpus; /* a(sssssas) */
	size_t n_gpus;
	bool has_fd; /* h: the next is one, and the reply's */
	int fd;
};

void reply_done(struct reply *r);
/* About as many bytes as it takes on the wire. */
size_t reply_size(const struct reply *r);
