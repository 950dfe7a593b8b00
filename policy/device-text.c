/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "devices.h"
#include "path.h"

#define BLANKS " \t"
#define DIGITS "0123456789"
#define WORDS_MAX 4 /* allow c 1:3 rwm */

struct word {
	const char *at;
	size_t len;
};

/* How many, at most WORDS_MAX + 1. */
static unsigned split(const char *text, struct word *words)
{
	unsigned n = 0;

	for (text += strspn(text, BLANKS); *text && n <= WORDS_MAX; text += strspn(text, BLANKS)) {
		size_t len = strcspn(text, BLANKS);

		if (n < WORDS_MAX)
			words[n] = (struct word){text, len};
		n++;
		text += len;
	}
	return n;
}

static bool is(const struct word *w, const char *text)
{
	return w->len == strlen(text) && memcmp(w->at, text, w->len) == 0;
}

static enum reason fail(enum reason r, const char *text, const char **why)
{
	if (why)
		*why = text;
	return r;
}

static enum reason parse_access(const struct word *w, uint8_t *ret, const char **why)
{
	uint8_t access = 0;

	for (size_t i = 0; i < w->len; i++) {
		uint8_t bit = w->at[i] == 'r'	? DEVICE_READ
			      : w->at[i] == 'w' ? DEVICE_WRITE
			      : w->at[i] == 'm' ? DEVICE_MKNOD
						: 0;

		if (!bit)
			return fail(REASON_DEVICE_ACCESS, "another letter", why);
		if (access & bit)
			return fail(REASON_DEVICE_ACCESS, "a letter is there twice", why);
		access |= bit;
	}
	if (!access)
		return fail(REASON_DEVICE_ACCESS, "it is empty", why);
	*ret = access;
	return REASON_OK;
}

/* Moves *at behind a number; more than fits stays more than any maximum. */
static bool take_number(const char **at, const char *end, uint32_t *ret)
{
	uint64_t value = 0;

	if (*at == end || !strchr(DIGITS, **at))
		return false;
	for (; *at < end && **at >= '0' && **at <= '9'; (*at)++)
		if (value <= UINT32_MAX)
			value = value * 10 + (uint64_t)(**at - '0');
	*ret = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
	return true;
}

/* N, N-N or *, up to the end. */
static bool parse_minors(const char *at, const char *end, struct device_range *r)
{
	if (end - at == 1 && *at == '*') {
		r->first = 0;
		r->last = DEVICE_MINOR_MAX;
		return true;
	}
	if (!take_number(&at, end, &r->first))
		return false;
	r->last = r->first;
	if (at < end && *at == '-' && (at++, !take_number(&at, end, &r->last)))
		return false;
	return at == end;
}

static enum reason parse_numbers(
	uint8_t types, const struct word *w, struct device_range *ret, const char **why)
{
	static const char form[] =
		"numbers are MAJOR:MINOR, either '*' for any, minors also FIRST-LAST";
	const char *at = w->at, *end = at + w->len;
	struct device_range r = {.types = types, .access = DEVICE_ALL, .major = DEVICE_ANY};
	bool any = at < end && *at == '*';

	if (any)
		at++;
	else if (!take_number(&at, end, &r.major))
		return fail(REASON_DEVICE_RULE, form, why);
	if (at == end || *at++ != ':' || !parse_minors(at, end, &r))
		return fail(REASON_DEVICE_RULE, form, why);
	if (!any && r.major > DEVICE_MAJOR_MAX)
		return fail(REASON_DEVICE_NUMBER, "the major is above 4095", why);
	if (r.first > DEVICE_MINOR_MAX || r.last > DEVICE_MINOR_MAX)
		return fail(REASON_DEVICE_NUMBER, "a minor is above 1048575", why);
	if (r.first > r.last)
		return fail(REASON_DEVICE_NUMBER, "the last minor is below the first", why);
	*ret = r;
	return REASON_OK;
}

static uint8_t type_of(const struct word *w)
{
	return is(w, "c") ? DEVICE_CHAR : is(w, "b") ? DEVICE_BLOCK : is(w, "a") ? DEVICE_BOTH : 0;
}

/* A path is written one way: whether a component is a symlink is for those who look. */
static bool is_plain_path(const char *path)
{
	for (size_t len; *path; path += len) {
		if (*path++ != '/')
			return false;
		len = strcspn(path, "/");
		if (len == 0 || (len == 1 && path[0] == '.') ||
			(len == 2 && memcmp(path, "..", 2) == 0))
			return false;
	}
	return true;
}

bool device_name_valid(const char *name)
{
	const struct device_form *form = device_form_find(name);

	for (const char *at = name; form && *at; at++)
		if (strchr(BLANKS, *at) || path_control(at))
			return false;
	return form && (form->kind != DEVICE_FORM_PATH || is_plain_path(name));
}

