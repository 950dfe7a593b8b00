/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "serve.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN "text "
#define NAME_SIZE 16

static char *make_text(const struct serve *s, size_t size)
{
	const char *text = s->text && *s->text ? s->text : PLAIN;
	size_t len = strlen(text), n = 0;
	char *made = malloc(size + len + 1);

	CHECK(made);
	/* whole ones, so that what is UTF-8 stays so */
	do {
		memcpy(made + n, text, len);
		n += len;
	} while (n < size);
	made[n] = '\0';
	return made;
}

static void make_gpu(const struct serve *s, struct reply_gpu *gpu)
{
	gpu->address = make_text(s, 0);
	gpu->driver = make_text(s, 0);
	gpu->nodes = calloc(2, sizeof(*gpu->nodes));
	CHECK(gpu->nodes);
	gpu->nodes[0] = make_text(s, 0);
}

/* Some members are left out, as they may be. */
static void make_native(const struct serve *s, struct reply *reply, size_t n)
{
	reply->allowed = s->size & 1;
	reply->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	CHECK(reply->fd >= 0);
	reply->has_fd = true;
	reply->why = make_text(s, s->size);
	reply->pairs = calloc(n, sizeof(*reply->pairs));
	reply->triples = calloc(n, sizeof(*reply->triples));
	reply->devices = calloc(n, sizeof(*reply->devices));
	reply->gpus = calloc(n, sizeof(*reply->gpus));
	CHECK(reply->pairs && reply->triples && reply->devices && reply->gpus);
	for (size_t i = 0; i < n; i++) {
		reply->pairs[i].key = strdup("key");
		reply->pairs[i].value = make_text(s, 0);
		reply->triples[i].text[0] = make_text(s, 0);
		reply->triples[i].text[2] = make_text(s, 0);
		reply->devices[i] =
			(struct reply_device){'c', (uint32_t)i, UINT32_MAX, make_text(s, 0)};
		make_gpu(s, &reply->gpus[i]);
	}
	reply->n_pairs = reply->n_triples = reply->n_devices = reply->n_gpus = n;
}

static struct reply make_reply(const struct serve *s)
{
	struct reply reply = {.reason = s->reason, .number = (int32_t)s->size};
	size_t n = s->size / NAME_SIZE + 1;

	if (s->reason != REASON_OK) {
		reply.detail = s->text ? make_text(s, 0) : NULL;
		return reply;
	}
	reply.text = make_text(s, s->size);
	make_native(s, &reply, n);
	reply.names = calloc(n + 1, sizeof(*reply.names));
	reply.keys = calloc(n, sizeof(*reply.keys));
	reply.pids = calloc(n, sizeof(*reply.pids));
	CHECK(reply.names && reply.keys && reply.pids);
	for (size_t i = 0; i < n; i++) {
		reply.names[i] = make_text(s, 0);
		reply.keys[i] = (struct reply_key){make_text(s, 0), UINT32_MAX, 0, 0644};
		reply.pids[i] = (int32_t)i;
	}
	reply.n_keys = reply.n_pids = n;
	return reply;
}

static int answer(const struct serve *s, sd_bus_message *m)
{
	struct reply reply = make_reply(s);
	int r;

	CHECK(reply_size(&reply) > 0 || s->reason != REASON_OK);
	r = dispatch_reply(m, &s->request, &reply);
	reply_done(&reply);
	return r;
}

void serve_done(struct serve *s)
{
	s->kept = sd_bus_message_unref(s->kept);
	request_done(&s->request);
}

int serve_answer(struct serve *s)
{
	int r;

	if (!s->kept)
		return 0;
	r = answer(s, s->kept);
	s->kept = sd_bus_message_unref(s->kept);
	return r;
}

static void on_call(void *userdata, sd_bus_message *m, struct request *request)
{
	struct serve *s = userdata;

	CHECK(request->method);
	s->calls++;
	request_done(&s->request);
	s->request = request_take(request);
	if (s->later && !s->kept)
		s->kept = sd_bus_message_ref(m);
	else
		(void)answer(s, m);
}

static void on_refused(void *userdata, sd_bus_message *m, enum reason reason)
{
	struct serve *s = userdata;

	(void)m;
	CHECK(reason != REASON_OK);
	s->refused++;
}

static bool on_may_know_host(void *userdata)
{
	(void)userdata;
	return false;
}

static uint64_t *on_unique(void *userdata)
{
	return &((struct serve *)userdata)->unique;
}

static void on_ids(void *userdata, bool of_client, struct dispatch_ids *ret)
{
	(void)userdata;
	*ret = (struct dispatch_ids){of_client, of_client, 7, 8};
}

static void on_property(void *userdata, enum property_id id, struct reply *ret)
{
	struct serve *s = userdata;

	*ret = make_reply(s);
	if (id == PROPERTY_api_version)
		ret->number = CGM_API_VERSION;
}

const struct dispatch_ops serve_ops = {
	.call = on_call,
	.refused = on_refused,
	.may_know_host = on_may_know_host,
	.unique = on_unique,
	.ids = on_ids,
	.property = on_property,
};
