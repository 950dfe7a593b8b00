/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "whoami.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "facts.h"
#include "gather.h"
#include "manager.h"

#ifndef NS_GET_TGID_IN_PIDNS
#	define NS_GET_TGID_IN_PIDNS _IOR(0xb7, 0x9, int) /* linux/nsfs.h, 6.11 */
#endif

static bool pid_tell(struct op *op, pid_t pid, uint32_t *ret)
{
	int pidns_fd = gather_pidns(op, &op->who), told;

	if (pidns_fd < 0)
		return false;
	told = ioctl(pidns_fd, NS_GET_TGID_IN_PIDNS, pid);
	/* Before 6.11: what is the daemon's own number needs no translation. */
	if (told <= 0 && pidns_fd == op->manager->pidns_fd)
		told = pid;
	if (told <= 0)
		return false;
	*ret = told;
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
