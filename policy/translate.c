/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names, their rows and the plans made of them. */
#include <string.h>

#include "convert.h"

static const struct setting rows[] = {
#define SETTING(type, access, neutral, v1, v2, aliases, why) \
	{&type_##type, ACCESS_##access, neutral, v1, v2, aliases, why},
#include "translate.def"
#undef SETTING
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

/* What the words of a row's lists are made of: "FILE:FIELD?". */
struct word {
	const char *name, *field;
	size_t len, field_len; /* field NULL: there is none */
	bool optional, beside;
};

static bool next_word(const char **list, struct word *ret)
{
	size_t len;

	if (!*list || !**list)
		return false;
	len = strcspn(*list, " ");
	*ret = (struct word){.name = *list, .len = len};
	*list += len + strspn(*list + len, " ");
	if (ret->name[ret->len - 1] == '?') {
		ret->optional = true;
		ret->len--;
		len--;
	}
	if (ret->name[ret->len - 1] == '!') {
		ret->beside = true;
		ret->len--;
		len--;
	}
	for (size_t i = 0; i < len; i++)
		if (ret->name[i] == ':') {
			ret->field = ret->name + i + 1;
			ret->field_len = len - i - 1;
			ret->len = i;
			break;
		}
	return true;
}

/* So that each of a row's names fits: more than a size of pages can have. */
#define STAR_MAX 32

/* The run of characters that the '*' of a pattern stands for. */
struct star {
	const char *at;
	size_t len;
};

static bool matches(const struct word *w, bool rest, const char *name, struct star *star)
{
	const char *asterisk = memchr(w->name, '*', w->len);
	size_t head, tail;

	star->len = 0;
	if (!asterisk)
		return strlen(name) == w->len && memcmp(name, w->name, w->len) == 0;
	head = (size_t)(asterisk - w->name);
	tail = w->len - head - 1;
	if (strncmp(name, w->name, head) != 0)
		return false;
	star->at = name + head;
	star->len = rest && tail == 0 ? strlen(star->at) : strcspn(star->at, ".");
	name = star->at + star->len;
	return star->len > 0 && (rest || star->len <= STAR_MAX) && strlen(name) == tail &&
	       memcmp(name, asterisk + 1, tail) == 0;
}

/* Has the list this name? Of files the first alone is one, but all are in rows of no type. */
static bool list_names(
	const struct setting *s, const char *list, const char *name, struct star *star)
{
	bool none = s->type == &type_none;
	struct word w;

	while (next_word(&list, &w)) {
		if (!w.field && matches(&w, none, name, star))
			return true;
		if (!none)
			return false;
	}
	return false;
}

static bool aliases_name(const struct setting *s, const char *name, enum face *ret)
{
	const char *list = s->aliases;
	struct star star;
	struct word w;

	while (next_word(&list, &w)) {
		enum face face = FACE_NEUTRAL;

		/* "v1:NAME" */
		if (w.field) {
			face = FACE_V1;
			w.name = w.field;
			w.len = w.field_len;
		}
		if (matches(&w, false, name, &star)) {
			*ret = face;
			return true;
		}
	}
	return false;
}

struct found {
	const struct setting *setting;
	enum face face;
	struct star star;
	bool own; /* the name is the hierarchy's file */
};

static const char *list_of(const struct setting *s, enum face face)
{
	return face == FACE_NEUTRAL ? s->neutral : face == FACE_V1 ? s->v1 : s->v2;
}

static bool row_named(const struct setting *s, const char *name, enum face here, struct found *f)
{
	enum face there = here == FACE_V1 ? FACE_V2 : FACE_V1;

	f->setting = s;
	f->own = list_names(s, list_of(s, here), name, &f->star);
	if (list_names(s, s->neutral, name, &f->star))
		f->face = FACE_NEUTRAL;
	else if (f->own)
		f->face = here;
	else if (list_names(s, list_of(s, there), name, &f->star))
		f->face = there;
	else
		return aliases_name(s, name, &f->face);
	return true;
}

static bool find(const char *name, bool v2, struct found *ret)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (row_named(&rows[i], name, v2 ? FACE_V2 : FACE_V1, ret))
			return true;
	return false;
}

static const char *here_list(const struct setting *s, bool v2)
{
	return list_of(s, v2 ? FACE_V2 : FACE_V1);
}

bool place_field(const struct conversion *c, unsigned i, char *buf, size_t size)
{
	const char *list = here_list(c->setting, c->plan->v2);
	struct word w;

	do {
		if (!next_word(&list, &w))
			return false;
	} while (i-- > 0);
	if (!w.field || w.field_len == 0 || w.field_len >= size)
		return false;
	memcpy(buf, w.field, w.field_len);
	buf[w.field_len] = '\0';
	return true;
}

static bool file_name(const struct word *w, const struct star *star, char *buf, size_t size)
{
	struct text t = {.buf = buf, .size = size};
	const char *asterisk = star->len ? memchr(w->name, '*', w->len) : NULL;
	size_t head = asterisk ? (size_t)(asterisk - w->name) : w->len;

	text_bytes(&t, w->name, head);
	if (asterisk) {
		text_bytes(&t, star->at, star->len);
		text_bytes(&t, asterisk + 1, w->len - head - 1);
	}
	return !t.cut;
}

static bool plan_files(const struct found *f, struct plan *p)
{
	const char *list = here_list(f->setting, p->v2);
	struct word w;

	while (p->n < PLAN_FILES_MAX && next_word(&list, &w)) {
		/* only counts for who reads it; such files stand behind the others */
		if (w.beside && (p->flags & PLAN_BLIND))
			break;
		if (!file_name(&w, &f->star, p->names[p->n], sizeof(p->names[0])))
			return false;
		p->file[p->n] = p->names[p->n];
		p->optional[p->n++] = w.optional;
	}
	return true;
}

static void plan_init(struct plan *p, const char *name, bool v2)
{
	*p = (struct plan){.name = name, .v2 = v2};
}

static enum reason refuse(const struct setting *s, const char **ret_why)
{
	*ret_why = s->why ? s->why : "this is only read";
	return REASON_KEY_MAPPING;
}

static enum reason plan_row(const struct found *f, bool write, struct plan *p, const char **ret_why)
{
	const struct type *type = f->setting->type;

	if (!here_list(f->setting, p->v2) || !type->get ||
		(write && (!type->set || f->setting->access == ACCESS_RO)))
		return refuse(f->setting, ret_why);
	p->flags = type->flags & (write ? PLAN_DEVICE | PLAN_BLIND : 0);
	if (!plan_files(f, p))
		return REASON_KEY_MISSING;
	p->setting = f->setting;
	if (!write && p->v2 && f->face == FACE_V1)
		p->flags |= type->flags & PLAN_SHARES;
	return REASON_OK;
}

/* Does the hierarchy's file of that name do whatever the name does, or leave it to be refused by
 * the file's own row? A neutral name may take more; and where its file may be missing, another may
 * be there. */
static bool file_is_all(const struct found *f, bool v2, bool write)
{
	const char *list = here_list(f->setting, v2);
	struct word w;

	if (!f->own)
		return false;
	if (f->face != FACE_NEUTRAL || f->setting->type->same || f->setting->access == ACCESS_RO)
		return true;
	return !write && next_word(&list, &w) && !w.optional;
}

static enum reason plan_any(
	const char *name, bool v2, bool write, struct plan *ret, const char **ret_why)
{
	struct found f;

	plan_init(ret, name, v2);
	*ret_why = NULL;
	if (find(name, v2, &f) && !file_is_all(&f, v2, write)) {
		enum reason r = plan_row(&f, write, ret, ret_why);

		/* a run too long for any file is no name of the row's */
		if (r != REASON_KEY_MISSING)
			return r;
		plan_init(ret, name, v2);
	}
	ret->file[ret->n++] = name;
	return REASON_OK;
}

enum reason plan_whole(
	const char *name, bool v2, bool write, struct plan *ret, const char **ret_why)
{
	struct found f;

	plan_init(ret, name, v2);
	*ret_why = NULL;
	return find(name, v2, &f) ? plan_row(&f, write, ret, ret_why) : REASON_KEY_MISSING;
}

static void put_name(const struct word *w, const struct star *star, struct text *out)
{
	char file[sizeof(((struct plan *)NULL)->names[0])];

	if (w->beside || !file_name(w, star, file, sizeof(file)))
		return;
	if (out->len > 0)
		text_put(out, "\n");
	text_put(out, file);
	if (w->field && w->field_len > 0) {
		text_put(out, " ");
		text_bytes(out, w->field, w->field_len);
	}
}

const struct setting *setting_names(const char *name, enum face face, struct text *out)
{
	const char *list;
	struct star star;
	struct found f;
	struct word w;

	if (!find(name, face == FACE_V2, &f))
		return NULL;
	list = list_of(f.setting, face);
	/* a row of no type holds names that have nothing in common but that */
	if (f.setting->type == &type_none && list_names(f.setting, list, name, &star)) {
		text_put(out, name);
		return f.setting;
	}
	while (next_word(&list, &w))
		if (f.setting->type != &type_none || !memchr(w.name, '*', w.len))
			put_name(&w, &f.star, out);
	return f.setting;
}

bool vocabulary_row(unsigned index, struct vocabulary *ret)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (rows[i].neutral && rows[i].type != &type_none && index-- == 0) {
			*ret = (struct vocabulary){
				rows[i].neutral, rows[i].type->format, rows[i].access == ACCESS_RO};
			return true;
		}
	return false;
}

