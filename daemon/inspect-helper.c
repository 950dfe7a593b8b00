/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How numbers travel as credentials, and the helper that does nothing else. */
#include "inspect-helper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How often the inspector looks whether the helper was stopped: it may be in a container that has
 * the host's uid 0, whose root can send it signals. */
#define SLICE_MSEC 10

/* In place of a place: the list ends. */
#define LIST_END UINT32_MAX

/* Packets of one turn: a full list and its end. */
#define PARCEL_MAX (INSPECT_PIDS_MAX + 1)

struct parcel {
	unsigned n;
	struct mmsghdr msgs[PARCEL_MAX];
	struct iovec iov[PARCEL_MAX];
	uint32_t at[PARCEL_MAX];
	union {
		char space[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control[PARCEL_MAX];
};

uint64_t monotonic_msec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Or ended. */
static bool stopped(int pidfd)
{
	siginfo_t info = {0};
	int r = waitid(P_PIDFD, (id_t)pidfd, &info, WSTOPPED | WNOHANG | WNOWAIT);

	return r < 0 || info.si_pid != 0;
}

static int channel_wait(const struct channel *ch, short events)
{
	struct pollfd p = {.fd = ch->sock, .events = events};

	for (;;) {
		int r = poll(&p, 1, ch->pidfd >= 0 ? SLICE_MSEC : -1);

		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (ch->pidfd >= 0 && stopped(ch->pidfd))
			return -ESRCH;
		if (ch->pidfd >= 0 && monotonic_msec() >= ch->until)
			return -ETIMEDOUT;
	}
}

/* 0: try again. */
static int wait_or_fail(const struct channel *ch, short events)
{
	switch (errno) {
	case EINTR:
		return 0;
	case EAGAIN:
		return channel_wait(ch, events);
	case ECONNRESET:
		return -EPIPE;
	default:
		return -errno;
	}
}

int order_send(const struct channel *ch, const struct order *order)
{
	while (send(ch->sock, order, sizeof(*order), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		int r = wait_or_fail(ch, POLLOUT);

		if (r < 0)
			return r;
	}
	return 0;
}

int order_receive(const struct channel *ch, struct order *ret)
{
	struct order order;
	ssize_t n;

	while ((n = recv(ch->sock, &order, sizeof(order), MSG_DONTWAIT)) < 0) {
		int r = wait_or_fail(ch, POLLIN);

		if (r < 0)
			return r;
	}
	if (n == 0)
		return -EPIPE;
	if ((size_t)n != sizeof(order) || order.n > INSPECT_PIDS_MAX)
		return -EPROTO;
	*ret = order;
	return 0;
}

/* Room for one more packet, with `control` bytes beside it. */
static struct msghdr *parcel_add(struct parcel *p, size_t control)
{
	unsigned i = p->n++;
	struct msghdr *msg = &p->msgs[i].msg_hdr;

	p->iov[i] = (struct iovec){.iov_base = &p->at[i], .iov_len = sizeof(p->at[i])};
	*msg = (struct msghdr){.msg_iov = &p->iov[i], .msg_iovlen = 1};
	if (control > 0) {
		msg->msg_control = p->control[i].space;
		msg->msg_controllen = control;
	}
	return msg;
}

static void parcel_add_pid(struct parcel *p, uint32_t at, int32_t pid)
{
	const struct ucred cred = {.pid = pid};
	struct msghdr *msg;
	struct cmsghdr *c;

	p->at[p->n] = at;
	msg = parcel_add(p, sizeof(p->control[0].space));
	c = CMSG_FIRSTHDR(msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_CREDENTIALS;
	c->cmsg_len = CMSG_LEN(sizeof(cred));
	memcpy(CMSG_DATA(c), &cred, sizeof(cred));
}

int creds_send(const struct channel *ch, const int32_t *pids, uint32_t n)
{
	struct parcel p = {0};
	unsigned done = 0;

	for (uint32_t i = 0; i < n; i++)
		if (pids[i] > 0)
			parcel_add_pid(&p, i, pids[i]);
	p.at[p.n] = LIST_END;
	parcel_add(&p, 0);
	while (done < p.n) {
		int r = sendmmsg(ch->sock, p.msgs + done, p.n - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		/* Only said of the first: there is no such process. */
		if (r < 0 && errno == ESRCH)
			r = 1;
		else if (r < 0)
			r = wait_or_fail(ch, POLLOUT);
		if (r < 0)
			return r;
		done += (unsigned)r;
	}
	return 0;
}

static int32_t credentials(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	struct ucred cred;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS ||
		c->cmsg_len != CMSG_LEN(sizeof(cred)))
		return 0;
	memcpy(&cred, CMSG_DATA(c), sizeof(cred));
	return cred.pid;
}

/* 1: the list has ended. */
static int parcel_read(struct parcel *p, unsigned received, int32_t *pids)
{
	for (unsigned i = 0; i < received; i++) {
		if (p->msgs[i].msg_len == 0)
			return -EPIPE;
		if (p->msgs[i].msg_len != sizeof(p->at[i]))
			return -EPROTO;
		if (p->at[i] == LIST_END)
			return 1;
		if (p->at[i] >= INSPECT_PIDS_MAX)
			return -EPROTO;
		pids[p->at[i]] = credentials(&p->msgs[i].msg_hdr);
	}
	return 0;
}

int creds_receive(const struct channel *ch, int32_t *ret)
{
	int32_t pids[INSPECT_PIDS_MAX] = {0};
	int r = 0;

	while (r == 0) {
		struct parcel p = {0};

		while (p.n < PARCEL_MAX)
			parcel_add(&p, sizeof(p.control[0].space));
		r = recvmmsg(ch->sock, p.msgs, p.n, MSG_DONTWAIT, NULL);
		r = r >= 0 ? parcel_read(&p, (unsigned)r, pids) : wait_or_fail(ch, POLLIN);
	}
	if (r < 0)
		return r;
	memcpy(ret, pids, sizeof(pids));
	return 0;
}

/* To name others in credentials takes CAP_SYS_ADMIN over the pid namespace, and nothing more. */
static int rights_reduce(void)
{
	static const cap_value_t kept = CAP_SYS_ADMIN;
	cap_t want = cap_init();
	int r = 0;

	if (!want)
		return -errno;
	if (cap_set_flag(want, CAP_PERMITTED, 1, &kept, CAP_SET) < 0 ||
		cap_set_flag(want, CAP_EFFECTIVE, 1, &kept, CAP_SET) < 0 || cap_set_proc(want) < 0)
		r = -errno;
	cap_free(want);
	return r;
}

static int helper_init(int sock)
{
	sigset_t every;

	sigfillset(&every);
	/* No fd but its socket, which becomes the first. */
	if (sigprocmask(SIG_SETMASK, &every, NULL) < 0 || (sock != 0 && dup2(sock, 0) < 0))
		return -errno;
	closefrom(1);
	prctl(PR_SET_NAME, "cgmd-pidns");
	/* It would end by the socket as well. Its parent has no number here that could be compared.
	 */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	return rights_reduce();
}

_Noreturn void helper_run(int sock)
{
	const struct channel ch = {.sock = 0, .pidfd = -EBADF};
	int r = helper_init(sock);

	while (r == 0) {
		struct order order;

		r = order_receive(&ch, &order);
		if (r < 0)
			break;
		if (order.op == TO_HOST) {
			r = creds_send(&ch, order.pids, order.n);
			continue;
		}
		r = creds_receive(&ch, order.pids);
		if (r == 0)
			r = order_send(&ch, &order);
	}
	_exit(r < 0);
}
