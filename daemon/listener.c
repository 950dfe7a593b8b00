/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "listener.h"

#ifndef SO_PASSRIGHTS
#	define SO_PASSRIGHTS 83 /* 6.16 */
#endif

#define BACKLOG 4096
/* Who asks to be accepted does not keep those waiting who were. */
#define ACCEPTS_A_WAKE 4
#define PAUSE_USEC 100000

struct listener {
	const struct listener_ops *ops;
	void *userdata;
	struct porters *porters;
	sd_event *event;
	sd_event_source *io, *resume;
	int fd;
	int spare_fd; /* given up for a moment when there is no other fd to accept with */
	/* Of a socket that we made. */
	int lock_fd;
	char *path, *lock_path;
	dev_t dev;
	ino_t ino;
};

static void listener_freep(struct listener **l)
{
	listener_free(*l);
}

static int spare_open(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int on_resume(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct listener *l = userdata;

	(void)source;
	(void)usec;
	l->resume = sd_event_source_disable_unref(l->resume);
	if (l->spare_fd < 0)
		l->spare_fd = spare_open();
	return sd_event_source_set_enabled(l->io, SD_EVENT_ON);
}

static void listener_wait(struct listener *l, uint64_t usec)
{
	uint64_t now;

	if (l->resume || sd_event_now(l->event, CLOCK_MONOTONIC, &now) < 0)
		return;
	if (sd_event_add_time(l->event, &l->resume, CLOCK_MONOTONIC, now + usec, 0, on_resume, l) <
		0)
		return;
	(void)sd_event_source_set_enabled(l->io, SD_EVENT_OFF);
}

/* The queue stays readable while we cannot accept, so a wait is needed or the loop would spin. */
static void listener_pause(struct listener *l)
{
	if (l->spare_fd >= 0) {
		int fd;

		/* Somebody waits: he gets an end of file rather than silence. */
		close(l->spare_fd);
		fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			porters_close(l->porters, UINT64_MAX, fd);
		l->spare_fd = spare_open();
	}
	listener_wait(l, PAUSE_USEC);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct listener *l = userdata;
	uint64_t usec;

	(void)source;
	(void)revents;
	for (unsigned i = 0; i < ACCEPTS_A_WAKE; i++) {
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (client >= 0) {
			l->ops->accepted(l->userdata, client);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
			listener_pause(l);
		/* A client that gave up midway is no reason to stop for the others. */
		else if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO)
			continue;
		break;
	}
	usec = l->ops->pause ? l->ops->pause(l->userdata) : 0;
	if (usec > 0)
		listener_wait(l, usec);
	return 0;
}

static struct listener *listener_alloc(
	sd_event *event, struct porters *porters, const struct listener_ops *ops, void *userdata)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->ops = ops;
	l->userdata = userdata;
	l->porters = porters;
	l->event = sd_event_ref(event);
	l->fd = l->lock_fd = -EBADF;
	l->spare_fd = spare_open();
	return l;
}

/* Connections take this over: until a client has negotiated fds it can send none (since 6.16). */
static void refuse_fds(const struct listener *l)
{
	int off = 0;

	if (!l->ops->takes_fds)
		(void)setsockopt(l->fd, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof(off));
}

static int listener_watch(struct listener *l)
{
	refuse_fds(l);
	if (l->spare_fd < 0)
		return -EMFILE;
	return sd_event_add_io(l->event, &l->io, l->fd, EPOLLIN, on_io, l);
}

/* 1: somebody accepts connections there. 0: nobody does. */
static int served(const struct sockaddr_un *addr)
{
	int fd, r;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* EAGAIN: the queue of whoever serves it is full. EPROTOTYPE: of another kind, but alive.
	 */
	r = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN ||
	    errno == EPROTOTYPE;
	close(fd);
	return r;
}

