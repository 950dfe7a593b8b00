/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers: how they are read and written, and the settings that are one number in one file. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "convert.h"
#include "throttle.h"

#define PIDS_LIMIT 4194304 /* PIDS_MAX - 1, kernel/cgroup/pids.c */
#define DEVICE_LEN_MAX 16  /* more than "4095:1048575" */
#define NSEC_PER_USEC UINT64_C(1000)

void text_bytes(struct text *t, const char *s, size_t len)
{
	if (len >= t->size - t->len || t->cut) {
		t->cut = true;
		return;
	}
	memcpy(t->buf + t->len, s, len);
	t->len += len;
	t->buf[t->len] = '\0';
}

void text_put(struct text *t, const char *s)
{
	text_bytes(t, s, strlen(s));
}

void text_number(struct text *t, uint64_t n)
{
	char buf[24];

	snprintf(buf, sizeof(buf), "%llu", (unsigned long long)n);
	text_put(t, buf);
}

static bool digit_of(char c, unsigned base, unsigned *ret)
{
	unsigned d = 16;

	if (c >= '0' && c <= '9')
		d = (unsigned)(c - '0');
	else if (c >= 'a' && c <= 'f')
		d = (unsigned)(c - 'a') + 10;
	else if (c >= 'A' && c <= 'F')
		d = (unsigned)(c - 'A') + 10;
	*ret = d;
	return d < base;
}

static bool take_digits(const char **at, unsigned base, uint64_t *ret)
{
	const char *p = *at;
	uint64_t n = 0;
	unsigned d;

	if (!digit_of(*p, base, &d))
		return false;
	for (; digit_of(*p, base, &d); p++)
		if (__builtin_mul_overflow(n, base, &n) || __builtin_add_overflow(n, d, &n))
			return false;
	*at = p;
	*ret = n;
	return true;
}

bool take_decimal(const char **at, uint64_t *ret)
{
	return take_digits(at, 10, ret);
}

bool take_number(const char **at, uint64_t *ret)
{
	const char *p = *at;
	unsigned base = 10, d;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		p += 2;
		base = 16;
	} else if (p[0] == '0' && digit_of(p[1], 10, &d)) {
		base = 8;
	}
	if (!take_digits(&p, base, ret))
		return false;
	*at = p;
	return true;
}

bool take_word(const char **at, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(*at, word, len) != 0)
		return false;
	*at += len;
	return true;
}

bool take_bytes(const char **at, uint64_t *ret)
{
	static const char suffixes[] = "KMGTPE", small[] = "kmgtpe";
	const char *p = *at, *found;
	uint64_t n;

	if (!take_number(&p, &n))
		return false;
	found = *p ? strchr(suffixes, *p) : NULL;
	if (!found && *p && (found = strchr(small, *p)))
		found = suffixes + (found - small);
	if (found) {
		unsigned shift = 10 * ((unsigned)(found - suffixes) + 1);

		if (n > UINT64_MAX >> shift)
			return false;
		n <<= shift;
		p++;
		if (*p == 'i')
			p++;
	}
	*at = p;
	*ret = n;
	return true;
}

bool whole_number(const char *text, uint64_t *ret)
{
	uint64_t n;

	if (!take_number(&text, &n) || *text)
		return false;
	*ret = n;
	return true;
}

bool take_device(const char **at, size_t *ret_len)
{
	const char *p = *at;
	uint64_t major, minor;

	if (!take_decimal(&p, &major) || *p++ != ':' || !take_decimal(&p, &minor))
		return false;
	/* With zeros before, it would leave no room for what is set. */
	if (major > DEVICE_MAJOR_MAX || minor > DEVICE_MINOR_MAX || p - *at > DEVICE_LEN_MAX ||
		(*p && *p != ' ' && *p != '\n'))
		return false;
	*ret_len = (size_t)(p - *at);
	*at = p + strspn(p, " ");
	return true;
}

bool next_line(const char **at)
{
	*at += strcspn(*at, "\n");
	if (!**at)
		return false;
	++*at;
	return **at != '\0';
}

bool take_field(const char *text, const char *field, uint64_t *ret)
{
	do {
		const char *p = text;
		uint64_t n;

		if (take_word(&p, field) && *p == ' ') {
			p++;
			if (!take_decimal(&p, &n) || (*p && *p != '\n'))
				return false;
			*ret = n;
			return true;
		}
	} while (next_line(&text));
	return false;
}

