/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "text.h"

int digits_parse(const char *text, unsigned base, uint64_t max, uint64_t *ret)
{
	uint64_t n = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		unsigned digit = (unsigned)(unsigned char)*text - '0';

		if (digit >= base)
			return -EINVAL;
		n = n * base + digit;
		if (n > max)
			return -EINVAL;
	}
	*ret = n;
	return 0;
}

int number_parse(enum arg_kind kind, const char *text, int32_t *ret)
{
	uint64_t n;
	int r;

	switch (kind) {
	case TAKES_PID:
		r = digits_parse(text, 10, INT32_MAX, &n);
		if (r == 0 && n == 0)
			r = -EINVAL;
		break;
	case TAKES_ID:
		if (strcmp(text, "-1") == 0) {
			*ret = -1;
			return 0;
		}
		/* 4294967295 is -1 on the wire; who means that says so */
		r = digits_parse(text, 10, UINT32_MAX - 1, &n);
		break;
	case TAKES_OWNER:
		r = digits_parse(text, 10, UINT32_MAX - 1, &n);
		break;
	case TAKES_MODE:
		r = digits_parse(text, 8, 07777, &n);
		break;
	case TAKES_FLAG:
		r = text[0] && text[1] ? -EINVAL : digits_parse(text, 2, 1, &n);
		break;
	default:
		return -EINVAL;
	}
	if (r < 0)
		return r;
	*ret = (int32_t)(uint32_t)n;
	return 0;
}

bool word_is_utf8(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	while (*p) {
		unsigned n = *p < 0x80 ? 0 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;
		unsigned low = 0x80, high = 0xbf;

		if ((*p >= 0x80 && *p < 0xc2) || *p > 0xf4)
			return false;
		if (*p == 0xe0)
			low = 0xa0;
		else if (*p == 0xed)
			high = 0x9f;
		else if (*p == 0xf0)
			low = 0x90;
		else if (*p == 0xf4)
			high = 0x8f;
		for (p++; n > 0; n--, p++, low = 0x80, high = 0xbf)
			if (*p < low || *p > high)
				return false;
	}
	return true;
}

bool word_is_access(const char *text)
{
	static const char letters[] = "rwm";
	unsigned seen = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		const char *letter = strchr(letters, *text);
		unsigned bit = letter ? 1U << (letter - letters) : 0;

		if (!bit || (seen & bit))
			return false;
		seen |= bit;
	}
	return true;
}