static int take_lock(struct listener *l)
{
	if (asprintf(&l->lock_path, "%s.lock", l->path) < 0) {
		l->lock_path = NULL;
		return -ENOMEM;
	}
	for (;;) {
		struct stat ours, there;

		l->lock_fd = open(
			l->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
		if (l->lock_fd < 0)
			return -errno;
		if (flock(l->lock_fd, LOCK_EX | LOCK_NB) < 0) {
			int r = errno == EWOULDBLOCK ? -EADDRINUSE : -errno;

			/* Not ours to remove. */
			close(l->lock_fd);
			l->lock_fd = -EBADF;
			return r;
		}
		/* The one before us may have removed the file between our open and our lock. */
		if (fstat(l->lock_fd, &ours) < 0)
			return -errno;
		if (stat(l->lock_path, &there) == 0 && there.st_ino == ours.st_ino &&
			there.st_dev == ours.st_dev)
			return 0;
		close(l->lock_fd);
		l->lock_fd = -EBADF;
	}
}

static int make_parent(const char *path)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (!slash || slash == path)
		return 0;
	if ((size_t)(slash - path) >= sizeof(parent))
		return -ENAMETOOLONG;
	memcpy(parent, path, slash - path);
	parent[slash - path] = '\0';
	if (mkdir(parent, 0755) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

/* Ready to be connected to before it gets its name. */
static int bind_and_rename(struct listener *l, struct sockaddr_un *addr)
{
	struct stat st;
	int n;

	n = snprintf(addr->sun_path, sizeof(addr->sun_path), "%s.new-%d", l->path, (int)getpid());
	if (n < 0 || (size_t)n >= sizeof(addr->sun_path))
		return -ENAMETOOLONG;
	/* Left by an earlier process of our number; whose else, we hold the lock. */
	(void)unlink(addr->sun_path);
	l->fd = socket(AF_UNIX, (l->ops->type ?: SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0 || bind(l->fd, (struct sockaddr *)addr, sizeof(*addr)) < 0)
		return -errno;
	if (chmod(addr->sun_path, 0666) < 0 || stat(addr->sun_path, &st) < 0 ||
		listen(l->fd, BACKLOG) < 0 || rename(addr->sun_path, l->path) < 0) {
		int r = -errno;

		(void)unlink(addr->sun_path);
		return r;
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

int listener_new_path(sd_event *event, struct porters *porters, const char *path,
	const struct listener_ops *ops, void *userdata, struct listener **ret)
{
	__attribute__((cleanup(listener_freep))) struct listener *l = NULL;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct stat st;
	int r;

	if (path[0] != '/')
		return -EINVAL;
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	l = listener_alloc(event, porters, ops, userdata);
	if (!l)
		return -ENOMEM;
	l->path = strdup(path);
	if (!l->path)
		return -ENOMEM;
	r = make_parent(path);
	if (r < 0)
		return r;
	r = take_lock(l);
	if (r < 0)
		return r;
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	strcpy(addr.sun_path, path);
	r = served(&addr);
	if (r != 0)
		return r < 0 ? r : -EADDRINUSE;
	r = bind_and_rename(l, &addr);
	if (r < 0)
		return r;
	r = listener_watch(l);
	if (r < 0)
		return r;
	*ret = l;
	l = NULL;
	return 0;
}

static bool is_listener(int fd)
{
	int domain = -1, type = -1, listening = 0;
	socklen_t n = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && domain == AF_UNIX &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) == 0 && listening;
}

int listener_new_fd(sd_event *event, struct porters *porters, int fd,
	const struct listener_ops *ops, void *userdata, struct listener **ret)
{
	__attribute__((cleanup(listener_freep))) struct listener *l = NULL;
	int r, flags;

	l = listener_alloc(event, porters, ops, userdata);
	if (!l) {
		close(fd);
		return -ENOMEM;
	}
	l->fd = fd;
	if (!is_listener(fd))
		return -EINVAL;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
		fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	r = listener_watch(l);
	if (r < 0)
		return r;
	*ret = l;
	l = NULL;
	return 0;
}

static void remove_socket(struct listener *l)
{
	struct stat st;

	if (l->ino != 0 && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		(void)unlink(l->path);
}

struct listener *listener_free(struct listener *l)
{
	if (!l)
		return NULL;
	sd_event_source_disable_unref(l->io);
	sd_event_source_disable_unref(l->resume);
	sd_event_unref(l->event);
	if (l->lock_fd >= 0)
		remove_socket(l);
	/* With those in its queue that nobody accepted. */
	if (l->fd >= 0)
		porters_bury(l->porters, l->fd);
	if (l->spare_fd >= 0)
		close(l->spare_fd);
	/* Last: until then nobody else takes the path. */
	if (l->lock_fd >= 0) {
		(void)unlink(l->lock_path);
		close(l->lock_fd);
	}
	free(l->lock_path);
	free(l->path);
	free(l);
	return NULL;
}