static bool bytes_parse(enum face face, const char *text, uint64_t *ret)
{
	uint64_t n;

	if (strcmp(text, face == FACE_V1 ? "-1" : "max") == 0) {
		*ret = VALUE_MAX;
		return true;
	}
	if (!take_bytes(&text, &n) || *text)
		return false;
	*ret = n >= BYTES_UNLIMITED ? VALUE_MAX : n;
	return true;
}

static void bytes_print(enum face face, uint64_t n, struct text *out)
{
	if (n != VALUE_MAX)
		text_number(out, n);
	else
		text_put(out, face == FACE_V1 ? BYTES_UNLIMITED_TEXT : "max");
}

static bool number_parse(enum face face, const char *text, uint64_t *ret)
{
	(void)face;
	return whole_number(text, ret);
}

static void number_print(enum face face, uint64_t n, struct text *out)
{
	(void)face;
	text_number(out, n);
}

static bool flag_parse(enum face face, const char *text, uint64_t *ret)
{
	uint64_t n;

	(void)face;
	if (!whole_number(text, &n) || n > 1)
		return false;
	*ret = n;
	return true;
}

static bool limit_parse(const char *text, uint64_t limit, uint64_t *ret)
{
	uint64_t n;

	if (strcmp(text, "max") == 0) {
		*ret = VALUE_MAX;
		return true;
	}
	if (!whole_number(text, &n) || n > limit)
		return false;
	*ret = n;
	return true;
}

static bool pids_parse(enum face face, const char *text, uint64_t *ret)
{
	(void)face;
	return limit_parse(text, PIDS_LIMIT, ret);
}

static bool depth_parse(enum face face, const char *text, uint64_t *ret)
{
	(void)face;
	return limit_parse(text, INT_MAX, ret);
}

static void limit_print(enum face face, uint64_t n, struct text *out)
{
	(void)face;
	if (n == VALUE_MAX)
		text_put(out, "max");
	else
		text_number(out, n);
}

bool take_time(const char **at, uint64_t *ret)
{
	static const struct {
		const char *suffix;
		unsigned usec;
	} units[] = {{"us", 1}, {"ms", 1000}, {"s", 1000000}, {"", 1}};
	const char *p = *at;
	uint64_t n;
	unsigned i = 0;

	if (!take_decimal(&p, &n))
		return false;
	while (!take_word(&p, units[i].suffix))
		i++;
	if (__builtin_mul_overflow(n, units[i].usec, &n))
		return false;
	*at = p;
	*ret = n;
	return true;
}

static bool time_parse(enum face face, const char *text, uint64_t *ret)
{
	uint64_t n;

	if (face != FACE_NEUTRAL)
		return whole_number(text, ret);
	if (!take_time(&text, &n) || *text)
		return false;
	*ret = n;
	return true;
}

/* Nanoseconds; the file of v1 has those, all others microseconds. */
static bool usage_parse(enum face face, const char *text, uint64_t *ret)
{
	uint64_t n;

	if (!whole_number(text, &n))
		return false;
	if (face != FACE_V1 && __builtin_mul_overflow(n, NSEC_PER_USEC, &n))
		return false;
	*ret = n;
	return true;
}

static void usage_print(enum face face, uint64_t n, struct text *out)
{
	text_number(out, face == FACE_V1 ? n : n / NSEC_PER_USEC);
}

struct text write_next(struct conversion *c, unsigned i)
{
	struct plan_write *w = &c->writes[c->n++];

	w->file = c->plan->file[i];
	w->text[0] = '\0';
	return (struct text){.buf = w->text, .size = sizeof(w->text)};
}

enum reason write_number(
	struct conversion *c, unsigned i, const struct codec *codec, uint64_t number)
{
	struct text t = write_next(c, i);

	/* "no limit" is read as a number from v1's files, and written as -1 */
	if (number == VALUE_MAX && c->here == FACE_V1 && codec == &codec_bytes)
		text_put(&t, "-1");
	else
		codec->print(c->here, number, &t);
	return REASON_OK;
}

