/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The core's end: systemd's fd store, or the keeper process. */
#include "keeper-wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "../cleanup.h"
#include "../log.h"
#include "../wire.h"
#include "spawner.h"

/* It serves one daemon at a time; who starts does not wait long to learn that it has one. */
#define GREET_SEC 1
#define ANSWER_SEC 5
#define NAME_MAX_ 16

struct keeper {
	bool systemd;
	/* The process, if it is not systemd. */
	struct spawner *spawner;
	struct sockaddr_un address;
	int sock; /* -EBADF: there is none, until something is to be kept */
	uint64_t number;
	int registry;
	bool told; /* that it cannot be had */
};

/*
 * systemd's store: what is in there comes back under its name when the daemon is started again.
 */

static void slot_name(unsigned slot, char name[NAME_MAX_])
{
	if (slot == KEEPER_SLOT_REGISTRY)
		snprintf(name, NAME_MAX_, "registry");
	else
		snprintf(name, NAME_MAX_, "slot-%u", slot);
}

/* -1: it is none of ours. */
static int slot_named(const char *name)
{
	char own[NAME_MAX_];

	for (unsigned i = 0; i <= PERF_SLOTS_MAX; i++) {
		slot_name(i, own);
		if (strcmp(name, own) == 0)
			return (int)i;
	}
	return -1;
}

static bool is_store_there(void)
{
	const char *max = getenv("FDSTORE");

	return getenv("NOTIFY_SOCKET") && max && strtoul(max, NULL, 10) > 0;
}

static int store_drop(unsigned slot)
{
	char name[NAME_MAX_];
	int r;

	slot_name(slot, name);
	r = sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
	return r < 0 ? r : 0;
}

/* It keeps all of a name: an earlier one goes first. */
static int store_put(unsigned slot, int fd)
{
	char name[NAME_MAX_], text[64];
	int r = store_drop(slot);

	if (r < 0)
		return r;
	slot_name(slot, name);
	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s", name);
	r = sd_pid_notify_with_fds(0, 0, text, &fd, 1);
	return r < 0 ? r : 0;
}

static void take(unsigned slot, int fd, int *ret_registry, int listener[PERF_SLOTS_MAX])
{
	int *to = slot == KEEPER_SLOT_REGISTRY ? ret_registry : &listener[slot];

	close_fd(to);
	*to = fd;
}

static int store_take(int *ret_registry, int listener[PERF_SLOTS_MAX])
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(0, &names);

	for (int i = 0; i < n; i++) {
		int slot = slot_named(names[i]);

		if (slot >= 0)
			take((unsigned)slot, SD_LISTEN_FDS_START + i, ret_registry, listener);
		free(names[i]);
	}
	free(names);
	return n < 0 ? n : 0;
}

bool keeper_inherited(const char *name)
{
	return slot_named(name) >= 0;
}

void keeper_disown(const char *name)
{
	int slot = slot_named(name);

	if (slot >= 0)
		(void)store_drop((unsigned)slot);
}

/*
 * The process: one question.
 */

