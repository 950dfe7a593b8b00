/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The client's half of an Scm exchange, with the answer in the form that the plain call would give.
 */
#pragma once

#include "client.h"

/* One row per method that has a twin. */
struct twin {
	const char *member;
	size_t ids;	    /* so many trailing values go as credentials instead */
	const char *result; /* what the socket gives: see take_result() */
	const char *out;    /* what the plain call gives */
};

/* NULL: the method has none. */
const struct twin *twin_find(const char *member);

/*
 * Calls the twin of `plain` with a socket of this type. A refusal is the error InvalidArgs; so is
 * the kernel's, where it does not let us send ids that the case names. -1: what came was not what
 * the contract has; said on stderr.
 */
int twin_call(struct connection *c, const struct call *plain, const struct twin *twin, int type,
	struct answer *ret);