enum reason plan_read(const char *name, bool v2, struct plan *ret, const char **ret_why)
{
	return plan_any(name, v2, false, ret, ret_why);
}

enum reason plan_write(const char *name, bool v2, struct plan *ret, const char **ret_why)
{
	return plan_any(name, v2, true, ret, ret_why);
}

static bool conversion_init(struct conversion *c, const struct plan *p, const char *const texts[])
{
	struct found f;

	*c = (struct conversion){.plan = p,
		.setting = p->setting,
		.here = p->v2 ? FACE_V2 : FACE_V1,
		.texts = texts};
	if (!p->setting || !row_named(p->setting, p->name, c->here, &f))
		return false;
	c->face = f.face;
	return true;
}

enum reason plan_get(const struct plan *p, const char *const texts[], char *buf, size_t size)
{
	struct conversion c;
	enum reason r;

	if (!conversion_init(&c, p, texts))
		return REASON_INTERNAL;
	buf[0] = '\0';
	c.out = (struct text){.buf = buf, .size = size};
	r = p->setting->type->get(&c);
	return r == REASON_OK && c.out.cut ? REASON_MANY_ENTRIES : r;
}

/* The value without the blanks around it, as the kernel takes it. */
static enum reason strip(const char *value, char *buf, size_t size)
{
	static const char blanks[] = " \t\n";
	size_t len;

