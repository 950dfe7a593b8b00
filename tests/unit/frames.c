/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <arpa/inet.h>
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "frames.h"

void put_u32(unsigned char *p, uint32_t v, bool big)
{
	v = big ? htobe32(v) : htole32(v);
	memcpy(p, &v, sizeof(v));
}

static size_t put_field(
	unsigned char *p, size_t at, char code, char type, const char *text, bool big)
{
	size_t n = strlen(text);

	at = (at + 7) & ~(size_t)7;
	p[at] = code;
	p[at + 1] = 1;
	p[at + 2] = type;
	p[at + 3] = 0;
	put_u32(p + at + 4, n, big);
	memcpy(p + at + 8, text, n + 1);
	return at + 8 + n + 1;
}

/* A method call with a body of `body` zero bytes, which no signature speaks of when it is 0. */
size_t make_call(unsigned char *p, uint32_t serial, bool big)
{
	size_t at = 16;

	memset(p, 0, 256);
	p[0] = big ? 'B' : 'l';
	p[1] = 1;
	p[3] = 1;
	put_u32(p + 8, serial, big);
	at = put_field(p, at, 1, 'o', "/", big);
	at = put_field(p, at, 2, 's', "org.freedesktop.DBus.Peer", big);
	at = put_field(p, at, 3, 's', "Ping", big);
	put_u32(p + 12, at - 16, big);
	return (at + 7) & ~(size_t)7;
}

size_t make_call_fds(unsigned char *p, uint32_t serial, uint32_t n_fds)
{
	size_t n = make_call(p, serial, false);

	/* The header's other fields end where this one may begin. */
	memcpy(p + n, "\x09\x01u\0", 4);
	put_u32(p + n + 4, n_fds, false);
	put_u32(p + 12, n + 8 - 16, false);
	return n + 8;
}

ssize_t send_fds(int sock, const void *data, size_t size, const int *fds, size_t n_fds, int flags)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(FRAME_FDS_MAX * sizeof(int))];
	} control = {};
	struct iovec iov = {(void *)(uintptr_t)data, size};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(n_fds * sizeof(int))};

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(&control.header), fds, n_fds * sizeof(int));
	return sendmsg(sock, &msg, MSG_NOSIGNAL | flags);
}

int lingering_open(struct lingering *ret)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct linger option = {.l_onoff = 1, .l_linger = 65535};
	socklen_t n = sizeof(addr);
	char buf[4096] = {0};
	int size = 4096, listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ours = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(listening, (struct sockaddr *)&addr, n) < 0 ||
		setsockopt(listening, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) < 0 ||
		listen(listening, 1) < 0 ||
		getsockname(listening, (struct sockaddr *)&addr, &n) < 0 ||
		connect(ours, (struct sockaddr *)&addr, n) < 0 ||
		setsockopt(ours, SOL_SOCKET, SO_LINGER, &option, sizeof(option)) < 0)
		return -errno;
	ret->ours = ours;
	ret->peer = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	close(listening);
	while (send(ours, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	return ret->peer < 0 ? -errno : 0;
}

unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	closedir(d);
	return n;
}

#define PATIENCE_SEC 100

static volatile sig_atomic_t patience_over;

static void on_alarm(int sig)
{
	static const char text[] = "SIGALRM: this test waits for what does not come\n";
	int saved = errno;

	(void)sig;
	patience_over = 1;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		patience_over = 2;
	errno = saved;
}

static void alarm_set(time_t first, time_t then)
{
	const struct itimerval timer = {.it_value.tv_sec = first, .it_interval.tv_sec = then};

	(void)setitimer(ITIMER_REAL, &timer, NULL);
}

void patience_begin(void)
{
	/* Without SA_RESTART */
	const struct sigaction action = {.sa_handler = on_alarm};

	patience_over = 0;
	(void)sigaction(SIGALRM, &action, NULL);
	/* Again and again, for what is waited for may be several. */
	alarm_set(PATIENCE_SEC, 1);
}

bool patience_is_over(void)
{
	return patience_over;
}

bool patience_end(void)
{
	alarm_set(0, 0);
	return patience_over;
}
