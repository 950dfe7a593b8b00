/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A command line of cgm as values. Everything that can be judged without the daemon is judged here,
 * so that a bad number never reaches a connection. Nothing is printed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "verb.h"

#define TIMEOUT_DEFAULT 25
/* The daemon drops a connection whose message is over 64 KiB, and refuses long before that. */
#define TEXT_ARG_MAX 8192
#define PAIRS_MAX 8
/* Of rules, with what D-Bus puts around each: below those 64 KiB with the rest of a message. */
#define TEXTS_BYTES_MAX 60000

enum wish {
	WISH_CALL,
	WISH_HELP, /* of `verb`; if that is NULL of `group`; of everything if that is NULL too */
	WISH_VERSION,
	WISH_LIST, /* --verbs */
	WISH_MAN,  /* --verbs=man */
	WISH_KEYS, /* --keys */
	WISH_KEYS_MAN,
	WISH_DEVICES, /* --devices */
	WISH_DEVICES_MAN,
	WISH_EVENTS, /* --events */
};

/* One argument of a call; which member counts is said by arg_is_text(). */
union value {
	const char *text; /* belongs to argv, or is a row's fallback */
	int32_t number;
};

struct invocation {
	enum wish wish;
	const struct verb *verb;
	const char *group;		   /* "device"; belongs to argv */
	union value values[VERB_ARGS_MAX]; /* WISH_CALL: of the verb's arguments, in its order */
	unsigned given;			   /* bit N: values[N] counts */
	char *const *rest;		   /* of the last argument, if that takes all that is left;
					      belongs to argv; of a COMMAND with its NULL */
	int n_rest;			   /* words; of pairs an even number */
	char *address;			   /* NULL: the default ones */
	unsigned timeout;		   /* seconds */
	bool json;
};

/*
 * `environment` is the value of CGM_ADDRESS or NULL; empty counts as unset.
 * -EINVAL: ret_error holds what to tell, lines joined by newlines, which the caller frees. -ENOMEM.
 */
int invocation_parse(int argc, char *const *argv, const char *environment, struct invocation *ret,
	char **ret_error);

void invocation_done(struct invocation *inv);

bool arg_is_text(enum arg_kind kind);