	value += strspn(value, blanks);
	len = strlen(value);
	while (len > 0 && memchr(blanks, value[len - 1], sizeof(blanks) - 1))
		len--;
	if (len >= size)
		return REASON_VALUE_LENGTH;
	for (size_t i = 0; i < len; i++)
		buf[i] = (char)(value[i] == '\t' ? ' ' : value[i]);
	buf[len] = '\0';
	return len == 0 || memchr(buf, '\n', len) ? REASON_VALUE_FORMAT : REASON_OK;
}

static const char *format_of(const struct conversion *c)
{
	const struct type *type = c->setting->type;

	return c->face == FACE_V1 && type->format_v1 ? type->format_v1 : type->format;
}

enum reason plan_set(const struct plan *p, const char *value, const char *const texts[],
	struct plan_write writes[PLAN_FILES_MAX], unsigned *ret_n, const char **ret_why)
{
	char text[PLAN_TEXT_MAX];
	struct conversion c;
	enum reason r;

	*ret_why = NULL;
	if (!conversion_init(&c, p, texts))
		return REASON_INTERNAL;
	c.writes = writes;
	r = strip(value, text, sizeof(text));
	if (r == REASON_OK)
		r = p->setting->type->set(&c, text);
	if (r == REASON_OK)
		*ret_n = c.n;
	else if (r == REASON_VALUE_FORMAT)
		*ret_why = c.why ? c.why : format_of(&c);
	else
		*ret_why = c.why;
	return r;
}

size_t plan_device(const char *value)
{
	return strncmp(value, "/dev/", 5) == 0 ? strcspn(value, " \t\n") : 0;
}
