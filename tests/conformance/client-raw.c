/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A socket and nothing else; the option is the byte order, `l` or `B`. */
#include <endian.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client.h"

#define TYPE_CALL 1
#define TYPE_RETURN 2
#define TYPE_ERROR 3
#define FLAG_NO_REPLY 1
#define FIELD_PATH 1
#define FIELD_INTERFACE 2
#define FIELD_MEMBER 3
#define FIELD_ERROR 4
#define FIELD_REPLY_SERIAL 5
#define FIELD_SIGNATURE 8
#define FIELD_FDS 9
#define FIXED_HEADER 16

struct connection {
	int fd;
	uint32_t serial;
	bool big, fds; /* fds: they were agreed to */
};

static int read_exactly(int fd, void *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		ssize_t n = 0;

		if (poll(&ready, 1, CALL_SECONDS * 1000) > 0)
			n = read(fd, (char *)data + done, size - done);
		if (n <= 0) {
			warnx("the connection ended, or nothing came");
			return -1;
		}
		done += n;
	}
	return 0;
}

/* -1: nothing came. Else whether the answer begins with what is wanted. */
static int say(int fd, const char *line, size_t size, const char *wanted)
{
	char answer[128];
	size_t n = 0;

	if (write(fd, line, size) != (ssize_t)size)
		return -1;
	do
		if (n + 1 >= sizeof(answer) || read_exactly(fd, &answer[n++], 1) < 0)
			return -1;
	while (answer[n - 1] != '\n');
	return strncmp(answer, wanted, strlen(wanted)) == 0;
}

static int authenticate(struct connection *c)
{
	static const char hello[] = "\0AUTH EXTERNAL 30\r\n", fds[] = "NEGOTIATE_UNIX_FD\r\n",
			  begin[] = "BEGIN\r\n";
	int r;

	if (say(c->fd, hello, sizeof(hello) - 1, "OK ") <= 0)
		return -1;
	r = say(c->fd, fds, sizeof(fds) - 1, "AGREE_UNIX_FD");
	if (r < 0)
		return -1;
	c->fds = r;
	return write(c->fd, begin, sizeof(begin) - 1) == sizeof(begin) - 1 ? 0 : -1;
}

struct connection *connection_open(const char *address, const char *option)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct connection *c = calloc(1, sizeof(*c));

	if (!c)
		err(1, "calloc");
	c->big = option && *option == 'B';
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", strchr(address, '=') + 1);
	if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0 || authenticate(c) < 0) {
		warn("%s", to.sun_path);
		connection_close(c);
		return NULL;
	}
	return c;
}

void connection_close(struct connection *c)
{
	close(c->fd);
	free(c);
}

static void put_value(struct bytes *b, const struct value *v, uint32_t *fds)
{
	struct array a;

	switch (v->type) {
	case 'i':
		bytes_u32(b, v->number);
		break;
	case 'x':
		bytes_u64(b, v->number);
		break;
	case 'h':
		bytes_u32(b, (*fds)++);
		break;
	case 'a':
		a = bytes_array(b, 's');
		bytes_string(b, v->text);
		bytes_array_end(b, a);
		break;
	case 'v':
		bytes_signature(b, "s");
		bytes_string(b, v->text);
		break;
	default:
		bytes_string(b, v->text);
	}
}

static void put_field(struct bytes *b, uint8_t code, const char *type, const char *text)
{
	bytes_align(b, 8);
	bytes_put(b, &code, 1);
	bytes_signature(b, type);
	if (*type == 'g')
		bytes_signature(b, text);
	else
		bytes_string(b, text);
}

static void put_message(struct connection *c, const struct call *call, struct bytes *b)
{
	uint8_t head[4] = {c->big ? 'B' : 'l', TYPE_CALL, call->no_reply ? FLAG_NO_REPLY : 0, 1};
	struct bytes body = {.big = c->big};
	uint32_t fds = 0;
	struct array fields;

	for (size_t i = 0; i < call->n_values; i++)
		put_value(&body, &call->values[i], &fds);
	bytes_put(b, head, sizeof(head));
	bytes_u32(b, body.size);
	bytes_u32(b, ++c->serial);
	fields = bytes_array(b, '(');
	put_field(b, FIELD_PATH, "o", call->path);
	if (call->interface)
		put_field(b, FIELD_INTERFACE, "s", call->interface);
	put_field(b, FIELD_MEMBER, "s", call->member);
	if (*call->signature)
		put_field(b, FIELD_SIGNATURE, "g", call->signature);
	if (fds) {
		uint8_t code = FIELD_FDS;

		bytes_align(b, 8);
		bytes_put(b, &code, 1);
		bytes_signature(b, "u");
		bytes_u32(b, fds);
	}
	bytes_array_end(b, fields);
	bytes_align(b, 8);
	bytes_put(b, body.data, body.size);
	bytes_done(&body);
}

