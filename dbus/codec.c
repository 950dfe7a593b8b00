/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "codec.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An argument's name is the name of its field. */
static const struct {
	const char *name, *type;
	size_t offset;
} fields[] = {
#define FIELD(name, type)                                   \
	{                                                   \
#		name, type, offsetof(struct request, name) \
	}
	FIELD(controller, "s"),
	FIELD(cgroup, "s"),
	FIELD(file, "s"),
	FIELD(key, "s"),
	FIELD(value, "s"),
	FIELD(device, "s"),
	FIELD(access, "s"),
	FIELD(name, "s"),
	FIELD(pid, "i"),
	FIELD(uid, "i"),
	FIELD(gid, "i"),
	FIELD(mode, "i"),
	FIELD(recursive, "i"),
	FIELD(junk, "i"),
	FIELD(item, "s"),
	FIELD(cpu, "i"),
	FIELD(flags, "t"),
	FIELD(sockfd, "h"),
	FIELD(group, "h"),
	FIELD(listener, "h"),
	FIELD(attr, "ay"),
	FIELD(rules, "as"),
	FIELD(items, "as"),
	FIELD(options, "a{sv}"),
#undef FIELD
};

static const struct option {
	enum method_id method;
	const char *name;
	char type;
	size_t offset;
} options[OPTION_MAX] = {
#define OPTION(method, name, type)     \
	[OPTION_##method##_##name] = { \
		METHOD_##method, #name, type, offsetof(struct request_options, name)},
#include "options.def"
#undef OPTION
};

static void *request_field(struct request *request, const char *name, const char *type, size_t len)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (strncmp(fields[i].type, type, len) == 0 && fields[i].type[len] == '\0' &&
			strcmp(fields[i].name, name) == 0)
			return (char *)request + fields[i].offset;
	return NULL;
}

/* What the message has room for is not what is to be allocated. */
static enum reason decode_texts(
	sd_bus_message *m, size_t max, enum reason too_many, const char ***ret)
{
	size_t n = 0, size = 0;
	const char *text;
	int r = sd_bus_message_enter_container(m, 'a', "s");

	while (r >= 0 && (r = sd_bus_message_read_basic(m, 's', &text)) > 0) {
		if (n == max)
			return too_many;
		if (n + 2 > size) {
			const char **bigger;

			size = size ? 2 * size : 16;
			bigger = realloc(*ret, size * sizeof(**ret));
			if (!bigger)
				return REASON_INTERNAL;
			*ret = bigger;
		}
		(*ret)[n++] = text;
		(*ret)[n] = NULL;
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r >= 0 && !*ret)
		*ret = calloc(1, sizeof(**ret));
	return r < 0 ? REASON_SIGNATURE : *ret ? REASON_OK : REASON_INTERNAL;
}

/* One by one. */
static enum reason copy_bytes(sd_bus_message *m, struct request_bytes *ret)
{
	int r = sd_bus_message_enter_container(m, 'a', "y");
	size_t size = 0;
	uint8_t byte;

	while (r >= 0 && (r = sd_bus_message_read_basic(m, 'y', &byte)) > 0) {
		if (ret->size == size) {
			uint8_t *bigger = realloc(ret->heap, size ? 2 * size : 256);

			if (!bigger)
				return REASON_INTERNAL;
			ret->heap = bigger;
			size = size ? 2 * size : 256;
		}
		ret->heap[ret->size++] = byte;
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	ret->data = ret->heap;
	return r < 0 ? REASON_SIGNATURE : REASON_OK;
}

static enum reason decode_bytes(sd_bus_message *m, struct request_bytes *ret)
{
	const void *data;
	size_t size;
	int r = sd_bus_message_read_array(m, 'y', &data, &size);