static enum reason parse_device(
	const struct word *words, unsigned n, struct device_rule *ret, const char **why)
{
	uint8_t types = n > 0 ? type_of(words) : 0;

	if (n == 0)
		return fail(REASON_DEVICE_RULE, "no device is named", why);
	if (types && n == 2)
		return parse_numbers(types, &words[1], &ret->range, why);
	if (n > 1)
		return fail(REASON_DEVICE_RULE, "there are words too many", why);
	if (types == DEVICE_BOTH)
		return parse_numbers(types, &(struct word){"*:*", 3}, &ret->range, why);
	if (types)
		return fail(REASON_DEVICE_RULE, "numbers are missing: MAJOR:MINOR", why);
	if (words->len > DEVICE_NAME_MAX)
		return fail(REASON_DEVICE_NAME, "the name is longer than 127 bytes", why);
	memcpy(ret->name, words->at, words->len);
	ret->name[words->len] = '\0';
	if (!device_name_valid(ret->name))
		return fail(REASON_DEVICE_NAME, NULL, why);
	return REASON_OK;
}

/* DEVICE and ACCESS of n words. */
static enum reason parse_rest(
	const struct word *words, unsigned n, struct device_rule *ret, const char **why)
{
	/* "c 1:3" lacks its access, and not the device its numbers */
	bool numbers = n == 2 && type_of(words) && memchr(words[1].at, ':', words[1].len);
	enum reason r;

	if (n == 0)
		return fail(REASON_DEVICE_RULE, "no device is named", why);
	if (n == 1 || numbers)
		return fail(REASON_DEVICE_ACCESS, "it is missing", why);
	r = parse_device(words, n - 1, ret, why);
	return r == REASON_OK ? parse_access(&words[n - 1], &ret->access, why) : r;
}

enum reason device_rule_parse(
	const char *text, struct device_rule *ret, bool *ret_default, const char **why)
{
	struct word words[WORDS_MAX];
	unsigned n = split(text, words);
	struct device_rule rule = {.range.access = DEVICE_ALL};
	enum reason r = REASON_OK;
	bool def = n > 0 && is(&words[0], "default");

	if (why)
		*why = NULL;
	if (n == 0 || !(def || is(&words[0], "allow") || is(&words[0], "deny")))
		return fail(REASON_DEVICE_RULE, "a rule begins with allow, deny or default", why);
	if (n > WORDS_MAX)
		return fail(REASON_DEVICE_RULE, "there are words too many", why);
	if (def && (n != 2 || !(is(&words[1], "allow") || is(&words[1], "deny"))))
		return fail(REASON_DEVICE_RULE, "a default is allow or deny", why);
	rule.allow = is(&words[def], "allow");
	if (!def)
		r = parse_rest(words + 1, n - 1, &rule, why);
	if (r != REASON_OK)
		return r;
	*ret = rule;
	*ret_default = def;
	return REASON_OK;
}

enum reason device_parse(
	const char *device, const char *access, struct device_rule *ret, const char **why)
{
	struct word words[WORDS_MAX], letters = {access, strlen(access)};
	struct device_rule rule = {.allow = true, .range.access = DEVICE_ALL};
	unsigned n = split(device, words);
	enum reason r;

	if (why)
		*why = NULL;
	if (n > 2)
		return fail(REASON_DEVICE_RULE, "there are words too many", why);
	r = parse_device(words, n, &rule, why);
	if (r == REASON_OK)
		r = parse_access(&letters, &rule.access, why);
	if (r == REASON_OK)
		*ret = rule;
	return r;
}

static void range_text(const struct device_range *r, char *buf, size_t size)
{
	char type = r->types == DEVICE_CHAR ? 'c' : r->types == DEVICE_BLOCK ? 'b' : 'a';
	char major[16] = "*", minors[32] = "*";

	if (r->major != DEVICE_ANY)
		snprintf(major, sizeof(major), "%u", r->major);
	if (r->first == r->last)
		snprintf(minors, sizeof(minors), "%u", r->first);
	else if (r->first != 0 || r->last != DEVICE_MINOR_MAX)
		snprintf(minors, sizeof(minors), "%u-%u", r->first, r->last);
	snprintf(buf, size, "%c %s:%s", type, major, minors);
}

void device_rule_text(const struct device_rule *rule, char *buf)
{
	char range[64];

	range_text(&rule->range, range, sizeof(range));
	snprintf(buf, DEVICE_RULE_TEXT_MAX, "%s %s %s%s%s", rule->allow ? "allow" : "deny",
		*rule->name ? rule->name : range, rule->access & DEVICE_READ ? "r" : "",
		rule->access & DEVICE_WRITE ? "w" : "", rule->access & DEVICE_MKNOD ? "m" : "");
}

void device_default_text(const struct device_rules *r, char *buf)
{
	snprintf(buf, DEVICE_RULE_TEXT_MAX, "default %s", r->allow ? "allow" : "deny");
}
