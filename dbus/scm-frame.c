/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scm-frame.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct writer {
	FILE *file;
	struct scm_frames *frames;
};

static void piece_end(struct writer *w)
{
	w->frames->ends[w->frames->n++] = (size_t)ftell(w->file);
}

static void write_byte(struct writer *w, char byte)
{
	fputc(byte, w->file);
	piece_end(w);
}

static void write_count(struct writer *w, int32_t count)
{
	fwrite(&count, sizeof(count), 1, w->file);
	piece_end(w);
}

/* Count and length of what follows. */
static void write_sizes(struct writer *w, size_t count, size_t length)
{
	uint32_t number = (uint32_t)length;

	write_count(w, (int32_t)count);
	fwrite(&number, sizeof(number), 1, w->file);
	piece_end(w);
}

static void write_names(struct writer *w, char *const *names)
{
	size_t count = 0, length = 0;

	for (; names && names[count]; count++)
		length += strlen(names[count]) + 1;
	write_sizes(w, count, length);
	for (size_t i = 0; i < count; i++)
		fwrite(names[i], strlen(names[i]) + 1, 1, w->file);
	if (count > 0)
		piece_end(w);
}

#define KEY_FORMAT "%s\n%d\n%d\n%u\n"
#define KEY_ARGS(key) (key)->name, (int)(key)->uid, (int)(key)->gid, (key)->mode

static void write_keys(struct writer *w, const struct reply_key *keys, size_t count)
{
	size_t length = 0;

	for (size_t i = 0; i < count; i++)
		length += (size_t)snprintf(NULL, 0, KEY_FORMAT, KEY_ARGS(&keys[i])) + 1;
	write_sizes(w, count, length);
	for (size_t i = 0; i < count; i++) {
		fprintf(w->file, KEY_FORMAT, KEY_ARGS(&keys[i]));
		fputc('\0', w->file);
	}
	if (count > 0)
		piece_end(w);
}

static void write_failure(struct writer *w, const char *out)
{
	if (out[0] == 'a')
		write_count(w, -1);
	else if (out[0] == 's')
		piece_end(w);
	else
		write_byte(w, '0');
}

static void write_result(struct writer *w, const char *out, struct reply *reply)
{
	const char *text = reply->text ? reply->text : "";

	if (strcmp(out, "i") == 0) {
		write_byte(w, reply->number == 1 ? '2' : '1');
	} else if (strcmp(out, "s") == 0) {
		fwrite(text, strlen(text) + 1, 1, w->file);
		piece_end(w);
	} else if (strcmp(out, "ai") == 0) {
		write_count(w, (int32_t)reply->n_pids);
		w->frames->pids = reply->pids;
		w->frames->n_pids = reply->n_pids;
		reply->pids = NULL;
		reply->n_pids = 0;
	} else if (strcmp(out, "as") == 0) {
		write_names(w, reply->names);
	} else if (strcmp(out, "a(suuu)") == 0) {
		write_keys(w, reply->keys, reply->n_keys);
	} else {
		write_byte(w, '1');
	}
}

int scm_frames(
	const struct method *method, struct reply *reply, size_t piece_max, struct scm_frames *ret)
{
	struct scm_frames frames = {0};
	const char *out = methods[method->id].out;
	size_t size, from = 0;
	struct writer w = {.frames = &frames};
	bool failed;

	w.file = open_memstream((char **)&frames.data, &size);
	if (!w.file)
		return -ENOMEM;
	if (reply->reason == REASON_OK)
		write_result(&w, out, reply);
	else
		write_failure(&w, out);
	failed = ferror(w.file);
	if (fclose(w.file) != 0 || failed) {
		scm_frames_done(&frames);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < frames.n; from = frames.ends[i++])
		if (frames.ends[i] - from > piece_max) {
			scm_frames_done(&frames);
			return -EMSGSIZE;
		}
	*ret = frames;
	return 0;
}

void scm_frames_done(struct scm_frames *f)
{
	free(f->data);
	free(f->pids);
	*f = (struct scm_frames){0};
}
