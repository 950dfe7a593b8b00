/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cases: a sequence of calls by the root of a container, each with what the contract says comes
 * back. They build on each other, and leave the container's cgroup as they found it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define ERROR_PREFIX "org.freedesktop.DBus.Error."
#define INVALID_ARGS ERROR_PREFIX "InvalidArgs"
#define UNKNOWN_METHOD ERROR_PREFIX "UnknownMethod"

enum expect {
	EXPECT_EXACT,	 /* byte for byte */
	EXPECT_SET,	 /* an array of just these, in any order */
	EXPECT_INCLUDES, /* an array or a text that holds each of these, and perhaps more */
	EXPECT_KEYS,	 /* the files of the cgroup `value[0]`, as stat() has them */
	EXPECT_REFUSED, /* an error of the method: InvalidArgs, or what stands for it in the twin */
	EXPECT_ERROR,	/* the D-Bus error `value[0]`, in the twin too */
	EXPECT_NOTHING, /* no reply is wanted, and none comes */
};

enum {
	CASE_PLAIN = 1 << 0,	    /* has no meaning as a twin: for example an id of -1 */
	CASE_AS_IS = 1 << 1,	    /* the values are sent as they are, in the twin too */
	CASE_NO_INTERFACE = 1 << 2, /* the field is left out */
	CASE_DIRECT = 1 << 3,	    /* a proxy cannot pass it on */
	CASE_V1 = 1 << 4, /* of what v1 alone has: several hierarchies, files of its own */
	CASE_V2 = 1 << 5, /* the same where v2 is all there is */
};

/*
 * In values, $low and $high are two tasks in the container's cgroup, $low the smaller, and $none is
 * no task. The signature of what is sent is `in`.
 */
struct test_case {
	const char *member, *in;
	const char *args[8];
	enum expect expect;
	const char *out;
	const char *value[8];
	unsigned flags;
	const char *path, *interface; /* where they are not those of the contract */
	/* "PATH UID GID MODE": then the file in the container's cgroup is so; v2's cgroup.threads
	 * goes by the name of v1's tasks. */
	const char *after;
	const char *gone; /* then this cgroup of the container goes, sooner or later */
};

extern const struct test_case cases[];
extern const size_t n_cases;
