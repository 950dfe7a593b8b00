/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The core's end of the inspector. */
#include "inspect.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "cleanup.h"
#include "devnode.h"
#include "inspect-wire.h"
#include "wire.h"

#define TIMEOUT_SEC 5

struct inspector {
	/* A request and its reply are one thread's, in the order in which they came: who asks often
	 * would take a mutex again before another has woken up, and the loop would wait for ever.
	 */
	pthread_mutex_t lock; /* of the next three */
	pthread_cond_t turns;
	uint64_t last, turn;
	int sock;
	int pidfd;
	pid_t pid;
	uint32_t seq;
};

/* The reply to the request `seq`; `ret_fd` may be NULL where it has none, and `tail` has room. */
static int answer_await(struct inspector *i, uint32_t seq, struct inspect_reply *ret,
	struct wire_tail *tail, int *ret_fd)
{
	const size_t room = tail->size;
	struct inspect_reply reply;

	for (;;) {
		_cleanup_close_ int got = -EBADF;
		int r;

		tail->size = room;
		r = wire_recv_tail(i->sock, &reply, sizeof(reply), tail, &got);
		if (r < 0)
			return r == -EAGAIN ? -ETIMEDOUT : r;
		if (reply.seq != seq)
			continue; /* to somebody who gave up */
		if (reply.result < 0)
			return reply.result;
		if (ret_fd) {
			if (got < 0)
				return -EPROTO;
			*ret_fd = TAKE_FD(got);
		}
		*ret = reply;
		return reply.result;
	}
}

static void turn_take(struct inspector *i)
{
	uint64_t own;

	pthread_mutex_lock(&i->lock);
	own = i->last++;
	while (i->turn != own)
		pthread_cond_wait(&i->turns, &i->lock);
	pthread_mutex_unlock(&i->lock);
}

static void turn_end(struct inspector *i)
{
	pthread_mutex_lock(&i->lock);
	i->turn++;
	pthread_cond_broadcast(&i->turns);
	pthread_mutex_unlock(&i->lock);
}

/* What goes with a question beyond its fixed size, and comes with the answer. */
struct tails {
	struct wire_tail out, in;
};

/* Asks and waits. `ret_fd` may be NULL where the answer has none. */
static int ask_tails(struct inspector *i, struct inspect_request *request, int fd,
	struct tails *tails, struct inspect_reply *ret, int *ret_fd)
{
	int r;

	turn_take(i);
	request->seq = ++i->seq;
	r = wire_send_tail(i->sock, request, sizeof(*request), &tails->out, fd);
	if (r >= 0)
		r = answer_await(i, request->seq, ret, &tails->in, ret_fd);
	else if (r == -EAGAIN)
		r = -ETIMEDOUT;
	turn_end(i);
	return r;
}

static int ask(struct inspector *i, struct inspect_request *request, int fd,
	struct inspect_reply *ret, int *ret_fd)
{
	struct tails none = {0};

	return ask_tails(i, request, fd, &none, ret, ret_fd);
}

