/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who connects to LXC's and OCI's sockets: whose account it is, and a worker for it. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "../cleanup.h"
#include "../identity.h"
#include "../listener.h"
#include "../log.h"
#include "../manager.h"
#include "../peer.h"
#include "perf-core.h"

/* *ret has one reference. */
static int account_of(struct perf *p, struct identity *i, struct account **ret)
{
	struct manager *m = p->manager;
	uint64_t number;
	int r = inspect_account(m->inspector, i->pid, i->uid, &number);

	if (r == -EPIPE)
		manager_fail(m, r, "the inspector has ended");
	if (r < 0)
		return r;
	/* Alive now, so it was its number that was asked about. */
	if (!identity_alive(i))
		return -ESRCH;
	*ret = account_get(&m->accounts, number);
	return *ret ? 0 : -ENOMEM;
}

static int connection_new(struct perf *p, enum perf_serve_kind kind, const struct identity *i,
	struct account *account, int fd)
{
	struct perf_life *l;
	int r, slot = -1;

	if (!life_allowed(p, account))
		return -EDQUOT;
	/* An OCI runtime's gets one when a listener has come. */
	if (kind == PERF_SERVE_LXC) {
		slot = life_slot(p, PERF_SLOT_LXC, account);
		if (slot < 0)
			return slot;
	}
	r = life_new(p, kind, account, slot < 0 ? PERF_NO_SLOT : (uint32_t)slot, fd, &l);
	if (r < 0) {
		if (slot >= 0)
			perf_slot_put(p->registry, (unsigned)slot);
		return r;
	}
	l->peer_pid = i->pid;
	l->peer_uid = i->uid;
	life_start(l);
	return 0;
}

/* Takes fd. */
static void accepted(struct perf *p, enum perf_serve_kind kind, int fd)
{
	uint64_t begun = clock_monotonic(), now;
	struct identity i = IDENTITY_NONE;
	struct account *account = NULL;
	struct manager *m = p->manager;
	int r = identity_take(&i, fd, m->proc_fd, m->options->strict);

	if (r >= 0)
		r = account_of(p, &i, &account);
	if (r >= 0)
		r = connection_new(p, kind, &i, account, fd);
	identity_done(&i);
	if (r < 0)
		porters_close(m->porters, account ? account->number : UINT64_MAX, fd);
	if (r < 0 && r != -ESRCH)
		log_limited(LOG_WARNING, account ? account->number : UINT64_MAX,
			"perf: pid %d uid %u was not taken at the %s socket: %s", i.pid, i.uid,
			kind == PERF_SERVE_LXC ? "LXC" : "OCI", strerror(-r));
	if (!account)
		return;
	now = clock_monotonic();
	account_charge_accept(account, now, now - begun);
	account_put(account);
}

static void on_lxc(void *userdata, int fd)
{
	accepted(userdata, PERF_SERVE_LXC, fd);
}

static void on_oci(void *userdata, int fd)
{
	accepted(userdata, PERF_SERVE_OCI, fd);
}

static uint64_t on_pause(void *userdata)
{
	struct perf *p = userdata;

	return peers_pause(p->manager);
}

static const struct listener_ops lxc_ops = {
	.accepted = on_lxc, .pause = on_pause, .type = SOCK_SEQPACKET, .takes_fds = true};
static const struct listener_ops oci_ops = {
	.accepted = on_oci, .pause = on_pause, .takes_fds = true};

static int listen_one(struct perf *p, const char *path, const struct listener_ops *ops,
	const char *whose, struct listener **ret)
{
	struct manager *m = p->manager;
	int r;

	r = listener_new_path(m->event, m->porters, path, ops, p, ret);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		log_line(LOG_WARNING, "%s: %s; %s containers have no perf access by it", path,
			r == -EADDRINUSE ? "another instance serves it" : strerror(-r), whose);
	return 0;
}

int perf_listen(struct perf *p)
{
	const struct options *o = p->manager->options;
	int r = listen_one(p, o->lxc_socket, &lxc_ops, "LXC's", &p->lxc);

	return r < 0 ? r : listen_one(p, o->oci_socket, &oci_ops, "OCI", &p->oci);
}
