/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "path.h"
#include "reason.h"

static const struct reason_row rows[REASON_MAX] = {
#define REASON(id, kind, err, why, remedy) [REASON_##id] = {#id, kind, err, why, remedy},
#include "reasons.def"
#undef REASON
};

const struct reason_row *reason_row(enum reason r)
{
	unsigned i = (unsigned)r;

	return &rows[i < REASON_MAX ? i : REASON_INTERNAL];
}

/* A text that is cut once and then takes no more, so that what follows does not join what is
 * missing. */
struct sink {
	char *buf;
	size_t len, size;
	bool cut;
};

/* Bytes of the character at `text`: whole UTF-8 sequences, so that a cut never leaves half of one
 * (sd-bus sends no string that is not UTF-8). */
static size_t character_len(const char *text)
{
	size_t n = 1;

	if (((unsigned char)text[0] & 0xc0) != 0xc0)
		return 1;
	while (n < 4 && ((unsigned char)text[n] & 0xc0) == 0x80)
		n++;
	return n;
}

/* As RFC 3629 has it: shortest form, no surrogate. Nor a noncharacter (U+FFFE and others), with
 * which sd-bus sends no message. */
static bool character_valid(const char *text, size_t n)
{
	static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *p = (const unsigned char *)text;
	unsigned code;

	if (p[0] < 0x80)
		return true;
	if (p[0] < 0xc2 || p[0] > 0xf4 || n != (p[0] >= 0xf0 ? 4u : p[0] >= 0xe0 ? 3u : 2u))
		return false;
	code = p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++)
		code = code << 6 | (p[i] & 0x3f);
	return code >= least[n] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) &&
	       (code < 0xfdd0 || code > 0xfdef) && (code & 0xfffe) != 0xfffe;
}

/* Appends until `limit` bytes of the buffer are used, and says whether all went in. */
static bool sink_append(struct sink *s, const char *text, size_t limit)
{
	while (*text && !s->cut) {
		size_t n = character_len(text);
		bool plain = !path_control(text) && character_valid(text, n);
		size_t room = plain ? n : 1;

		if (s->len + room > limit)
			return false;
		memcpy(s->buf + s->len, plain ? text : "?", room);
		s->len += room;
		text += n;
	}
	return true;
}

static void sink_put(struct sink *s, const char *text)
{
	if (!sink_append(s, text, s->size - 1))
		s->cut = true;
}

/* What the caller named may be 4095 bytes long; the reason shall still be readable behind it. */
static void sink_put_object(struct sink *s, const char *object)
{
	static const char dots[] = "...";

	if (!sink_append(s, object, s->len + (s->size - s->len) / 2))
		sink_put(s, dots);
}

void reason_message(enum reason r, const char *method, const char *object, const char *detail,
	char *buf, size_t size)
{
	const struct reason_row *row = reason_row(r);
	struct sink s = {.buf = buf, .size = size};

	if (size == 0)
		return;
	sink_put(&s, method);
	if (object && *object) {
		sink_put(&s, " ");
		sink_put_object(&s, object);
	}
	sink_put(&s, ": ");
	sink_put(&s, row->why);
	if (detail && *detail) {
		sink_put(&s, " (");
		sink_put(&s, detail);
		sink_put(&s, ")");
	}
	if (row->remedy) {
		sink_put(&s, "; ");
		sink_put(&s, row->remedy);
	}
	buf[s.len] = '\0';
}
