/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A command line of cgm as values. Everything that can be judged without the daemon is judged here,
 * so that a bad number never reaches a connection. Nothing is printed.
 */
#pragma once

#include <stdint.h>

#include "verb.h"

#define TIMEOUT_DEFAULT 25
/* The daemon drops a connection whose message is over 64 KiB, and refuses long before that. */
#define TEXT_ARG_MAX 8192
#define PAIRS_MAX 8

enum wish {
	WISH_CALL,
	WISH_HELP, /* of `verb`, or of everything if that is NULL */
	WISH_VERSION,
	WISH_LIST, /* --verbs */
	WISH_MAN,  /* --verbs=man */
	WISH_KEYS, /* --keys */
	WISH_KEYS_MAN,
};

/* One argument of a call; which member counts is said by the argument's kind. */
union value {
	const char *text; /* belongs to argv, or is a row's fallback */
	int32_t number;
};

struct invocation {
	enum wish wish;
	const struct verb *verb;
	union value values[METHOD_ARGS_MAX]; /* WISH_CALL: the method's arguments in its order */
	char *const *rest;		     /* pairs behind them; belongs to argv */
	int n_rest;			     /* words, an even number */
	char *address;			     /* NULL: the default ones */
	unsigned timeout;		     /* seconds */
};

/*
 * `environment` is the value of CGM_ADDRESS or NULL; empty counts as unset.
 * -EINVAL: ret_error holds what to tell, lines joined by newlines, which the caller frees. -ENOMEM.
 */
int invocation_parse(int argc, char *const *argv, const char *environment, struct invocation *ret,
	char **ret_error);

void invocation_done(struct invocation *inv);
