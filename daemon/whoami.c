/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "whoami.h"

#include <unistd.h>

#include "facts.h"
#include "gather.h"
#include "manager.h"
#include "pidns.h"

static bool pid_tell(struct op *op, pid_t pid, uint32_t *ret)
{
	int pidns_fd = gather_pidns(op, &op->who);
	int32_t told = pid;

	if (pidns_fd < 0 || pidns_from_host(op->manager->inspector, pidns_fd, &told, 1) < 0 ||
		told <= 0)
		return false;
	*ret = (uint32_t)told;
	return true;
}

static bool uid_tell(struct op *op, uid_t uid, uint32_t *ret)
{
	return gather_subject(op, &op->who, NULL, FACT_MAPS) >= 0 &&
	       idmap_to_inside(&op->who.subject.uid_map, uid, ret);
}

void whoami(struct peer *peer, bool of_client, struct dispatch_ids *ret)
{
	struct op *op = op_new(peer->manager, peer);
	struct dispatch_ids ids;

	if (!op)
		return;
	ids.have_uid = uid_tell(op, of_client ? peer->identity.uid : geteuid(), &ids.uid);
	ids.have_pid = pid_tell(op, of_client ? peer->identity.pid : getpid(), &ids.pid);
	/* What was read by its number is its own only if it still lives. */
	if (facts_requestor_still(op) == REASON_OK)
		*ret = ids;
	op_free(op);
}