	/* sd-bus gives none in place of a message of the other byte order. */
	if (r == -EOPNOTSUPP)
		return copy_bytes(m, ret);
	if (r < 0)
		return REASON_SIGNATURE;
	ret->data = data;
	ret->size = size;
	return REASON_OK;
}

static enum reason refuse_option(char *detail, const char *name, const char *why)
{
	snprintf(detail, DECODE_DETAIL_MAX, "'%s' %s", name, why);
	return REASON_OPTION;
}

static const struct option *option_find(enum method_id method, const char *name)
{
	for (size_t i = 0; i < OPTION_MAX; i++)
		if (options[i].method == method && strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

static const char *option_kind(char type)
{
	switch (type) {
	case 's':
		return "must be a string";
	case 'b':
		return "must be a boolean";
	default:
		return "must be a 'u'";
	}
}

/* One entry of the dictionary, which was entered. */
static enum reason decode_option(
	sd_bus_message *m, enum method_id method, struct request_options *ret, char *detail)
{
	const struct option *option;
	const char *name, *content;
	unsigned bit;
	char kind;

	if (sd_bus_message_read_basic(m, 's', &name) <= 0 ||
		sd_bus_message_peek_type(m, &kind, &content) <= 0)
		return REASON_SIGNATURE;
	option = option_find(method, name);
	if (!option)
		return refuse_option(detail, name, "is none of them");
	bit = 1U << (option - options);
	if (ret->given & bit)
		return refuse_option(detail, name, "is there twice");
	if (content[0] != option->type || content[1] != '\0')
		return refuse_option(detail, name, option_kind(option->type));
	ret->given |= bit;
	if (sd_bus_message_enter_container(m, 'v', content) < 0 ||
		sd_bus_message_read_basic(m, option->type, (char *)ret + option->offset) <= 0 ||
		sd_bus_message_exit_container(m) < 0)
		return REASON_SIGNATURE;
	return REASON_OK;
}

static enum reason decode_options(
	sd_bus_message *m, enum method_id method, struct request_options *ret, char *detail)
{
	int r = sd_bus_message_enter_container(m, 'a', "{sv}");

	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		enum reason reason = decode_option(m, method, ret, detail);

		if (reason != REASON_OK)
			return reason;
		r = sd_bus_message_exit_container(m);
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	return r < 0 ? REASON_SIGNATURE : REASON_OK;
}

static enum reason decode_argument(sd_bus_message *m, const char *name, const char *type,
	struct request *request, char *detail)
{
	size_t len = type_length(type);
	void *field = request_field(request, name, type, len);

	if (!field)
		return REASON_SIGNATURE;
	if (field == &request->rules)
		return decode_texts(m, DEVICE_RULES_MAX, REASON_DEVICE_MANY, &request->rules);
	if (field == &request->items)
		return decode_texts(m, PERF_ITEMS_MAX, REASON_PERF_MANY, &request->items);
	if (field == &request->attr)
		return decode_bytes(m, &request->attr);
	if (field == &request->options)
		return decode_options(m, request->method->id, &request->options, detail);
	return sd_bus_message_read_basic(m, type[0], field) < 0 ? REASON_SIGNATURE : REASON_OK;
}

enum reason decode_request(sd_bus_message *m, const struct method *method, struct request *ret,
	char detail[DECODE_DETAIL_MAX])
{
	struct request request = {.method = method};
	enum reason reason = REASON_OK;
	unsigned n = 0;

	detail[0] = '\0';
	if (!sd_bus_message_has_signature(m, method->in))
		return REASON_SIGNATURE;
	for (const char *type = method->in; reason == REASON_OK && *type; type += type_length(type))
		reason = decode_argument(m, method->in_names[n++], type, &request, detail);
	if (reason != REASON_OK)
		request_done(&request);
	else
		*ret = request;
	return reason;
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

static int append_text(sd_bus_message *m, const char *text)
{
	if (!text)
		text = "";
	return utf8_valid(text) ? sd_bus_message_append_basic(m, 's', text) : -EILSEQ;
}

/* For people: of a text that is none what can be shown. */
static int append_shown(sd_bus_message *m, const char *text)
{
	char *shown;
	int r;

	if (!text || utf8_valid(text))
		return append_text(m, text);
	shown = strdup(text);
	if (!shown)
		return -ENOMEM;
	for (unsigned char *p = (unsigned char *)shown; *p;) {
		size_t len = utf8_sequence(p);

		if (len == 0)
			*p = '?';
		p += len ? len : 1;
	}
	r = append_text(m, shown);
	free(shown);
	return r;
}

static int append_names(sd_bus_message *m, char *const *names)
{
	int r = sd_bus_message_open_container(m, 'a', "s");

	/* A name that is no text cannot be named in a call either. */
	for (; r >= 0 && names && *names; names++)
		if (utf8_valid(*names))
			r = sd_bus_message_append_basic(m, 's', *names);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int encode_nothing(sd_bus_message *m, const struct reply *v)
{
	(void)m, (void)v;
	return 0;
}

static int encode_number(sd_bus_message *m, const struct reply *v)
{
	return sd_bus_message_append_basic(m, 'i', &v->number);
}

static int encode_text(sd_bus_message *m, const struct reply *v)
{
	return append_text(m, v->text);
}

static int encode_pids(sd_bus_message *m, const struct reply *v)
{
	return sd_bus_message_append_array(m, 'i', v->pids, v->n_pids * sizeof(v->pids[0]));
}

static int encode_names(sd_bus_message *m, const struct reply *v)
{
	return append_names(m, v->names);
}

static int encode_keys(sd_bus_message *m, const struct reply *v)
{
	int r = sd_bus_message_open_container(m, 'a', "(suuu)");

	for (size_t i = 0; r >= 0 && i < v->n_keys; i++)
		if (utf8_valid(v->keys[i].name))
			r = sd_bus_message_append(m, "(suuu)", v->keys[i].name, v->keys[i].uid,
				v->keys[i].gid, v->keys[i].mode);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int encode_check(sd_bus_message *m, const struct reply *v)
{
	int r = sd_bus_message_append(m, "b", (int)v->allowed);

	if (r >= 0)
		r = append_shown(m, v->who);
	return r < 0 ? r : append_shown(m, v->why);
}

/* An array of what has several members: each is opened, and `append` fills it. */
static int encode_array(sd_bus_message *m, char type, const char *members, size_t n,
	int (*append)(sd_bus_message *m, const struct reply *v, size_t i), const struct reply *v)
{
	char element[16];
	int r;

	snprintf(element, sizeof(element), type == 'e' ? "{%s}" : "(%s)", members);
	r = sd_bus_message_open_container(m, 'a', element);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		r = sd_bus_message_open_container(m, type, members);
		if (r >= 0)
			r = append(m, v, i);
		if (r >= 0)
			r = sd_bus_message_close_container(m);
	}
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_pair(sd_bus_message *m, const struct reply *v, size_t i)
{
	int r = append_shown(m, v->pairs[i].key);

	return r < 0 ? r : append_shown(m, v->pairs[i].value);
}

static int append_triple(sd_bus_message *m, const struct reply *v, size_t i)
{
	int r = 0;

	for (unsigned n = 0; r >= 0 && n < 3; n++)
		r = append_shown(m, v->triples[i].text[n]);
	return r;
}

static int append_device(sd_bus_message *m, const struct reply *v, size_t i)
{
	const struct reply_device *device = &v->devices[i];
	const char type[] = {device->type, '\0'};
	int r = sd_bus_message_append(m, "suu", type, device->major, device->minor);

	return r < 0 ? r : append_shown(m, device->node);
}

static int append_gpu(sd_bus_message *m, const struct reply *v, size_t i)
{
	const struct reply_gpu *gpu = &v->gpus[i];
	const char *const texts[] = {gpu->address, gpu->id, gpu->driver, gpu->pmu, gpu->region};
	int r = 0;

	for (unsigned n = 0; r >= 0 && n < sizeof(texts) / sizeof(texts[0]); n++)
		r = append_shown(m, texts[n]);
	return r < 0 ? r : append_names(m, gpu->nodes);
}

static int encode_pairs(sd_bus_message *m, const struct reply *v)
{
	return encode_array(m, 'e', "ss", v->n_pairs, append_pair, v);
}

static int encode_triples(sd_bus_message *m, const struct reply *v)
{
	return encode_array(m, 'r', "sss", v->n_triples, append_triple, v);
}

static int encode_devices(sd_bus_message *m, const struct reply *v)
{
	return encode_array(m, 'r', "suus", v->n_devices, append_device, v);
}

static int encode_gpus(sd_bus_message *m, const struct reply *v)
{
	return encode_array(m, 'r', "sssssas", v->n_gpus, append_gpu, v);
}

static int encode_fd(sd_bus_message *m, const struct reply *v)
{
	return v->has_fd ? sd_bus_message_append_basic(m, 'h', &v->fd) : -EINVAL;
}

static const struct {
	const char *signature;
	int (*encode)(sd_bus_message *m, const struct reply *v);
} encoders[] = {
	{"", encode_nothing},
	{"i", encode_number},
	{"s", encode_text},
	{"ai", encode_pids},
	{"as", encode_names},
	{"a(suuu)", encode_keys},
	{"bss", encode_check},
	{"a{ss}", encode_pairs},
	{"a(sss)", encode_triples},
	{"a(suus)", encode_devices},
	{"a(sssssas)", encode_gpus},
	{"h", encode_fd},
};

int encode_values(sd_bus_message *m, const char *signature, const struct reply *values)
{
	for (size_t i = 0; i < sizeof(encoders) / sizeof(encoders[0]); i++)
		if (strcmp(encoders[i].signature, signature) == 0)
			return encoders[i].encode(m, values);
	return -EINVAL;
}

/* A native call's words, in the order in which it takes them. */
static void request_words(const struct request *request, char *buf, size_t size)
{
	const char *const words[] = {
		request->cgroup, request->name, request->device, request->access, request->item};
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i] && words[i][0] && len < size)
			len += (size_t)snprintf(
				buf + len, size - len, "%s%s", len ? " " : "", words[i]);
}

void request_object(const struct request *request, char *buf, size_t size)
{
	const char *file = request->key ? request->key : request->file;
	int n;

	if (request->method->flags & METHOD_NATIVE) {
		request_words(request, buf, size);
		return;
	}
	n = snprintf(buf, size, "%s", request->controller ? request->controller : "");
	if (n >= 0 && (size_t)n < size && request->cgroup)
		n += snprintf(buf + n, size - (size_t)n, ":%s", request->cgroup);
	if (n >= 0 && (size_t)n < size && file && *file)
		n += snprintf(buf + n, size - (size_t)n, " %s", file);
	if (n >= 0 && (size_t)n < size && strchr(request->method->in, 'i') &&
		strcmp(request->method->in_names[strlen(request->method->in) - 1], "pid") == 0)
		snprintf(buf + n, size - (size_t)n, " pid %d", request->pid);
}
