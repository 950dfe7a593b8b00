/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The requestors of the policy's tests, with every fact; subject_withhold() takes some away. */
#pragma once

#include "../../policy/subject.h"

/* Host ids. A container maps 0.. to C.., 65536 of them; a nested one maps 0.. to NEST.., 1000. */
enum {
	ALICE_ID = 1000,
	WHEEL = 500,
	C = 100000,
	CU = 101000,
	CG = 102000,
	NEST = 110000,
};

enum who {
	HOST,	 /* host root */
	WEAK,	 /* uid 0 in the daemon's namespaces without a capability */
	DOCKER,	 /* uid 0 of a container without a user namespace, with Docker's capabilities */
	UNSHARE, /* host uid 0 in a user namespace of its own that maps 0 to 0 alone */
	ALICE,	 /* a user of the host, in wheel */
	ALICENS, /* alice after unshare -Ur */
	CROWD,	 /* alice in more groups than are read */
	ENTERED, /* alice with all capabilities in a namespace of hers that does not map her */
	CROOT,	 /* root of the container */
	CBARE,	 /* the same without capabilities */
	CFOWNER, /* the same with CAP_FOWNER alone */
	CUSER,	 /* user 1000 of the container, in its group 2000 */
	EMPTY,	 /* the container's root before uid_map was written */
	NESTED,	 /* root of the nested container */
	WHO_MAX,
};

void subject_of(enum who who, struct subject *ret);

/* What is not in `have` is set to grant everything, or to deny it. */
void subject_withhold(struct subject *s, unsigned have, bool grant);
