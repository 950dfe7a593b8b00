/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The zygote's own end: forks porters, which are as bare as it is. */
#include "porter-wire.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "cleanup.h"
#include "sandbox.h"
#include "wire.h"

struct zygote_child {
	pid_t pid;
	int proc; /* a /proc, for the porters */
	bool confined;
	struct sock_fprog filter; /* the porters' */
};

/* What porters send goes out with these credentials, perhaps to somebody whom a client chose: they
 * must mean nothing to anybody. systemd's UIDS-GIDS.md: no user ever gets this uid. */
#define NOBODY 65535

static int ids_drop(void)
{
	/* A test without root. */
	if (geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
		setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return -errno;
	return 0;
}

static int caps_drop(void)
{
	cap_t none = cap_init();
	int r;

	if (!none)
		return -errno;
	cap_reset_ambient();
	r = cap_set_proc(none) < 0 ? -errno : 0;
	cap_free(none);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	return r;
}

/* All that it could do beyond what everybody can. */
static int rights_drop(void)
{
	int r;

	/* The bounding set needs CAP_SETPCAP, and matters only to what executes. */
	for (cap_value_t cap = 0; cap_get_bound(cap) >= 0; cap++)
		if (cap_drop_bound(cap) < 0)
			break;
	r = ids_drop();
	return r < 0 ? r : caps_drop();
}

/* Dies with its parent; after the credentials, for a change of these can take it back. */
static int follow(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	return getppid() == parent ? 0 : -EPIPE;
}

/* Its socket becomes 3, /proc 4, all behind them is closed. */
static int fds_reduce(int *sock, int *proc)
{
	int first = *sock;

	if (*proc < 4) {
		*proc = fcntl(*proc, F_DUPFD_CLOEXEC, 5);
		if (*proc < 0)
			return -errno;
	}
	if ((first != 3 && dup2(first, 3) < 0) || (*proc != 4 && dup2(*proc, 4) < 0))
		return -errno;
	closefrom(5);
	*sock = 3;
	*proc = 4;
	return 0;
}

static int confine(struct zygote_child *z)
{
	struct sock_fprog own = {0};
	int r = sandbox_porter(&z->filter);

	if (r == 0)
		r = sandbox_zygote(&own);
	if (r == 0)
		r = sandbox_load(&own);
	free(own.filter);
	/* A kernel without filters: as the core does, do without. */
	if (r == -EOPNOTSUPP)
		return 0;
	z->confined = r == 0;
	return r;
}

static int zygote_init(struct zygote_child *z, int *sock, pid_t parent, bool confined)
{
	int r;

	prctl(PR_SET_NAME, "cgmd-porter");
	z->pid = getpid();
	z->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = z->proc < 0 ? -errno : child_signals();
	if (r == 0)
		r = fds_reduce(sock, &z->proc);
	if (r == 0)
		r = chdir("/") < 0 ? -errno : 0;
	if (r == 0)
		r = rights_drop();
	if (r == 0)
		r = follow(parent);
	if (r == 0 && confined)
		r = confine(z);
	return r;
}

static _Noreturn void porter_start(struct zygote_child *z, int sock)
{
	if (follow(z->pid) < 0 || fds_reduce(&sock, &z->proc) < 0)
		_exit(1);
	if (z->confined && sandbox_load(&z->filter) < 0)
		_exit(1);
	porter_run(sock, z->proc);
}

/* By clone(2), so that the pidfd is surely its own: nobody reaps it before. Not clone3(2), which
 * systemd's RestrictNamespaces= refuses, for no filter sees its flags. */
static int fork_porter(struct zygote_child *z, int sock, int *ret_pidfd)
{
	int pidfd = -EBADF;
#ifdef __s390__
	long pid = syscall(SYS_clone, NULL, SANDBOX_ZYGOTE_CLONE, &pidfd, NULL, 0);
#else
	long pid = syscall(SYS_clone, SANDBOX_ZYGOTE_CLONE, NULL, &pidfd, NULL, 0);
#endif

	if (pid == 0)
		porter_start(z, sock);
	if (pid < 0)
		return -errno;
	*ret_pidfd = pidfd;
	return 0;
}

_Noreturn void zygote_run(int sock, pid_t parent, bool confined)
{
	static struct zygote_child z;

	if (zygote_init(&z, &sock, parent, confined) < 0)
		_exit(1);
	for (;;) {
		_cleanup_close_ int fd = -EBADF;
		_cleanup_close_ int pidfd = -EBADF;
		struct fork_request q;
		struct fork_reply reply = {.result = -EPROTO};
		int r;

		if (wire_recv(sock, &q, sizeof(q), &fd) < 0)
			break;
		reply.seq = q.seq;
		if (fd >= 0)
			reply.result = fork_porter(&z, fd, &pidfd);
		/* While nothing is in it that could be the last of its kind. */
		close_fd(&fd);
		r = wire_send(sock, &reply, sizeof(reply), pidfd);
		if (r < 0 && r != -EPIPE) {
			/* Root's others may have too many fds in flight. Its channel is closed: it
			 * ends. */
			reply.result = r == -EAGAIN ? -ENOBUFS : r;
			r = wire_send(sock, &reply, sizeof(reply), -EBADF);
		}
		if (r < 0)
			break;
	}
	_exit(0);
}