static int timeout_set(int sock, time_t seconds)
{
	const struct timeval timeout = {.tv_sec = seconds};

	return setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
			       setsockopt(
				       sock, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0
		       ? -errno
		       : 0;
}

static int reply_get(const struct keeper *k, struct keeper_reply *ret, int *ret_fd)
{
	int r = wire_recv(k->sock, ret, sizeof(*ret), ret_fd);

	return r == -EAGAIN ? -ETIMEDOUT : r;
}

static int request_put(const struct keeper *k, enum keeper_op op, unsigned slot, int fd)
{
	const struct keeper_request q = {.number = k->number, .op = op, .slot = slot};
	int r = wire_send(k->sock, &q, sizeof(q), fd);

	return r == -EAGAIN ? -ETIMEDOUT : r;
}

/* The socket is of no use after what is no answer, and is closed. */
static int ask(struct keeper *k, enum keeper_op op, unsigned slot, int fd)
{
	_cleanup_close_ int none = -EBADF;
	struct keeper_reply reply;
	int r = request_put(k, op, slot, fd);

	if (r == 0)
		r = reply_get(k, &reply, &none);
	if (r == 0)
		return reply.result;
	close_fd(&k->sock);
	return r;
}

static int ask_all(struct keeper *k, int *ret_registry, int listener[PERF_SLOTS_MAX])
{
	int r = request_put(k, KEEPER_TAKE, 0, -EBADF);

	while (r == 0) {
		_cleanup_close_ int fd = -EBADF;
		struct keeper_reply reply;

		r = reply_get(k, &reply, &fd);
		if (r == 0 && reply.slot == KEEPER_SLOT_END)
			return reply.result;
		if (r == 0 && (fd < 0 || reply.slot > KEEPER_SLOT_REGISTRY))
			r = -EPROTO;
		if (r == 0)
			take(reply.slot, TAKE_FD(fd), ret_registry, listener);
	}
	return r;
}

/*
 * The process: to find it, or to begin it.
 */

/* -ECONNREFUSED, -ENOENT: there is none. */
static int process_connect(struct keeper *k)
{
	int r;

	k->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (k->sock < 0)
		return -errno;
	r = timeout_set(k->sock, GREET_SEC);
	if (r == 0 && connect(k->sock, (struct sockaddr *)&k->address, sizeof(k->address)) < 0)
		r = errno == EAGAIN ? -EBUSY : -errno;
	if (r < 0)
		close_fd(&k->sock);
	return r;
}

/* -EBUSY: it has another daemon. -ECONNREFUSED: it ended just now. */
static int process_greet(struct keeper *k)
{
	_cleanup_close_ int none = -EBADF;
	struct keeper_reply hello;
	int r = reply_get(k, &hello, &none);

	if (r == 0)
		r = timeout_set(k->sock, ANSWER_SEC);
	if (r == 0) {
		k->number = hello.number;
		return 0;
	}
	close_fd(&k->sock);
	if (r == -EPIPE)
		return -ECONNREFUSED;
	return r == -ETIMEDOUT ? -EBUSY : r;
}

/* The directory, root's own and nobody else's to enter. Returns its fd. */
static int folder_open(const char *path)
{
	_cleanup_free_ char *folder = strdup(path);
	_cleanup_close_ int fd = -EBADF;
	char *end = folder ? strrchr(folder, '/') : NULL;
	struct stat st;

	if (!end || end == folder)
		return folder ? -EINVAL : -ENOMEM;
	*end = '\0';
	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return st.st_uid == 0 && !(st.st_mode & 077) ? TAKE_FD(fd) : -EPERM;
}

static int process_listen(const struct keeper *k)
{
	_cleanup_close_ int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return -errno;
	if (unlink(k->address.sun_path) < 0 && errno != ENOENT)
		return -errno;
	if (bind(sock, (const struct sockaddr *)&k->address, sizeof(k->address)) < 0 ||
		listen(sock, 8) < 0)
		return -errno;
	return TAKE_FD(sock);
}

/* We are in its queue before it runs, so that it does not end at once. */
static int process_begin(struct keeper *k)
{
	_cleanup_close_ int folder = folder_open(k->address.sun_path);
	_cleanup_close_ int sock = -EBADF;
	int r = folder < 0 ? folder : 0;

	/* Two daemons do not both find none and each take the other's name away. */
	if (r == 0 && flock(folder, LOCK_EX | LOCK_NB) < 0)
		r = errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (r < 0)
		return r;
	r = process_connect(k);
	if (r == 0) {
		/* Another daemon's, since we started: its slots are not ours. */
		close_fd(&k->sock);
		return -EBUSY;
	}
	if (r != -ECONNREFUSED && r != -ENOENT)
		return r;
	sock = process_listen(k);
	r = sock < 0 ? sock : process_connect(k);
	if (r == 0)
		r = spawn_keeper(k->spawner, sock);
	/* While it has that, nobody else is to accept there. */
	close_fd(&sock);
	if (r == 0)
		r = process_greet(k);
	if (r == 0 && k->registry >= 0)
		r = ask(k, KEEPER_REGISTRY, 0, k->registry);
	return r;
}

/* It may have been killed meanwhile: once more then, with a new one. */
static int process_put(struct keeper *k, unsigned slot, int fd)
{
	int r = k->sock >= 0 ? ask(k, KEEPER_STORE, slot, fd) : -EPIPE;

	if (r == -EPIPE)
		r = process_begin(k);
	else
		return r;
	return r == 0 ? ask(k, KEEPER_STORE, slot, fd) : r;
}

static int process_open(
	struct keeper *k, const char *path, int *ret_registry, int listener[PERF_SLOTS_MAX])
{
	int r;

	if (strlen(path) >= sizeof(k->address.sun_path))
		return -ENAMETOOLONG;
	k->address.sun_family = AF_UNIX;
	strcpy(k->address.sun_path, path);
	r = process_connect(k);
	if (r == 0)
		r = process_greet(k);
	if (r == -ECONNREFUSED || r == -ENOENT)
		return 0;
	return r == 0 ? ask_all(k, ret_registry, listener) : r;
}

/*
 * Either.
 */

int keeper_open(struct spawner *spawner, const char *path, struct keeper **ret, int *ret_registry,
	int listener[PERF_SLOTS_MAX])
{
	struct keeper *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	*ret_registry = -EBADF;
	for (unsigned i = 0; i < PERF_SLOTS_MAX; i++)
		listener[i] = -EBADF;
	k->systemd = is_store_there();
	k->spawner = spawner;
	k->sock = k->registry = -EBADF;
	r = k->systemd ? store_take(ret_registry, listener)
		       : process_open(k, path, ret_registry, listener);
	if (r == 0 && *ret_registry >= 0)
		k->registry = fcntl(*ret_registry, F_DUPFD_CLOEXEC, 3);
	if (r == 0) {
		*ret = k;
		return 0;
	}
	keeper_free(k);
	close_fd(ret_registry);
	for (unsigned i = 0; i < PERF_SLOTS_MAX; i++)
		close_fd(&listener[i]);
	return r;
}

struct keeper *keeper_free(struct keeper *k)
{
	if (!k)
		return NULL;
	close_fd(&k->sock);
	close_fd(&k->registry);
	free(k);
	return NULL;
}

static int told(struct keeper *k, int r)
{
	if (r < 0 && !k->told)
		log_line(LOG_WARNING, "perf: %s: %s; listeners will not outlive the daemon",
			k->systemd ? "systemd's store" : k->address.sun_path, strerror(-r));
	k->told = r < 0;
	return r;
}

int keeper_store_registry(struct keeper *k, int fd)
{
	if (!k)
		return 0;
	close_fd(&k->registry);
	k->registry = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (k->registry < 0)
		return -errno;
	if (k->systemd)
		return told(k, store_put(KEEPER_SLOT_REGISTRY, fd));
	/* With the first listener, if there is nobody yet: alone it is of no use. */
	return k->sock < 0 ? 0 : told(k, ask(k, KEEPER_REGISTRY, 0, fd));
}

int keeper_store(struct keeper *k, unsigned slot, int listener)
{
	if (!k)
		return 0;
	return told(k, k->systemd ? store_put(slot, listener) : process_put(k, slot, listener));
}

int keeper_drop(struct keeper *k, unsigned slot)
{
	if (!k)
		return 0;
	if (k->systemd)
		return told(k, store_drop(slot));
	return k->sock < 0 ? 0 : told(k, ask(k, KEEPER_DROP, slot, -EBADF));
}
