/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a client library is asked to do here, and all that it is asked: send this, give what came
 * back. The cases and their expectations are one for all.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

struct value {
	/* s; i; x; h: the fd in `number`; a: an array of the one string; v: a variant of the string
	 */
	char type;
	const char *text;
	int64_t number;
};

struct call {
	const char *path, *interface; /* the interface may be NULL */
	const char *member, *signature;
	struct value values[8];
	size_t n_values;
	bool no_reply; /* the flag is set, and nothing is waited for */
};

struct answer {
	char *error, *message; /* an error reply, or both are NULL */
	char *signature;
	struct bytes body; /* little-endian */
};

void answer_done(struct answer *a);

#define CALL_SECONDS 60

struct connection;

/* Peer to peer, fds negotiated. NULL: it failed, and has said why on stderr. */
struct connection *connection_open(const char *address, const char *option);
void connection_close(struct connection *c);
/* -1: no reply could be had; said on stderr. */
int connection_call(struct connection *c, const struct call *call, struct answer *ret);