/* The value in the line of `text` that a field begins, as a text of its own. */
static bool field_text(const char *text, const char *field, char *buf, size_t size)
{
	do {
		const char *p = text;
		size_t len;

		if (!take_word(&p, field) || *p++ != ' ')
			continue;
		len = strcspn(p, "\n");
		if (len >= size)
			return false;
		memcpy(buf, p, len);
		buf[len] = '\0';
		return true;
	} while (next_line(&text));
	return false;
}

enum reason load_number(struct conversion *c, unsigned i, const struct codec *codec, uint64_t *ret)
{
	char field[32], value[32];
	const char *text = c->texts[i];

	if (!text)
		return REASON_KEY_MISSING;
	if (place_field(c, i, field, sizeof(field))) {
		if (!field_text(text, field, value, sizeof(value)))
			return REASON_KEY_MISSING;
		text = value;
	}
	return codec->parse(c->here, text, ret) ? REASON_OK : REASON_VALUE_FORMAT;
}

enum reason scalar_get(struct conversion *c)
{
	const struct codec *codec = c->setting->type->codec;
	uint64_t n;
	enum reason r = load_number(c, 0, codec, &n);

	if (r == REASON_OK)
		codec->print(c->face, n, &c->out);
	return r;
}

enum reason scalar_set(struct conversion *c, const char *value)
{
	const struct codec *codec = c->setting->type->codec;
	struct text t;
	uint64_t n;

	if (!codec->parse(c->face, value, &n))
		return REASON_VALUE_FORMAT;
	/* there is more in it than the other formats can tell */
	if (codec->lossy && c->face == c->here) {
		t = write_next(c, 0);
		text_put(&t, value);
		return REASON_OK;
	}
	return write_number(c, 0, codec, n);
}

static enum reason text_get(struct conversion *c)
{
	if (!c->texts[0])
		return REASON_KEY_MISSING;
	text_put(&c->out, c->texts[0]);
	return REASON_OK;
}

static enum reason text_set(struct conversion *c, const char *value)
{
	struct text t = write_next(c, 0);

	text_put(&t, value);
	return REASON_OK;
}

/* bitmap_parselist(): what it is made of; whether such cpus exist the kernel knows. */
static enum reason list_set(struct conversion *c, const char *value)
{
	const char *p = value;

	while (*p) {
		uint64_t n;

		if (!take_decimal(&p, &n) || n > INT_MAX)
			return REASON_VALUE_FORMAT;
		if (*p == '-' && (p++, !take_decimal(&p, &n) || n > INT_MAX))
			return REASON_VALUE_FORMAT;
		if (*p == ':' &&
			(p++, !take_decimal(&p, &n) || *p++ != '/' || !take_decimal(&p, &n)))
			return REASON_VALUE_FORMAT;
		if (*p && (*p++ != ',' || !*p))
			return REASON_VALUE_FORMAT;
	}
	return text_set(c, value);
}

const struct codec codec_bytes = {bytes_parse, bytes_print, false};
const struct codec codec_number = {number_parse, number_print, false};
static const struct codec codec_flag = {flag_parse, number_print, false};
static const struct codec codec_pids = {pids_parse, limit_print, false};
static const struct codec codec_depth = {depth_parse, limit_print, false};
static const struct codec codec_time = {time_parse, number_print, false};
static const struct codec codec_usage = {usage_parse, usage_print, false};

#define SCALAR(name, about, about_v1)     \
	const struct type type_##name = { \
		about, about_v1, scalar_get, scalar_set, &codec_##name, PLAN_BLIND, false}

SCALAR(bytes, FORMAT_BYTES, FORMAT_BYTES_V1);
SCALAR(number, "a number", NULL);
SCALAR(flag, "0 or 1", NULL);
SCALAR(pids, "a number up to 4194304, or max", NULL);
SCALAR(depth, "a number up to 2147483647, or max", NULL);
SCALAR(time, "a number of microseconds, or with us, ms or s", "a number of microseconds");
SCALAR(usage, "microseconds", "nanoseconds");

const struct type type_text = {
	"as the file has it", NULL, text_get, text_set, NULL, PLAN_BLIND, true};
const struct type type_list = {
	"numbers and ranges, as in 0-3,8", NULL, text_get, list_set, NULL, PLAN_BLIND, true};
const struct type type_none = {"", NULL, NULL, NULL, NULL, 0, true};
