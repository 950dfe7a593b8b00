/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What porters say to the core, and when: the core's own end with porters that say whatever the
 * input wants, end when it wants, and are given whatever the core's callers do. See step().
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../daemon/cleanup.h"
#include "../../daemon/porter-core.h"
#include "../../daemon/zygote.h"
#include "clock.h"
#include "fuzz.h"

#define PORTERS_MAX 16
#define SLOTS_MAX 16
#define USEC_A_STEP 100000

/* A porter's own end. */
static struct child {
	int channel, end;
} children[PORTERS_MAX];

/* What somebody in the core waits for or has. */
static struct slot {
	struct judging *judging;
	struct passed *passed;
	bool receiving;
} slots[SLOTS_MAX];

static struct porters *porters;
static sd_event *event;
static unsigned n_children;

/* In the place of the daemon's, which has a process to ask. */
int zygote_fork(struct zygote *z, int *ret_channel, int *ret_pidfd)
{
	struct child *c = &children[n_children];
	int fds[2];

	(void)z;
	if (n_children == PORTERS_MAX)
		return -ETIMEDOUT;
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	c->end = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(c->end >= 0);
	c->channel = fds[1];
	*ret_channel = fds[0];
	*ret_pidfd = fcntl(c->end, F_DUPFD_CLOEXEC, 0);
	CHECK(*ret_pidfd >= 0);
	n_children++;
	return 0;
}

static void on_judged(void *userdata, int result, struct passed *passed)
{
	struct slot *s = userdata;

	CHECK(s->judging && !s->passed);
	CHECK(result == 1 ? passed && passed_fd(passed) >= 0 : result <= 0 && !passed);
	s->judging = NULL;
	s->passed = passed;
}

static void on_received(void *userdata, int result, const struct ucred *creds)
{
	struct slot *s = userdata;

	CHECK(s->passed && s->receiving);
	CHECK(result < 0 || creds);
	s->receiving = false;
}

/* A socket that somebody might have passed. */
static int socket_new(void)
{
	int fds[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	close(fds[1]);
	return fds[0];
}

static void judge(struct slot *s, uint8_t account)
{
	_cleanup_close_ int conn = socket_new();

	if (!s->judging && !s->passed)
		(void)porters_judge(porters, account % 3, conn, 1, on_judged, s, &s->judging);
}

static void receive(struct slot *s, uint8_t rounds)
{
	int r;

	if (!s->passed)
		return;
	r = passed_receive(s->passed, rounds % 4, 2 * USEC_A_STEP, on_received, s);
	CHECK(!s->receiving || r < 0);
	s->receiving |= r == 0;
}

static void release(struct slot *s)
{
	s->judging = judging_cancel(s->judging);
	s->passed = passed_free(s->passed);
	s->receiving = false;
}

static bool send_with(int sock, const void *data, size_t size, int fd, int flags)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {};
	struct iovec iov = {(void *)data, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL | flags) == (ssize_t)size;
}

/* Closes a connection in which that is unread which `what` says. Whatever was passed in it must
 * not go with it: nobody is hung up on. */
static void close_conn(uint8_t what)
{
	_cleanup_close_ int ours = -EBADF;
	_cleanup_close_ int passed = -EBADF;
	_cleanup_close_ int other = -EBADF;
	struct pollfd poll_other = {.events = POLLIN};
	bool sent = false;
	int fds[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	passed = fds[0];
	other = poll_other.fd = fds[1];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	ours = fds[0];
	for (unsigned i = 0; i < 4; i++, what >>= 2)
		switch (what & 3) {
		case 1:
			send_with(ours, "data", 4, -EBADF, 0);
			break;
		case 2:
			sent |= send_with(ours, "o", 1, passed, MSG_OOB);
			break;
		case 3:
			sent |= send_with(ours, "fd", 2, passed, 0);
		}
	close_fd(&passed);
	porters_close(porters, 0, fds[1]);
	CHECK(!sent || poll(&poll_other, 1, 0) == 0);
}

static void child_send(struct child *c, const void *data, size_t size, bool with_fd)
{
	_cleanup_close_ int fd = with_fd ? socket_new() : -EBADF;

	if (c->channel >= 0)
		send_with(c->channel, data, size, fd, 0);
}

static void child_reply(struct child *c, struct input *in)
{
	struct porter_reply reply = {
		.id = input_byte(in),
		.result = (int8_t)input_byte(in),
	};
	uint8_t flags = input_byte(in);

	reply.tainted = flags & 1;
	reply.kind = flags >> 2;
	child_send(c, &reply, sizeof(reply), flags & 2);
}

static void child_say(struct child *c, struct input *in)
{
	size_t size = input_byte(in);

	if (size > in->left)
		size = in->left;
	child_send(c, in->at, size, size & 1);
	in->at += size;
	in->left -= size;
}

/* Takes what it was sent, and the fds with it. */
static void child_read(struct child *c)
{
	struct porter_request q;
	int fd;

	while (c->channel >= 0) {
		union {
			struct cmsghdr header;
			char space[CMSG_SPACE(sizeof(int))];
		} control;
		struct iovec iov = {&q, sizeof(q)};
		struct msghdr msg = {.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control)};

		if (recvmsg(c->channel, &msg, MSG_CMSG_CLOEXEC) <= 0)
			return;
		CHECK(q.op <= PORTER_HOLD);
		if (msg.msg_controllen == 0)
			continue;
		memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
		close(fd);
	}
}

static void child_end(struct child *c)
{
	uint64_t one = 1;

	close_fd(&c->channel);
	if (c->end >= 0)
		CHECK(write(c->end, &one, sizeof(one)) == sizeof(one));
	close_fd(&c->end);
}

static void run(void)
{
	int r = 1;

	for (unsigned i = 0; i < 10000 && r > 0; i++) {
		r = sd_event_run(event, 0);
		CHECK(r >= 0);
	}
	CHECK(r == 0);
}

static void step(struct input *in)
{
	char what = (char)input_byte(in);
	uint8_t which = input_byte(in);
	struct slot *s = &slots[which % SLOTS_MAX];
	struct child *c = &children[n_children > 0 ? which % n_children : 0];

	if (strchr("pqde", what) && n_children == 0)
		return;
	switch (what) {
	case 'j':
		judge(s, input_byte(in));
		break;
	case 'v':
		receive(s, input_byte(in));
		break;
	case 'f':
		release(s);
		break;
	case 'b':
		porters_bury(porters, socket_new());
		break;
	case 'c':
		close_conn(which);
		break;
	case 'p':
		child_reply(c, in);
		break;
	case 'q':
		child_say(c, in);
		break;
	case 'd':
		child_read(c);
		break;
	case 'e':
		child_end(c);
		break;
	case 't':
		clock_skip((uint64_t)which * USEC_A_STEP);
		break;
	default:
		run();
	}
}

static void finish(void)
{
	run();
	for (unsigned i = 0; i < SLOTS_MAX; i++)
		release(&slots[i]);
	/* What nobody could be told to hold stays open for ever, but for this. */
	for (struct burial *b = porters->unburied; b; b = b->next)
		close_fd(&b->fd);
	porters = porters_free(porters);
	event = sd_event_unref(event);
	for (unsigned i = 0; i < n_children; i++) {
		close_fd(&children[i].channel);
		close_fd(&children[i].end);
	}
	n_children = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint64_t before = fuzz_fds();

	clock_reset();
	CHECK(sd_event_new(&event) >= 0);
	CHECK(porters_new(event, NULL, &porters) >= 0);
	while (in.left > 0)
		step(&in);
	finish();
	CHECK(fuzz_fds() == before);
	return 0;
}
