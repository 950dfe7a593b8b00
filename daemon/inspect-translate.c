/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Numbers of processes for kernels that have no ioctl for it, by helpers in the pid namespace.
 *
 * A container sees the helper in its /proc, and if it has the host's uid 0 it can send it signals.
 * So a helper is never dumpable (ptrace(2), and with it most of /proc/PID), lives a second after
 * its last work, and nobody waits for one that was stopped. It is reaped when it ends, whoever ends
 * it: what kills a pid namespace waits for all that are in it. Where a capability is the host's own
 * (a container without a user namespace) that would not do, and there are no helpers: see
 * inspect-scan.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "inspect-core.h"
#include "inspect-helper.h"

/* Below what the core waits for the inspector. */
#define HELPER_TIMEOUT_MSEC 3000

static void helper_end(struct child *c, unsigned i)
{
	struct helper *h = &c->helpers[i];

	close_fd(&h->sock);
	/* One that was stopped does not see that. It reaps itself: we ignore SIGCHLD. */
	pidfd_send_signal(h->pidfd, SIGKILL, NULL, 0);
	close_fd(&h->pidfd);
	c->helpers[i] = c->helpers[--c->n_helpers];
}

void helpers_expire(struct child *c)
{
	uint64_t now = c->n_helpers > 0 ? monotonic_msec() : 0;

	for (unsigned i = c->n_helpers; i-- > 0;)
		if (now - c->helpers[i].used >= HELPER_IDLE_MSEC)
			helper_end(c, i);
}

/*
 * Parts of a process' /proc that everybody may read are no business of a container's either: the
 * host's sockets (net/) and mounts (mountinfo, which shows those below the process' root). So we,
 * whose copy a helper is, do without them from the first helper on.
 */
static int isolate(struct child *c)
{
	if (c->isolated)
		return 0;
	/* EINVAL: the kernel has no network namespaces. */
	if (unshare(CLONE_NEWNET) < 0 && errno != EINVAL)
		return -errno;
	/* A directory with nothing mounted below it. */
	if (fchdir(c->proc_fd) < 0 || chroot("self/fdinfo") < 0 || chdir("/") < 0)
		return -errno;
	c->isolated = true;
	return 0;
}

/* By clone(2), so that the pidfd is surely its own: it may end, and reap itself, at once. Not
 * clone3(2), which systemd's RestrictNamespaces= refuses, for no filter sees its flags. */
static int helper_fork(int sock)
{
	const unsigned long flags = CLONE_PIDFD | SIGCHLD;
	int pidfd = -EBADF;
#ifdef __s390__
	long pid = syscall(SYS_clone, NULL, flags, &pidfd, NULL, 0);
#else
	long pid = syscall(SYS_clone, flags, NULL, &pidfd, NULL, 0);
#endif

	if (pid == 0)
		helper_run(sock);
	return pid < 0 ? -errno : pidfd;
}

/* In the namespace, whose init has ended if that gives -ENOMEM (pid_namespaces(7)). */
static int helper_fork_in(struct child *c, int pidns_fd, int sock)
{
	int r;

	if (setns(pidns_fd, CLONE_NEWPID) < 0)
		return -errno;
	r = helper_fork(sock);
	if (setns(c->pidns_fd, CLONE_NEWPID) < 0)
		_exit(1); /* every later child would be in there */
	return r;
}

static int helper_start(struct child *c, int pidns_fd, const struct ns_id *id)
{
	static const int on = 1;
	_cleanup_close_ int ours = -EBADF;
	_cleanup_close_ int theirs = -EBADF;
	int pair[2], pidfd;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	for (int i = 0; i < 2; i++)
		if (setsockopt(pair[i], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
			return -errno;
	pidfd = isolate(c);
	if (pidfd >= 0)
		pidfd = helper_fork_in(c, pidns_fd, theirs);
	if (pidfd < 0)
		return pidfd;
	c->helpers[c->n_helpers++] =
		(struct helper){.id = *id, .sock = TAKE_FD(ours), .pidfd = pidfd};
	return 0;
}

/* Its place in the list. One that lives holds its namespace, so the number is that one's. */
static int helper_find(struct child *c, int pidns_fd)
{
	struct ns_id id = {0};
	unsigned oldest = 0;
	int r = pidns_fd < 0 ? -EBADF : ns_of_fd(pidns_fd, &id);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < c->n_helpers; i++) {
		if (ns_same(&c->helpers[i].id, &id))
			return (int)i;
		if (c->helpers[i].used < c->helpers[oldest].used)
			oldest = i;
	}
	if (c->n_helpers == HELPERS_MAX)
		helper_end(c, oldest);
	r = helper_start(c, pidns_fd, &id);
	return r < 0 ? r : (int)c->n_helpers - 1;
}

static int exchange(const struct channel *ch, const struct inspect_request *q, int32_t *ret)
{
	struct order order = {.op = TO_NAMESPACE, .n = q->n};
	int r;

	if (q->op == INSPECT_PIDS_FROM) {
		order.op = TO_HOST;
		memcpy(order.pids, q->pids, q->n * sizeof(*q->pids));
		r = order_send(ch, &order);
		return r < 0 ? r : creds_receive(ch, ret);
	}
	r = order_send(ch, &order);
	if (r >= 0)
		r = creds_send(ch, q->pids, q->n);
	if (r >= 0)
		r = order_receive(ch, &order);
	if (r >= 0)
		memcpy(ret, order.pids, sizeof(order.pids));
	return r;
}

static int translate(struct child *c, const struct inspect_request *q, int pidns_fd, int32_t *ret)
{
	struct channel ch = {.until = monotonic_msec() + HELPER_TIMEOUT_MSEC};
	int at = helper_find(c, pidns_fd), r;

	if (at < 0)
		return at;
	ch.sock = c->helpers[at].sock;
	ch.pidfd = c->helpers[at].pidfd;
	r = exchange(&ch, q, ret);
	if (r < 0)
		helper_end(c, (unsigned)at);
	else
		c->helpers[at].used = monotonic_msec();
	return r;
}

int answer_translate(
	struct child *c, const struct inspect_request *q, int pidns_fd, struct inspect_reply *reply)
{
	struct ns_id container;
	int r;

	if (q->n > INSPECT_PIDS_MAX)
		return -EINVAL;
	r = pidns_container(c, fcntl(pidns_fd, F_DUPFD_CLOEXEC, 3), &container);
	if (r < 0)
		return r;
	if (r > 0)
		return answer_scan(c, q, pidns_fd, reply);
	r = translate(c, q, pidns_fd, reply->pids);
	/* It was kept and has been killed meanwhile. */
	if (r == -EPIPE)
		r = translate(c, q, pidns_fd, reply->pids);
	return r == -EPIPE ? -ESRCH : r;
}
