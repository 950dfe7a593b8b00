/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the core and the keeper say over the keeper's socket (SOCK_SEQPACKET). The keeper speaks
 * first: a reply with a number that every request on this connection repeats. Each request carries
 * its sender's credentials, which the kernel writes; whoever had connected is held by a pidfd, and
 * lives when that number has come back in his name: so it was he, and not one with his pid.
 *
 * The keeper may be an earlier version's: what is here does not change.
 */
#pragma once

#include <stdint.h>

#include "keeper.h"

enum keeper_op {
	KEEPER_TAKE,	 /* replies until KEEPER_SLOT_END, each with an fd; all stay held */
	KEEPER_REGISTRY, /* carries it; in place of an earlier one */
	KEEPER_STORE,	 /* slot; carries the listener; in place of an earlier one */
	KEEPER_DROP,	 /* slot */
};

#define KEEPER_SLOT_REGISTRY PERF_SLOTS_MAX
#define KEEPER_SLOT_END UINT32_MAX

struct keeper_request {
	uint64_t number;
	uint32_t op;
	uint32_t slot;
};

struct keeper_reply {
	uint64_t number; /* of the first */
	int32_t result;
	uint32_t slot;
};
