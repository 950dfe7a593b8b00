/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "twin.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cases.h"

#define RECORD_MAX 65536

static const struct twin twins[] = {
	{"Create", 0, "existed", "i"},
	{"Chown", 2, "done", ""},
	{"Chmod", 0, "done", ""},
	{"GetPidCgroup", 1, "text", "s"},
	{"GetPidCgroupAbs", 1, "text", "s"},
	{"MovePid", 1, "done", ""},
	{"MovePidAbs", 1, "done", ""},
	{"GetValue", 0, "text", "s"},
	{"SetValue", 0, "done", ""},
	{"Remove", 0, "existed", "i"},
	{"GetTasks", 0, "pids", "ai"},
	{"GetTasksRecursive", 0, "pids", "ai"},
	{"ListChildren", 0, "names", "as"},
	{"RemoveOnEmpty", 0, "done", ""},
	{"Prune", 0, "done", ""},
	{"ListKeys", 0, "keys", "a(suuu)"},
};

const struct twin *twin_find(const char *member)
{
	for (size_t i = 0; i < sizeof(twins) / sizeof(twins[0]); i++)
		if (strcmp(twins[i].member, member) == 0)
			return &twins[i];
	return NULL;
}

struct end {
	int fd, type;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* One record, or of a stream what is there of `size` bytes; 0: an empty one or the end. */
static ssize_t take_record(const struct end *e, void *data, size_t size, struct ucred *ret_creds)
{
	struct pollfd ready = {.fd = e->fd, .events = POLLIN};
	char control[CMSG_SPACE(sizeof(struct ucred))] = {};
	struct msghdr m = {.msg_iov = &(struct iovec){data, size},
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *cmsg;
	ssize_t n;

	if (poll(&ready, 1, CALL_SECONDS * 1000) <= 0) {
		warnx("nothing came on the socket");
		return -1;
	}
	n = recvmsg(e->fd, &m, MSG_CMSG_CLOEXEC);
	if (n < 0) {
		warn("recvmsg");
		return -1;
	}
	if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		warnx("a record was longer than %zu bytes, or carried more than credentials", size);
		return -1;
	}
	cmsg = CMSG_FIRSTHDR(&m);
	if (ret_creds && n > 0) {
		if (!cmsg || cmsg->cmsg_type != SCM_CREDENTIALS) {
			warnx("a record came without credentials");
			return -1;
		}
		memcpy(ret_creds, CMSG_DATA(cmsg), sizeof(*ret_creds));
	}
	return n;
}

/* Exactly this much: one record, or so much of the stream. */
static int take_exactly(const struct end *e, void *data, size_t size, struct ucred *ret_creds)
{
	size_t done = 0;
	ssize_t n;

	do {
		n = take_record(e, (char *)data + done, size - done, ret_creds);
		if (n <= 0)
			break;
		done += n;
	} while (e->type == SOCK_STREAM && done < size);
	if (done == size)
		return 0;
	warnx("%zu bytes came where %zu should", done, size);
	return -1;
}

/* Nothing comes after the result; where a socket can tell, it is closed. */
static int take_end(const struct end *e)
{
	char byte;

	if (e->type != SOCK_DGRAM)
		return take_record(e, &byte, 1, NULL) == 0 ? 0 : -1;
	if (recv(e->fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN)
		return 0;
	warnx("something came after the result");
	return -1;
}

/* 0 sent; 1: the kernel does not let us send that; -1 */
static int send_ids(const struct end *e, struct ucred ids)
{
	char control[CMSG_SPACE(sizeof(ids))] = {};
	char byte = 'p';
	struct msghdr m = {.msg_iov = &(struct iovec){&byte, 1},
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&m);

	*cmsg = (struct cmsghdr){CMSG_LEN(sizeof(ids)), SOL_SOCKET, SCM_CREDENTIALS};
	memcpy(CMSG_DATA(cmsg), &ids, sizeof(ids));
	if (sendmsg(e->fd, &m, MSG_NOSIGNAL) == 1)
		return 0;
	if (errno == ESRCH || errno == EPERM || errno == EINVAL) {
		/* Who waits for it learns at once that nothing will come: of others by their end.
		 */
		if (e->type == SOCK_DGRAM && send(e->fd, "", 0, MSG_NOSIGNAL) < 0)
			warn("sending an empty datagram");
		return 1;
	}
	warn("sending credentials");
	return -1;
}

static void refuse(struct answer *ret)
{
	*ret = (struct answer){.error = strdup(INVALID_ARGS), .message = strdup("refused")};
}

static int take_byte(const struct end *e, const char *result, struct answer *ret)
{
	char byte;

	if (take_exactly(e, &byte, 1, NULL) < 0)
		return -1;
	if (byte == '0') {
		refuse(ret);
		return 0;
	}
	if (strcmp(result, "existed") == 0 && (byte == '1' || byte == '2')) {
		bytes_u32(&ret->body, byte == '2' ? 1 : -1);
		return 0;
	}
	if (byte == '1')
		return 0;
	warnx("the result is the byte %#x", byte);
	return -1;
}

static int take_text(const struct end *e, struct answer *ret)
{
	static char text[RECORD_MAX];
	size_t done = 0;
	ssize_t n;

	do {
		n = take_record(e, text + done, sizeof(text) - done, NULL);
		if (n < 0)
			return -1;
		done += n;
	} while (e->type == SOCK_STREAM && n > 0 && text[done - 1] != '\0');
	if (done == 0) {
		refuse(ret);
		return 0;
	}
	if (strnlen(text, done) != done - 1) {
		warnx("the text does not end in one NUL");
		return -1;
	}
	bytes_string(&ret->body, text);
	return 0;
}

static int take_pids(const struct end *e, int32_t count, struct answer *ret)
{
	struct array a = bytes_array(&ret->body, 'i');

	for (int32_t i = 0; i < count; i++) {
		struct ucred ids;
		char byte;

		if (take_exactly(e, &byte, 1, &ids) < 0)
			return -1;
		bytes_u32(&ret->body, ids.pid);
	}
	bytes_array_end(&ret->body, a);
	return 0;
}

/* `name\nuid\ngid\nmode\n`, without the last newline. */
static int put_key(struct bytes *b, char *text)
{
	const char *name = strsep(&text, "\n");

	bytes_align(b, 8);
	bytes_string(b, name);
	for (int i = 0; i < 3; i++) {
		char *number = strsep(&text, "\n"), *end;

		if (!number)
			return -1;
		/* An id that is not mapped is -1, however that is written. */
		bytes_u32(b, strtoll(number, &end, 10));
		if (end == number || *end)
			return -1;
	}
	return !text || !*text ? 0 : -1;
}

static int take_names(const struct end *e, int32_t count, bool keys, struct answer *ret)
{
	static char text[RECORD_MAX + 1];
	struct array a = bytes_array(&ret->body, keys ? '(' : 's');
	uint32_t length = 0;
	size_t at = 0;

	if (count > 0 && take_exactly(e, &length, sizeof(length), NULL) < 0)
		return -1;
	if (length > RECORD_MAX || (length && take_exactly(e, text, length, NULL) < 0))
		return -1;
	text[length] = '\0';
	for (int32_t i = 0; i < count; i++) {
		size_t next = at + strlen(text + at) + 1;

		if (at >= length || (keys && put_key(&ret->body, text + at) < 0)) {
			warnx("name %d of %d is missing or malformed", i, count);
			return -1;
		}
		if (!keys)
			bytes_string(&ret->body, text + at);
		at = next;
	}
	bytes_array_end(&ret->body, a);
	/* NUL-separated: the last one may have its NUL or not. */
	if (count == 0 || at == length || at == length + 1)
		return 0;
	warnx("%u bytes of names are %zu", length, at);
	return -1;
}

/* Of none, a length of 0 may follow the count or not. */
static int take_end_of_none(const struct end *e)
{
	uint32_t length = 0;
	ssize_t n;

	if (e->type == SOCK_DGRAM)
		return 0;
	n = take_record(e, &length, sizeof(length), NULL);
	if (n == 4 && length == 0)
		n = take_record(e, &length, sizeof(length), NULL);
	return n == 0 ? 0 : -1;
}

static int take_result(const struct end *e, const struct twin *twin, struct answer *ret)
{
	bool names = strcmp(twin->result, "names") == 0, keys = strcmp(twin->result, "keys") == 0;
	int32_t count;
	int r;

	*ret = (struct answer){};
	if (strcmp(twin->result, "done") == 0 || strcmp(twin->result, "existed") == 0) {
		r = take_byte(e, twin->result, ret);
	} else if (strcmp(twin->result, "text") == 0) {
		r = take_text(e, ret);
		if (ret->error)
			return r;
	} else {
		if (take_exactly(e, &count, sizeof(count), NULL) < 0)
			return -1;
		if (count < 0)
			refuse(ret);
		if (count <= 0 && (names || keys)) {
			if (count == 0)
				bytes_array_end(
					&ret->body, bytes_array(&ret->body, keys ? '(' : 's'));
			return take_end_of_none(e);
		}
		r = count < 0	    ? 0
		    : names || keys ? take_names(e, count, keys, ret)
				    : take_pids(e, count, ret);
	}
	return r < 0 ? r : take_end(e);
}

/* 0: go on; 1: refused already; -1 */
static int take_turn(const struct end *e)
{
	char byte;
	ssize_t n = take_record(e, &byte, 1, NULL);

	if (n == 1 && byte == '1')
		return 0;
	if (n == 0 || (n == 1 && byte == '0'))
		return 1;
	warnx("there was no '1' to ask for credentials");
	return -1;
}

static int run_exchange(
	const struct end *e, const struct call *plain, const struct twin *twin, struct answer *ret)
{
	const struct value *ids = &plain->values[plain->n_values - twin->ids];
	struct ucred self = {getpid(), geteuid(), getegid()}, victim = self;
	int r = take_turn(e);

	if (r == 0)
		r = send_ids(e, self);
	if (r == 0 && twin->ids) {
		if (twin->ids == 1)
			victim.pid = ids[0].number;
		else
			victim = (struct ucred){self.pid, ids[0].number, ids[1].number};
		r = take_turn(e);
		if (r == 0)
			r = send_ids(e, victim);
	}
	if (r == 1)
		refuse(ret);
	return r ? (r < 0 ? -1 : 0) : take_result(e, twin, ret);
}

int twin_call(struct connection *c, const struct call *plain, const struct twin *twin, int type,
	struct answer *ret)
{
	__attribute__((cleanup(close_fd))) int ours = -1, theirs = -1;
	__attribute__((cleanup(answer_done))) struct answer first = {}, result = {};
	struct call call = *plain;
	char member[64], signature[16];
	int pair[2], one = 1, r;

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
		err(1, "socketpair");
	ours = pair[0];
	theirs = pair[1];
	setsockopt(ours, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
	snprintf(member, sizeof(member), "%sScm", plain->member);
	call.n_values -= twin->ids;
	snprintf(signature, sizeof(signature), "%.*sh", (int)call.n_values, plain->signature);
	call.member = member;
	call.signature = signature;
	call.values[call.n_values++] = (struct value){.type = 'h', .number = theirs};
	if (connection_call(c, &call, &first) < 0)
		return -1;
	close(theirs);
	theirs = -1;
	if (first.error) {
		*ret = first;
		first = (struct answer){};
		return 0;
	}
	if (*first.signature || first.body.size) {
		warnx("the D-Bus reply is not empty");
		return -1;
	}
	r = run_exchange(&(struct end){ours, type}, plain, twin, &result);
	if (r < 0)
		return r;
	if (!result.error)
		result.signature = strdup(twin->out);
	*ret = result;
	result = (struct answer){};
	return 0;
}
