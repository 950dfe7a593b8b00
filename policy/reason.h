/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Why a call was refused or failed: one row in reasons.def each.
 *
 * A denial is a verdict, not an error. The message for people is made once, where the reply is
 * encoded, from the row and the name of the object, by reason_message().
 */
#pragma once

#include <stddef.h>

enum reason {
#define REASON(id, kind, err, why, remedy) REASON_##id,
#include "reasons.def"
#undef REASON
	REASON_MAX,
};

enum reason_kind {
	KIND_OK,
	KIND_INVALID_ARGS,
	KIND_ACCESS_DENIED,
	KIND_NOT_FOUND,
	KIND_NO_SUCH_PROCESS,
	KIND_LIMITS_EXCEEDED,
	KIND_BUSY,
	KIND_NOT_SUPPORTED,
	KIND_FAILED,
};

struct reason_row {
	const char *token; /* for logs: OUTSIDE_SCOPE */
	enum reason_kind kind;
	int err;	    /* positive errno */
	const char *why;    /* "the cgroup belongs to somebody else" */
	const char *remedy; /* what would allow it, or NULL */
};

const struct reason_row *reason_row(enum reason r);

/*
 * "METHOD OBJECT: why; remedy" into buf, cut if it must be, always terminated. `object` is what the
 * caller itself named, or NULL. `detail` (may be NULL) is appended to why in parentheses; it must
 * hold nothing from outside the caller's scope. Control characters in either come out as '?'.
 */
void reason_message(enum reason r, const char *method, const char *object, const char *detail,
	char *buf, size_t size);
