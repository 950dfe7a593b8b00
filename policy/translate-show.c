/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A setting in all three formats where there is no cgroup: files are imagined, new and with what
 * was said to be set. */
#include <string.h>

#include "convert.h"

#define IMAGINED_MAX 16

struct imagined {
	unsigned n;
	struct plan_write file[IMAGINED_MAX];
	char name[IMAGINED_MAX][sizeof(((struct plan *)NULL)->names[0])];
};

/* What files hold in a new cgroup, as far as a setting asks for another's. */
static const struct {
	const char *name, *text;
} fresh[] = {
	{"blkio.weight", "500"},
	{"cgroup.events", "populated 0\nfrozen 0"},
	{"cpu.cfs_period_us", "100000"},
	{"cpu.cfs_quota_us", "-1"},
	{"cpu.max", "max 100000"},
	{"hugetlb.1GB.limit_in_bytes", BYTES_UNLIMITED_TEXT},
	{"hugetlb.1GB.max", "max"},
	{"hugetlb.2MB.limit_in_bytes", BYTES_UNLIMITED_TEXT},
	{"hugetlb.2MB.max", "max"},
	{"io.weight", "default 100"},
	{"memory.limit_in_bytes", BYTES_UNLIMITED_TEXT},
	{"memory.max", "max"},
	{"memory.memsw.limit_in_bytes", BYTES_UNLIMITED_TEXT},
	{"memory.swap.max", "max"},
};

static const char *imagine(const struct imagined *im, const char *file, bool optional)
{
	for (unsigned i = 0; i < im->n; i++)
		if (strcmp(im->name[i], file) == 0)
			return im->file[i].text;
	for (size_t i = 0; i < sizeof(fresh) / sizeof(fresh[0]); i++)
		if (strcmp(fresh[i].name, file) == 0)
			return fresh[i].text;
	return optional ? NULL : "";
}

static void imagine_all(const struct imagined *im, const struct plan *p, const char **texts)
{
	for (unsigned i = 0; i < p->n; i++)
		texts[i] = imagine(im, p->file[i], p->optional[i]);
}

static bool imagine_write(struct imagined *im, const struct plan_write *w)
{
	unsigned i = 0;

	while (i < im->n && strcmp(im->name[i], w->file) != 0)
		i++;
	if (i == IMAGINED_MAX)
		return false;
	if (i == im->n) {
		struct text name = {.buf = im->name[i], .size = sizeof(im->name[0])};

		text_put(&name, w->file);
		im->n++;
	}
	memcpy(im->file[i].text, w->text, sizeof(w->text));
	return true;
}

static struct text text_of(char *buf)
{
	return (struct text){.buf = buf, .size = PLAN_TEXT_MAX};
}

static void put_line(struct text *out, const char *name, const char *value)
{
	if (out->len > 0)
		text_put(out, "\n");
	text_put(out, name);
	if (value) {
		text_put(out, " ");
		text_put(out, value);
	}
}

/* Sets it in one imagined hierarchy, and tells the writes; REASON_KEY_MAPPING where it cannot be.
 */
static enum reason set_imagined(struct imagined *im, const char *name, const char *value, bool v2,
	struct text *out, const char **ret_why)
{
	struct plan_write writes[PLAN_FILES_MAX];
	const char *texts[PLAN_FILES_MAX] = {NULL};
	struct plan p;
	unsigned n;
	enum reason r = plan_whole(name, v2, true, &p, ret_why);

	if (r != REASON_OK)
		return r;
	imagine_all(im, &p, texts);
	r = plan_set(&p, value, texts, writes, &n, ret_why);
	for (unsigned i = 0; r == REASON_OK && i < n; i++) {
		if (!imagine_write(im, &writes[i]))
			return REASON_MANY_ENTRIES;
		if (out)
			put_line(out, writes[i].file, writes[i].text);
	}
	return r;
}

/* The neutral value, read back from what was set. */
static void show_neutral(const struct imagined *im, const char *neutral, bool v2, struct text *out)
{
	const char *texts[PLAN_FILES_MAX] = {NULL}, *why;
	char value[PLAN_TEXT_MAX];
	struct plan p;

	if (plan_whole(neutral, v2, false, &p, &why) != REASON_OK)
		return;
	imagine_all(im, &p, texts);
	if (plan_get(&p, texts, value, sizeof(value)) == REASON_OK)
		put_line(out, neutral, value);
}

static enum reason set_given(
	struct imagined *im, const struct given *given, unsigned n, struct translation *ret)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned v2 = 0; v2 < 2; v2++) {
			enum reason r = set_imagined(
				&im[v2], given[i].name, given[i].value, v2, NULL, &ret->why);

			if (r != REASON_OK && r != REASON_KEY_MAPPING) {
				ret->fault = i + 1;
				return r;
			}
		}
	return REASON_OK;
}

/* What nothing corresponds to: its own name alone can be set. */
static void show_none(const char *name, const char *value, struct translation *ret)
{
	char *const names[] = {ret->v1, ret->v2};

	for (unsigned i = 0; i < 2; i++) {
		struct text out = text_of(names[i]);

		if (strcmp(names[i], name) == 0)
			put_line(&out, name, value);
		else
			names[i][0] = '\0';
	}
	ret->neutral[0] = '\0';
}

static enum reason show_value(const struct setting *s, const char *asked, const char *value,
	struct imagined im[2], struct translation *ret)
{
	struct text neutral = text_of(ret->neutral);
	char name[sizeof(((struct plan *)NULL)->names[0])] = "";
	struct text copy = {.buf = name, .size = sizeof(name)};
	bool set[2];

	text_put(&copy, ret->neutral);
	ret->why = s->why;
	for (unsigned v2 = 0; v2 < 2; v2++) {
		struct text out = text_of(v2 ? ret->v2 : ret->v1);
		const char *why;
		enum reason r;

		out.buf[0] = '\0';
		r = set_imagined(&im[v2], asked, value, v2, &out, &why);
		set[v2] = r == REASON_OK;
		if (r != REASON_OK && why)
			ret->why = why;
		if (r != REASON_OK && r != REASON_KEY_MAPPING)
			return r;
	}
	ret->neutral[0] = '\0';
	if (name[0])
		show_neutral(&im[set[1]], name, set[1], &neutral);
	return set[0] || set[1] ? REASON_OK : REASON_KEY_MAPPING;
}

enum reason translate(const char *name, const char *value, const struct given *given,
	unsigned n_given, struct translation *ret)
{
	struct text neutral = text_of(ret->neutral), v1 = text_of(ret->v1), v2 = text_of(ret->v2);
	const struct setting *s;
	struct imagined im[2];
	enum reason r;

	*ret->neutral = *ret->v1 = *ret->v2 = '\0';
	ret->fault = 0;
	ret->why = NULL;
	s = setting_names(name, FACE_NEUTRAL, &neutral);
	if (!s)
		return REASON_KEY_MISSING;
	setting_names(name, FACE_V1, &v1);
	setting_names(name, FACE_V2, &v2);
	ret->why = s->why;
	if (!value)
		return REASON_OK;
	if (s->type == &type_none) {
		show_none(name, value, ret);
		return REASON_OK;
	}
	if (s->access == ACCESS_RO)
		return REASON_KEY_UNLISTED;
	im[0].n = im[1].n = 0;
	r = set_given(im, given, n_given, ret);
	return r == REASON_OK ? show_value(s, name, value, im, ret) : r;
}