int inspector_start(const struct hierarchies *hierarchies, struct inspector **ret)
{
	const struct timeval timeout = {.tv_sec = TIMEOUT_SEC};
	_cleanup_free_ struct inspector *i = calloc(1, sizeof(*i));
	_cleanup_close_ int ours = -EBADF;
	_cleanup_close_ int theirs = -EBADF;
	pid_t parent = getpid();
	int pair[2];

	if (!i)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	if (setsockopt(ours, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
		setsockopt(ours, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
		return -errno;
	i->pid = child_fork();
	if (i->pid == 0)
		inspect_child_run(theirs, parent, hierarchies);
	if (i->pid < 0)
		return i->pid;
	/* Of the default kind these cannot fail. */
	pthread_mutex_init(&i->lock, NULL);
	pthread_cond_init(&i->turns, NULL);
	i->sock = TAKE_FD(ours);
	/* Not reaped yet, so the number is still the child's. Failing that it is ended by its
	 * socket. */
	i->pidfd = pidfd_open(i->pid, 0);
	*ret = TAKE_PTR(i);
	return 0;
}

struct inspector *inspector_free(struct inspector *i)
{
	if (!i)
		return NULL;
	close_fd(&i->sock);
	if (i->pidfd >= 0) {
		/* It keeps nothing that could be lost, and might hang in a question. */
		pidfd_send_signal(i->pidfd, SIGKILL, NULL, 0);
		while (waitid(P_PIDFD, (id_t)i->pidfd, NULL, WEXITED) < 0 && errno == EINTR)
			;
		close_fd(&i->pidfd);
	}
	pthread_cond_destroy(&i->turns);
	pthread_mutex_destroy(&i->lock);
	free(i);
	return NULL;
}

int inspector_pidfd(const struct inspector *i)
{
	return i->pidfd;
}

pid_t inspector_pid(const struct inspector *i)
{
	return i->pid;
}

int inspect_requestor(struct inspector *i, pid_t pid, const struct hierarchy *h, pid_t victim,
	struct requestor_ns *ret)
{
	struct inspect_request request = {
		.op = INSPECT_REQUESTOR,
		.pid = pid,
		.other = victim,
		.number = h ? h->index : INSPECT_NO_HIERARCHY,
	};
	struct inspect_reply reply;
	int r = ask(i, &request, -EBADF, &reply, NULL);

	if (r < 0)
		return r;
	*ret = (struct requestor_ns){
		.own_userns = reply.own_userns,
		.own_pidns = reply.own_pidns,
		.own_cgroupns = reply.own_cgroupns,
		.victim_below = reply.victim_below,
		.root_id = reply.root_id,
	};
	return 0;
}

int inspect_account(struct inspector *i, pid_t pid, uid_t uid, uint64_t *ret)
{
	struct inspect_request request = {.op = INSPECT_ACCOUNT, .pid = pid, .value = uid};
	struct inspect_reply reply;
	int r = ask(i, &request, -EBADF, &reply, NULL);

	if (r < 0)
		return r;
	*ret = reply.number;
	return 0;
}

int inspect_pidns(struct inspector *i, pid_t pid)
{
	struct inspect_request request = {.op = INSPECT_PIDNS, .pid = pid};
	struct inspect_reply reply;
	int fd, r = ask(i, &request, -EBADF, &reply, &fd);

	return r < 0 ? r : fd;
}

static int ask_write(struct inspector *i, int fd, const char *rule, bool lines)
{
	struct inspect_request request = {.op = INSPECT_WRITE, .number = lines};
	struct inspect_reply reply;

	if (strlen(rule) >= sizeof(request.text))
		return -E2BIG;
	strcpy(request.text, rule);
	return fd < 0 ? -EBADF : ask(i, &request, fd, &reply, NULL);
}

int inspect_write_devices(struct inspector *i, int fd, const char *rule)
{
	return ask_write(i, fd, rule, false);
}

int inspect_write_rules(struct inspector *i, int fd, const char *rules)
{
	return ask_write(i, fd, rules, true);
}

int inspect_send_pids(struct inspector *i, int sock, const int32_t *pids, size_t n)
{
	struct inspect_request request = {.op = INSPECT_PIDS};
	struct inspect_reply reply;
	int r;

	request.n = n < INSPECT_PIDS_MAX ? (uint32_t)n : INSPECT_PIDS_MAX;
	memcpy(request.pids, pids, request.n * sizeof(*pids));
	r = sock < 0 ? -EBADF : ask(i, &request, sock, &reply, NULL);
	return r < 0 ? r : reply.result;
}

static int ask_mark(struct inspector *i, enum inspect_op op, int dirfd, enum mark mark)
{
	struct inspect_request request = {.op = op, .number = mark};
	struct inspect_reply reply;

	return dirfd < 0 ? -EBADF : ask(i, &request, dirfd, &reply, NULL);
}

int inspect_mark_set(struct inspector *i, int dirfd, enum mark mark)
{
	return ask_mark(i, INSPECT_MARK_SET, dirfd, mark);
}

int inspect_mark_clear(struct inspector *i, int dirfd, enum mark mark)
{
	return ask_mark(i, INSPECT_MARK_CLEAR, dirfd, mark);
}

int inspect_mark_get(struct inspector *i, int dirfd, enum mark mark)
{
	return ask_mark(i, INSPECT_MARK_GET, dirfd, mark);
}

int inspect_note_set(struct inspector *i, int dirfd, enum note note, uint64_t value)
{
	struct inspect_request request = {.op = INSPECT_NOTE_SET, .number = note, .value = value};
	struct inspect_reply reply;

	return dirfd < 0 ? -EBADF : ask(i, &request, dirfd, &reply, NULL);
}

int inspect_note_get(struct inspector *i, int dirfd, enum note note, uint64_t *ret)
{
	struct inspect_request request = {.op = INSPECT_NOTE_GET, .number = note};
	struct inspect_reply reply;
	int r = dirfd < 0 ? -EBADF : ask(i, &request, dirfd, &reply, NULL);

	if (r > 0)
		*ret = reply.number;
	return r;
}

int inspect_perf_set(struct inspector *i, int dirfd, const char *text)
{
	struct inspect_request request = {.op = INSPECT_PERF_SET};
	struct tails tails = {.out = {(void *)(uintptr_t)text, strlen(text)}};
	struct inspect_reply reply;

	if (tails.out.size > INSPECT_PERF_TEXT_MAX)
		return -E2BIG;
	return dirfd < 0 ? -EBADF : ask_tails(i, &request, dirfd, &tails, &reply, NULL);
}

int inspect_perf_get(struct inspector *i, int dirfd, char ret[INSPECT_PERF_TEXT_MAX + 1])
{
	struct inspect_request request = {.op = INSPECT_PERF_GET};
	struct tails tails = {.in = {ret, INSPECT_PERF_TEXT_MAX}};
	struct inspect_reply reply;
	int r = dirfd < 0 ? -EBADF : ask_tails(i, &request, dirfd, &tails, &reply, NULL);

	if (r >= 0)
		ret[tails.in.size] = '\0';
	return r;
}

int inspect_systemd(struct inspector *i, int dirfd)
{
	struct inspect_request request = {.op = INSPECT_SYSTEMD};
	struct inspect_reply reply;
	struct stat st;

	/* Where it does not run there is nothing to ask. */
	if (dirfd >= 0 && stat("/run/systemd/system", &st) < 0 && errno == ENOENT)
		return 0;
	return dirfd < 0 ? -EBADF : ask(i, &request, dirfd, &reply, NULL);
}

int inspect_victims(struct inspector *i, pid_t pid, const int32_t *victims, size_t n, int32_t *ret)
{
	struct inspect_request request = {.op = INSPECT_VICTIMS, .pid = pid, .n = (uint32_t)n};
	struct inspect_reply reply;
	int r;

	if (n > INSPECT_PIDS_MAX)
		return -E2BIG;
	memcpy(request.pids, victims, n * sizeof(*victims));
	r = ask(i, &request, -EBADF, &reply, NULL);
	if (r >= 0)
		memcpy(ret, reply.pids, n * sizeof(*ret));
	return r;
}

static int ask_translate(
	struct inspector *i, enum inspect_op op, int pidns_fd, int32_t *pids, size_t n)
{
	struct inspect_request request = {.op = op, .n = (uint32_t)n};
	struct inspect_reply reply;
	int r;

	if (n > INSPECT_PIDS_MAX)
		return -E2BIG;
	memcpy(request.pids, pids, n * sizeof(*pids));
	r = pidns_fd < 0 ? -EBADF : ask(i, &request, pidns_fd, &reply, NULL);
	if (r >= 0)
		memcpy(pids, reply.pids, n * sizeof(*pids));
	return r;
}

int inspect_pids_in(struct inspector *i, int pidns_fd, int32_t *pids, size_t n)
{
	return ask_translate(i, INSPECT_PIDS_IN, pidns_fd, pids, n);
}

int inspect_node(struct inspector *i, const struct devnode *node, pid_t *ret_child)
{
	struct inspect_request request = {
		.op = INSPECT_NODE,
		.pid = node->task,
		.other = node->requestor,
		.node = {.remove = node->remove,
			.is_char = node->is_char,
			.major = node->major,
			.minor = node->minor,
			.mode = node->mode,
			.uid = node->uid,
			.gid = node->gid},
	};
	struct inspect_reply reply;
	int fd, r;

	_Static_assert(sizeof(request.node.path) == sizeof(node->path), "one path, one size");
	memcpy(request.node.path, node->path, sizeof(request.node.path));
	r = node->pidfd < 0 ? -EBADF : ask(i, &request, node->pidfd, &reply, &fd);
	if (r < 0)
		return r;
	*ret_child = (pid_t)reply.number;
	return fd;
}

int inspect_pids_from(struct inspector *i, int pidns_fd, int32_t *pids, size_t n)
{
	return ask_translate(i, INSPECT_PIDS_FROM, pidns_fd, pids, n);
}

static int ask_program(
	struct inspector *i, enum inspect_op op, uint32_t id, struct inspect_reply *ret)
{
	struct inspect_request request = {.op = op, .number = id};
	int fd, r = ask(i, &request, -EBADF, ret, &fd);

	return r < 0 ? r : fd;
}

int inspect_program(
	struct inspector *i, uint32_t id, char name[INSPECT_PROGRAM_NAME_MAX], uint32_t *ret_n_maps)
{
	struct inspect_reply reply;
	int fd = ask_program(i, INSPECT_PROGRAM, id, &reply);

	if (fd < 0)
		return fd;
	snprintf(name, INSPECT_PROGRAM_NAME_MAX, "%.*s", INSPECT_PROGRAM_NAME_MAX - 1, reply.text);
	*ret_n_maps = (uint32_t)reply.number;
	return fd;
}

int inspect_program_fd(struct inspector *i, uint32_t id)
{
	struct inspect_reply reply;

	return ask_program(i, INSPECT_PROGRAM_FD, id, &reply);
}

int inspect_program_map(struct inspector *i, uint32_t id)
{
	struct inspect_reply reply;

	return ask_program(i, INSPECT_PROGRAM_MAP, id, &reply);
}
