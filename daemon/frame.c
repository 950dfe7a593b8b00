/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "frame.h"

#include <endian.h>
#include <string.h>

static uint32_t read_u32(const unsigned char *p, size_t at)
{
	uint32_t v;

	memcpy(&v, p + at, sizeof(v));
	return p[0] == 'l' ? le32toh(v) : be32toh(v);
}

size_t frame_size(const unsigned char *p, uint32_t max)
{
	uint64_t size;

	if ((p[0] != 'l' && p[0] != 'B') || p[3] != 1)
		return 0;
	size = FRAME_HEADER + (((uint64_t)read_u32(p, 12) + 7) & ~UINT64_C(7)) + read_u32(p, 4);
	return size > max ? 0 : size;
}

/* Where a value of a basic type that begins at `at` ends; beyond `end`: nowhere. */
static size_t value_end(const unsigned char *p, size_t at, size_t end, char type)
{
	switch (type) {
	case 'y':
		return at + 1;
	case 'n':
	case 'q':
		return at + 2;
	case 'b':
	case 'i':
	case 'u':
	case 'h':
		return at + 4;
	case 'x':
	case 't':
	case 'd':
		return ((at + 7) & ~(size_t)7) + 8;
	case 'g':
		return at < end ? at + 1 + p[at] + 1 : end + 1;
	case 's':
	case 'o':
		return at + 4 <= end ? at + 4 + read_u32(p, at) + 1 : end + 1;
	default:
		return end + 1;
	}
}

size_t frame_fd_field(const unsigned char *p)
{
	size_t at = FRAME_HEADER, end = FRAME_HEADER + read_u32(p, 12), found = 0;

	while (at < end) {
		size_t field = (at + 7) & ~(size_t)7;

		/* The code, a signature of one type, its value */
		if (field + 4 > end || p[field + 1] != 1 || p[field + 3] != 0)
			return 0;
		at = value_end(p, field + 4, end, p[field + 2]);
		if (at > end)
			return 0;
		if (p[field] != FRAME_FIELD_FDS)
			continue;
		if (found || p[field + 2] != 'u' || read_u32(p, field + 4) != 1)
			return 0;
		found = field;
	}
	return found;
}
