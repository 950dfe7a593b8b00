/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FDS_SEEN 32

_Noreturn void fuzz_fail(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: this does not hold: %s\n", file, line, condition);
	abort();
}

uint8_t input_byte(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

uint32_t input_u32(struct input *in)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < 4; i++)
		value |= (uint32_t)input_byte(in) << (8 * i);
	return value;
}

static char *input_take(struct input *in, size_t size)
{
	char *text = malloc(size + 1);

	CHECK(text);
	if (size > 0)
		memcpy(text, in->at, size);
	text[size] = '\0';
	in->at += size;
	in->left -= size;
	return text;
}

char *input_text(struct input *in)
{
	const uint8_t *nul = in->left > 0 ? memchr(in->at, '\0', in->left) : NULL;
	char *text = input_take(in, nul ? (size_t)(nul - in->at) : in->left);

	if (nul)
		input_byte(in);
	return text;
}

char *input_rest(struct input *in, size_t *ret_size)
{
	*ret_size = in->left;
	return input_take(in, in->left);
}

/* U+nFFFE, U+nFFFF, and U+FDD0 to U+FDEF. */
static bool is_noncharacter(const unsigned char *p, size_t n)
{
	if (n == 3 && p[0] == 0xef && p[1] == 0xb7)
		return p[2] >= 0x90 && p[2] <= 0xaf;
	if (n < 3 || (p[n - 1] != 0xbe && p[n - 1] != 0xbf) || p[n - 2] != 0xbf)
		return false;
	return n == 3 ? p[0] == 0xef : (p[1] & 0x0f) == 0x0f;
}

/* Table 3-7 of the Unicode standard: the second byte's range depends on the first. */
static size_t sequence(const unsigned char *p, size_t left)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (n == 1)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4 || left < n)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return is_noncharacter(p, n) ? 0 : n;
}

bool text_is_utf8(const char *text, size_t size)
{
	const unsigned char *p = (const unsigned char *)text;

	while (size > 0) {
		size_t n = sequence(p, size);

		if (n == 0)
			return false;
		p += n;
		size -= n;
	}
	return true;
}

uint64_t fuzz_fds(void)
{
	uint64_t open = 0;

	for (int fd = 0; fd < FDS_SEEN; fd++)
		open |= (uint64_t)(fcntl(fd, F_GETFD) >= 0) << fd;
	return open;
}
