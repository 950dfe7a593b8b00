/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "crowd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "measure.h"

#define PIPELINED 64

/* Ping, as the cgmanager interface has it: a head and fields of 8-aligned structs, and an int. */
struct ping {
	unsigned char data[256];
	size_t size;
};

static void put(struct ping *p, const void *data, size_t size)
{
	memcpy(p->data + p->size, data, size);
	p->size += size;
}

static void put_word(struct ping *p, uint32_t word)
{
	put(p, &word, sizeof(word));
}

static void pad(struct ping *p, size_t to)
{
	while (p->size % to)
		p->data[p->size++] = 0;
}

static void put_field(struct ping *p, unsigned char code, char type, const char *value)
{
	const unsigned char head[] = {code, 1, (unsigned char)type, 0};
	unsigned char length = (unsigned char)strlen(value);

	pad(p, 8);
	put(p, head, sizeof(head));
	if (type == 'g')
		put(p, &length, 1);
	else
		put_word(p, length);
	put(p, value, length + 1);
}

static struct ping ping_make(const char *interface, const char *member, bool number)
{
	static const unsigned char head[] = {
		__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 'l' : 'B', 1, 0, 1};
	struct ping p = {.size = 0};
	uint32_t fields;

	put(&p, head, sizeof(head));
	put_word(&p, number ? 4 : 0);
	put_word(&p, 1);
	put_word(&p, 0);
	put_field(&p, 1, 'o', "/org/linuxcontainers/cgmanager");
	put_field(&p, 2, 's', interface);
	put_field(&p, 3, 's', member);
	if (number)
		put_field(&p, 8, 'g', "i");
	fields = (uint32_t)p.size - 16;
	memcpy(p.data + 12, &fields, sizeof(fields));
	pad(&p, 8);
	if (number)
		put_word(&p, 7);
	return p;
}

static struct ping the_ping(void)
{
	return ping_make("org.linuxcontainers.cgmanager0_0", "Ping", true);
}

static int send_all(int fd, const void *data, size_t size)
{
	while (size > 0) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		data = (const char *)data + n;
		size -= (size_t)n;
	}
	return 0;
}

/* A whole message, which is thrown away. */
static int receive(int fd)
{
	unsigned char data[4096];
	uint32_t body, fields;
	size_t want = 16, have = 0;

	while (have < want) {
		ssize_t n = recv(fd, data + have, want - have, 0);

		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		have += (size_t)n;
		if (have != 16 || want != 16)
			continue;
		memcpy(&body, data + 4, sizeof(body));
		memcpy(&fields, data + 12, sizeof(fields));
		want = 16 + ((fields + 7) & ~7U) + body;
		if (want > sizeof(data))
			return -EMSGSIZE;
	}
	return 0;
}

