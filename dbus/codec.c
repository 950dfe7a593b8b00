/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "codec.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* An argument's name is the name of its field. */
static const struct {
	const char *name;
	char type;
	size_t offset;
} fields[] = {
#define FIELD(name, type)                                   \
	{                                                   \
#		name, type, offsetof(struct request, name) \
	}
	FIELD(controller, 's'),
	FIELD(cgroup, 's'),
	FIELD(file, 's'),
	FIELD(key, 's'),
	FIELD(value, 's'),
	FIELD(pid, 'i'),
	FIELD(uid, 'i'),
	FIELD(gid, 'i'),
	FIELD(mode, 'i'),
	FIELD(recursive, 'i'),
	FIELD(junk, 'i'),
	FIELD(sockfd, 'h'),
#undef FIELD
};

static void *request_field(struct request *request, const char *name, char type)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (fields[i].type == type && strcmp(fields[i].name, name) == 0)
			return (char *)request + fields[i].offset;
	return NULL;
}

enum reason decode_request(sd_bus_message *m, const struct method *method, struct request *ret)
{
	struct request request = {.method = method};

	if (!sd_bus_message_has_signature(m, method->in))
		return REASON_SIGNATURE;
	for (unsigned i = 0; method->in[i]; i++) {
		void *field = request_field(&request, method->in_names[i], method->in[i]);

		if (!field || sd_bus_message_read_basic(m, method->in[i], field) < 0)
			return REASON_SIGNATURE;
	}
	*ret = request;
	return REASON_OK;
}

/* The length of the UTF-8 sequence at `p`, 0 if it is none (RFC 3629: shortest form, no
 * surrogates) or a noncharacter (U+FFFE and others), which sd-bus refuses as well. */
static size_t utf8_sequence(const unsigned char *p)
{
	unsigned min, code;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		len = 2, min = 0x80, code = p[0] & 0x1f;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		len = 3, min = 0x800, code = p[0] & 0x0f;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		len = 4, min = 0x10000, code = p[0] & 0x07;
	else
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (code < min || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	return (code >= 0xfdd0 && code <= 0xfdef) || (code & 0xfffe) == 0xfffe ? 0 : len;
}

/* D-Bus carries UTF-8 alone, while mkdir(2) takes any bytes. */
static bool utf8_valid(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	for (size_t len; *p; p += len) {
		len = utf8_sequence(p);
		if (len == 0)
			return false;
	}
	return true;
}

static int encode_text(sd_bus_message *reply, const char *text)
{
	return utf8_valid(text) ? sd_bus_message_append_basic(reply, 's', text) : -EILSEQ;
}

static int encode_names(sd_bus_message *reply, char *const *names)
{
	int r = sd_bus_message_open_container(reply, 'a', "s");

	/* A name that is no text cannot be named in a call either. */
	for (; r >= 0 && names && *names; names++)
		if (utf8_valid(*names))
			r = sd_bus_message_append_basic(reply, 's', *names);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int encode_keys(sd_bus_message *reply, const struct reply_key *keys, size_t n)
{
	int r = sd_bus_message_open_container(reply, 'a', "(suuu)");

	for (size_t i = 0; r >= 0 && i < n; i++)
		if (utf8_valid(keys[i].name))
			r = sd_bus_message_append(reply, "(suuu)", keys[i].name, keys[i].uid,
				keys[i].gid, keys[i].mode);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

int encode_reply(sd_bus_message *reply, const struct method *method, const struct reply *values)
{
	if (strcmp(method->out, "i") == 0)
		return sd_bus_message_append_basic(reply, 'i', &values->number);
	if (strcmp(method->out, "s") == 0)
		return encode_text(reply, values->text ? values->text : "");
	if (strcmp(method->out, "ai") == 0)
		return sd_bus_message_append_array(
			reply, 'i', values->pids, values->n_pids * sizeof(values->pids[0]));
	if (strcmp(method->out, "as") == 0)
		return encode_names(reply, values->names);
	if (strcmp(method->out, "a(suuu)") == 0)
		return encode_keys(reply, values->keys, values->n_keys);
	return method->out[0] ? -EINVAL : 0;
}

void request_object(const struct request *request, char *buf, size_t size)
{
	const char *file = request->key ? request->key : request->file;
	int n = snprintf(buf, size, "%s", request->controller ? request->controller : "");

	if (n >= 0 && (size_t)n < size && request->cgroup)
		n += snprintf(buf + n, size - (size_t)n, ":%s", request->cgroup);
	if (n >= 0 && (size_t)n < size && file && *file)
		n += snprintf(buf + n, size - (size_t)n, " %s", file);
	if (n >= 0 && (size_t)n < size && strchr(request->method->in, 'i') &&
		strcmp(request->method->in_names[strlen(request->method->in) - 1], "pid") == 0)
		snprintf(buf + n, size - (size_t)n, " pid %d", request->pid);
}
