/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The result of an Scm call in pieces, read back as a client reads it: a method, a reason, the
 * longest piece, how many items, then the items.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/cleanup.h"
#include "../../dbus/scm-frame.h"
#include "fuzz.h"

#define ITEMS_MAX 64

/* What was put in, for comparing. */
struct made {
	struct reply reply;
	size_t n;
	char *names[ITEMS_MAX + 1];
	int32_t pids[ITEMS_MAX];
};

static void make(struct input *in, struct made *m)
{
	struct reply *r = &m->reply;

	m->n = input_byte(in) % (ITEMS_MAX + 1);
	r->number = (int32_t)input_u32(in);
	r->names = calloc(m->n + 1, sizeof(*r->names));
	r->keys = calloc(m->n + 1, sizeof(*r->keys));
	r->pids = calloc(m->n + 1, sizeof(*r->pids));
	CHECK(r->names && r->keys && r->pids);
	for (size_t i = 0; i < m->n; i++) {
		m->names[i] = input_text(in);
		r->names[i] = strdup(m->names[i]);
		r->keys[i].name = strdup(m->names[i]);
		CHECK(r->names[i] && r->keys[i].name);
		m->pids[i] = r->pids[i] = (int32_t)input_u32(in);
		r->keys[i].uid = (uint32_t)m->pids[i];
		r->keys[i].gid = ~r->keys[i].uid;
		r->keys[i].mode = r->keys[i].uid & 07777;
	}
	r->n_pids = r->n_keys = m->n;
	r->text = input_text(in);
}

static const unsigned char *piece(const struct scm_frames *f, unsigned i, size_t *ret_size)
{
	size_t from = i > 0 ? f->ends[i - 1] : 0;

	CHECK(i < f->n && f->ends[i] >= from);
	*ret_size = f->ends[i] - from;
	return f->data + from;
}

static void check_piece(const struct scm_frames *f, unsigned i, const void *data, size_t size)
{
	size_t got;
	const unsigned char *at = piece(f, i, &got);

	CHECK(got == size && memcmp(at, data, size) == 0);
}

static void check_count(const struct scm_frames *f, int32_t count)
{
	check_piece(f, 0, &count, sizeof(count));
}

static void check_failure(const struct scm_frames *f, const char *out)
{
	CHECK(f->n == 1 && f->n_pids == 0);
	if (out[0] == 'a')
		check_count(f, -1);
	else
		check_piece(f, 0, "0", out[0] == 's' ? 0 : 1);
}

/* Count, length, and the texts one behind the other. */
static void check_texts(const struct scm_frames *f, const struct made *m, bool keys)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	uint32_t length;
	FILE *file = open_memstream(&text, &size);

	CHECK(file);
	for (size_t i = 0; i < m->n; i++) {
		uint32_t id = (uint32_t)m->pids[i];

		fputs(m->names[i], file);
		if (keys)
			fprintf(file, "\n%d\n%d\n%u\n", (int)id, (int)~id, id & 07777);
		putc('\0', file);
	}
	CHECK(fclose(file) == 0);
	length = (uint32_t)size;
	check_count(f, (int32_t)m->n);
	check_piece(f, 1, &length, sizeof(length));
	CHECK(f->n == (m->n > 0 ? 3 : 2));
	if (m->n > 0)
		check_piece(f, 2, text, size);
}

static void check_result(const struct scm_frames *f, const char *out, const struct made *m)
{
	const char *text = m->reply.text;

	if (strcmp(out, "as") == 0 || strcmp(out, "a(suuu)") == 0) {
		check_texts(f, m, out[1] == '(');
		return;
	}
	CHECK(f->n == 1);
	if (strcmp(out, "ai") == 0) {
		check_count(f, (int32_t)m->n);
		CHECK(f->n_pids == m->n);
		CHECK(m->n == 0 || memcmp(f->pids, m->pids, m->n * sizeof(m->pids[0])) == 0);
	} else if (strcmp(out, "s") == 0) {
		check_piece(f, 0, text, strlen(text) + 1);
	} else {
		check_piece(f, 0, *out && m->reply.number == 1 ? "2" : "1", 1);
	}
}

static void check_size(const struct scm_frames *f, size_t max)
{
	for (unsigned i = 0; i < f->n; i++) {
		size_t size;

		piece(f, i, &size);
		CHECK(size <= max);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	enum method_id id = (enum method_id)(input_byte(&in) % METHOD_MAX);
	const struct method *method = method_twin(id) ?: &methods[METHOD_GetValue];
	uint8_t reason = input_byte(&in), limit = input_byte(&in);
	size_t max = limit == UINT8_MAX ? SIZE_MAX : limit * 4u;
	struct scm_frames frames = {0};
	struct made made = {0};
	int r;

	made.reply.reason = (enum reason)(reason % REASON_MAX);
	make(&in, &made);
	r = scm_frames(method, &made.reply, max, &frames);
	CHECK(r == 0 || (r == -EMSGSIZE && max != SIZE_MAX && !frames.data));
	if (r == 0) {
		CHECK(frames.n >= 1 && frames.n <= SCM_PIECES_MAX);
		check_size(&frames, max);
		if (made.reply.reason == REASON_OK)
			check_result(&frames, methods[method->id].out, &made);
		else
			check_failure(&frames, methods[method->id].out);
	}
	scm_frames_done(&frames);
	reply_done(&made.reply);
	for (size_t i = 0; i < made.n; i++)
		free(made.names[i]);
	return 0;
}