static int dial(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

int crowd_login(const char *path)
{
	static const char begin[] = "\0AUTH ANONYMOUS 78\r\nBEGIN\r\n";
	char line[128];
	size_t n = 0;
	int fd = dial(path);

	if (fd < 0)
		return fd;
	if (send_all(fd, begin, sizeof(begin) - 1) < 0)
		goto refused;
	/* "OK " and the server's id. */
	do {
		if (n == sizeof(line) || recv(fd, line + n, 1, 0) != 1)
			goto refused;
	} while (line[n++] != '\n');
	if (line[0] == 'O')
		return fd;
refused:
	close(fd);
	return -ECONNREFUSED;
}

int crowd_ping(int fd)
{
	struct ping ping = the_ping();
	int r = send_all(fd, ping.data, ping.size);

	return r < 0 ? r : receive(fd);
}

struct crowd {
	struct pollfd *polls;
	size_t *at; /* how far the buffer was sent */
};

static struct crowd crowd_new(unsigned n)
{
	struct crowd c = {calloc(n, sizeof(*c.polls)), calloc(n, sizeof(*c.at))};

	if (!c.polls || !c.at)
		need(-ENOMEM, "a crowd");
	return c;
}

static int join(const char *path, bool login)
{
	int fd;

	/* While the daemon's queue is full there is nothing to be had. */
	while ((fd = login ? crowd_login(path) : dial(path)) < 0)
		usleep(10000);
	need_errno(fcntl(fd, F_SETFL, O_NONBLOCK), "fcntl");
	return fd;
}

/* Sends the buffer over and over, as far as it goes now. False: the connection has ended. */
static bool push(int fd, size_t *at, const unsigned char *data, size_t size)
{
	ssize_t n = send(fd, data + *at, size - *at, MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN;
	*at = (*at + (size_t)n) % size;
	return true;
}

void crowd_flood(const char *path, unsigned n, volatile unsigned *done)
{
	struct ping ping = the_ping();
	struct crowd c = crowd_new(n);
	unsigned char *many = malloc(PIPELINED * ping.size);
	static char sink[65536];

	if (!many)
		need(-ENOMEM, "a flood");
	for (size_t i = 0; i < PIPELINED; i++)
		memcpy(many + i * ping.size, ping.data, ping.size);
	for (unsigned i = 0; i < n; i++)
		c.polls[i] = (struct pollfd){join(path, true), POLLIN | POLLOUT, 0};
	for (;;) {
		(void)poll(c.polls, n, -1);
		for (unsigned i = 0; i < n; i++) {
			int fd = c.polls[i].fd;
			ssize_t got = 0;

			if (c.polls[i].revents & POLLIN)
				got = recv(fd, sink, sizeof(sink), 0);
			/* An answer to Ping has 24 + 8 bytes of fields and no body; near enough. */
			if (got > 0)
				__atomic_fetch_add(done, (unsigned)got / 40, __ATOMIC_RELAXED);
			if (push(fd, &c.at[i], many, PIPELINED * ping.size))
				continue;
			close(fd);
			c.polls[i].fd = join(path, true);
			c.at[i] = 0;
		}
	}
}

void crowd_never_read(const char *path, unsigned n, volatile unsigned *done)
{
	struct ping ask = ping_make("org.freedesktop.DBus.Introspectable", "Introspect", false);
	struct crowd c = crowd_new(n);

	for (unsigned i = 0; i < n; i++) {
		c.polls[i] = (struct pollfd){join(path, true), POLLOUT, 0};
		__atomic_fetch_add(done, 1, __ATOMIC_RELAXED);
	}
	for (;;) {
		(void)poll(c.polls, n, -1);
		for (unsigned i = 0; i < n; i++) {
			if (!c.polls[i].revents ||
				push(c.polls[i].fd, &c.at[i], ask.data, ask.size))
				continue;
			close(c.polls[i].fd);
			c.polls[i].fd = join(path, true);
			c.at[i] = 0;
		}
	}
}

static void half_open(int fd, unsigned i)
{
	static const char *const lines[] = {
		"", "A", "AUTH ANONYMOUS\r\n", "AUTH ANONYMOUS\r\nBEGIN"};
	static const char begin[] = "\0AUTH ANONYMOUS 78\r\nBEGIN\r\n";
	struct ping ping = the_ping();

	if (i % 6 < 4) {
		(void)send(fd, "", 1, MSG_NOSIGNAL);
		(void)send(fd, lines[i % 6], strlen(lines[i % 6]), MSG_NOSIGNAL);
		return;
	}
	(void)send(fd, begin, sizeof(begin) - 1, MSG_NOSIGNAL);
	(void)send(fd, ping.data, i % 6 == 4 ? 9 : ping.size - 1, MSG_NOSIGNAL);
}

void crowd_half_open(const char *path, unsigned n, volatile unsigned *done)
{
	struct crowd c = crowd_new(n);
	char sink[256];

	for (unsigned i = 0; i < n; i++) {
		c.polls[i] = (struct pollfd){join(path, false), POLLIN, 0};
		half_open(c.polls[i].fd, i);
		__atomic_fetch_add(done, 1, __ATOMIC_RELAXED);
	}
	for (;;) {
		(void)poll(c.polls, n, -1);
		for (unsigned i = 0; i < n; i++) {
			if (!c.polls[i].revents || recv(c.polls[i].fd, sink, sizeof(sink), 0) > 0)
				continue;
			close(c.polls[i].fd);
			c.polls[i].fd = join(path, false);
			half_open(c.polls[i].fd, i);
		}
	}
}

void crowd_come_and_go(const char *path, unsigned n, volatile unsigned *done)
{
	for (;;) {
		int fd = dial(path);

		if (fd < 0)
			usleep(1000);
		else
			__atomic_fetch_add(done, 1, __ATOMIC_RELAXED);
		if (n > 0)
			usleep(n);
		if (fd >= 0)
			close(fd);
	}
}

void crowd_idle(const char *path, unsigned n, volatile unsigned *done)
{
	for (unsigned i = 0; i < n; i++) {
		(void)join(path, true);
		__atomic_fetch_add(done, 1, __ATOMIC_RELAXED);
	}
	for (;;)
		pause();
}
