/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "facts.h"
#include "gather.h"
#include "inspect.h"
#include "manager.h"
#include "peer.h"
#include "proc.h"

char gather_text[GATHER_TEXT_MAX];

enum reason gather_error(int r)
{
	switch (r) {
	case -ESRCH:
		return REASON_REQUESTOR_GONE;
	case -ENOENT: /* an ancestor of its cgroup, so the cgroup too */
		return REASON_REQUESTOR_REMOVED;
	default:
		return REASON_INTERNAL;
	}
}

/* See facts.h for the order: always before the rest. By number: the pidfd is polled before the act.
 */
static int caps_gather(struct party *p)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
		.pid = p->identity->pid,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	struct subject *s = &p->subject;

	if (s->have & FACT_CAPS)
		return 0;
	if (syscall(SYS_capget, &head, data) < 0)
		return -errno;
	s->caps = data[0].effective | (uint64_t)data[1].effective << 32;
	s->have |= FACT_CAPS;
	return 0;
}

static int groups_gather(struct party *p)
{
	static struct proc_status status;
	struct subject *s = &p->subject;
	int proc_fd, r;

	if (s->have & FACT_GROUPS)
		return 0;
	proc_fd = identity_proc(p->identity);
	r = proc_fd < 0 ? proc_fd : proc_status_read(proc_fd, &status);
	if (r < 0)
		return r;
	s->n_groups = status.n_groups;
	s->groups_cut = status.groups_cut;
	memcpy(s->groups, status.groups, status.n_groups * sizeof(status.groups[0]));
	s->have |= FACT_GROUPS;
	return 0;
}

static int maps_gather(struct party *p)
{
	int proc_fd = identity_proc(p->identity), r;
	struct subject *s = &p->subject;

	if (proc_fd < 0)
		return proc_fd;
	r = caps_gather(p);
	if (r >= 0)
		r = proc_idmap_read(proc_fd, "uid_map", &s->uid_map);
	if (r >= 0)
		r = proc_idmap_read(proc_fd, "gid_map", &s->gid_map);
	if (r >= 0)
		s->have |= FACT_MAPS;
	return r;
}

struct standing *party_standing(const struct op *op, const struct party *p, struct target *t)
{
	return p == &op->who ? &t->who : t->proxy;
}

int gather_ns(struct op *op, struct party *p, struct target *t)
{
	struct requestor_ns ns;
	int r = 0;

	/* Where one of the two facts counts together with capabilities: host root, and a victim. */
	if (p->subject.uid == 0 || op->victim_pid > 0)
		r = caps_gather(p);
	if (r >= 0)
		r = inspect_requestor(op->manager->inspector, p->identity->pid, t ? t->h : NULL,
			op->victim_pid, &ns);
	if (r == -EPIPE)
		manager_fail(op->manager, r, "the inspector has ended");
	if (r < 0)
		return r;
	if (op->victim_pid > 0) {
		p->victim.below_userns = ns.victim_below;
		p->victim.have |= FACT_VICTIM_NS;
	}
	p->subject.own_userns = ns.own_userns;
	p->subject.own_pidns = ns.own_pidns;
	p->subject.own_cgroupns = ns.own_cgroupns;
	p->subject.have |= FACT_NS;
	if (t) {
		struct standing *s = party_standing(op, p, t);

		s->root_id = ns.root_id;
		s->have_root = true;
	}
	return 0;
}

int gather_subject(struct op *op, struct party *p, struct target *t, unsigned need)
{
	int r = 0;

	if (need & FACT_CAPS)
		r = caps_gather(p);
	if (r >= 0 && (need & FACT_GROUPS))
		r = groups_gather(p);
	if (r >= 0 && (need & FACT_MAPS))
		r = maps_gather(p);
	if (r >= 0 && ((need & (FACT_ROOT | FACT_VICTIM_NS)) ||
			      ((need & FACT_NS) && !(p->subject.have & FACT_NS))))
		r = gather_ns(op, p, t);
	return r;
}

int gather_host_root(struct op *op, struct party *p, struct target *t, bool *ret)
{
	for (;;) {
		unsigned need = 0;
		enum tri is = subject_is_host_root(&p->subject, &need);
		int r;

		if (is != UNKNOWN) {
			*ret = is == YES;
			return 0;
		}
		r = gather_subject(op, p, t, need);
		if (r < 0)
			return r;
	}
}

bool facts_host_root(struct op *op)
{
	bool is = false;

	return gather_host_root(op, &op->who, NULL, &is) >= 0 && is &&
	       facts_requestor_still(op) == REASON_OK;
}

static enum reason party_still(const struct party *p)
{
	switch (identity_check(p->identity)) {
	case 0:
		return REASON_OK;
	case -EPERM:
		return REASON_REQUESTOR_CHANGED;
	default:
		return REASON_REQUESTOR_GONE;
	}
}

enum reason facts_requestor_still(const struct op *op)
{
	enum reason reason = party_still(&op->who);

	return reason == REASON_OK && op->proxy ? party_still(op->proxy) : reason;
}