static int send_message(struct connection *c, const struct call *call)
{
	__attribute__((cleanup(bytes_done))) struct bytes b = {.big = c->big};
	char control[CMSG_SPACE(sizeof(int))] = {};
	struct msghdr m = {.msg_iov = &(struct iovec){}, .msg_iovlen = 1};
	struct cmsghdr *cmsg;

	put_message(c, call, &b);
	*m.msg_iov = (struct iovec){b.data, b.size};
	for (size_t i = 0; i < call->n_values; i++) {
		int fd = call->values[i].number;

		if (call->values[i].type != 'h')
			continue;
		if (!c->fds)
			return -1;
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		cmsg = CMSG_FIRSTHDR(&m);
		*cmsg = (struct cmsghdr){CMSG_LEN(sizeof(fd)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	}
	return sendmsg(c->fd, &m, MSG_NOSIGNAL) == (ssize_t)b.size ? 0 : -1;
}

static uint32_t number_at(const uint8_t *at, bool big)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return big ? be32toh(value) : le32toh(value);
}

struct header {
	uint8_t type;
	uint32_t reply_to;
	const char *error, *signature;
};

/* The fields of a well-formed header; others end the program, for no daemon of ours sends them. */
static void read_fields(const uint8_t *data, size_t size, bool big, struct header *ret)
{
	for (size_t at = FIXED_HEADER; at < size;) {
		uint8_t code = data[at];
		char type = data[at + 2];

		if (data[at + 1] != 1 || !strchr("sogu", type))
			errx(1, "a header field has the type %c", type);
		at += 4;
		at += type == 'g' ? 0 : -at % 4;
		if (code == FIELD_REPLY_SERIAL)
			ret->reply_to = number_at(data + at, big);
		else if (code == FIELD_ERROR)
			ret->error = (const char *)data + at + 4;
		else if (code == FIELD_SIGNATURE)
			ret->signature = (const char *)data + at + 1;
		if (type == 'u')
			at += 4;
		else
			at += type == 'g' ? data[at] + 2u : 4 + number_at(data + at, big) + 1;
		at += -at % 8;
	}
}

/* The next message: the bytes of its header, which `header` points into, and its body. */
static int read_message(int fd, struct bytes *head, struct header *header, struct bytes *body)
{
	uint8_t fixed[FIXED_HEADER];
	uint32_t fields;
	bool big;

	if (read_exactly(fd, fixed, sizeof(fixed)) < 0)
		return -1;
	big = fixed[0] == 'B';
	fields = number_at(fixed + 12, big);
	fields += -fields % 8;
	bytes_put(head, fixed, sizeof(fixed));
	for (uint32_t i = 0; i < fields; i++)
		bytes_put(head, "", 1);
	*header = (struct header){.type = fixed[1], .signature = ""};
	*body = (struct bytes){.size = number_at(fixed + 4, big), .big = big};
	body->data = malloc(body->size + 1);
	if (!body->data)
		err(1, "malloc");
	if (read_exactly(fd, head->data + FIXED_HEADER, fields) < 0 ||
		read_exactly(fd, body->data, body->size) < 0)
		return -1;
	read_fields(head->data, FIXED_HEADER + number_at(fixed + 12, big), big, header);
	return 0;
}

static int to_answer(const struct header *header, const struct bytes *body, struct answer *ret)
{
	struct texts texts = {};

	if (header->type == TYPE_ERROR) {
		if (texts_from(header->signature, body, &texts) < 0)
			return -1;
		*ret = (struct answer){.error = strdup(header->error),
			.message = strdup(texts.n ? texts.items[0] : "")};
		texts_done(&texts);
		return 0;
	}
	*ret = (struct answer){.signature = strdup(header->signature)};
	if (!body->big) {
		bytes_put(&ret->body, body->data, body->size);
		return 0;
	}
	return bytes_swap(header->signature, body, &ret->body);
}

int connection_call(struct connection *c, const struct call *call, struct answer *ret)
{
	if (send_message(c, call) < 0) {
		warn("%s", call->member);
		return -1;
	}
	if (call->no_reply) {
		*ret = (struct answer){};
		return 0;
	}
	for (;;) {
		__attribute__((cleanup(bytes_done))) struct bytes head = {}, body = {};
		struct header header;

		if (read_message(c->fd, &head, &header, &body) < 0)
			return -1;
		if (header.reply_to == c->serial)
			return to_answer(&header, &body, ret);
		/* Nobody asked: an answer to a call that wanted none. */
		warnx("%s: a message came that belongs to %u", call->member, header.reply_to);
		return -1;
	}
}
