/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "throttle.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Plain decimal, no sign, no blanks: what strtoull would forgive is refused. */
static bool number(const char **text, uint64_t max, uint64_t *ret)
{
	const char *at = *text;
	uint64_t value = 0;

	if (*at < '0' || *at > '9')
		return false;
	for (; *at >= '0' && *at <= '9'; at++) {
		unsigned digit = (unsigned)(*at - '0');

		if (value > (max - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*text = at;
	*ret = value;
	return true;
}

int throttle_next(const char **text, struct throttle_line *ret)
{
	const char *at = *text;
	uint64_t major, minor, limit;

	if (*at == '\0')
		return 0;
	if (!number(&at, DEVICE_MAJOR_MAX, &major) || *at++ != ':' ||
		!number(&at, DEVICE_MINOR_MAX, &minor) || *at++ != ' ' ||
		!number(&at, UINT64_MAX, &limit) || (*at != '\n' && *at != '\0'))
		return -EINVAL;
	*ret = (struct throttle_line){(unsigned)major, (unsigned)minor, limit};
	*text = at + (*at == '\n');
	return 1;
}

uint64_t throttle_limit(const char *lines, unsigned major, unsigned minor)
{
	struct throttle_line line;
	uint64_t limit = 0;

	while (throttle_next(&lines, &line) == 1)
		if (line.major == major && line.minor == minor && line.limit != 0 &&
			(limit == 0 || line.limit < limit))
			limit = line.limit;
	return limit;
}

int throttle_narrows(const char *lines, const char *value)
{
	struct throttle_line line;
	uint64_t limit;

	if (throttle_next(&value, &line) != 1 || *value != '\0')
		return -EINVAL;
	limit = throttle_limit(lines, line.major, line.minor);
	return limit == 0 || (line.limit != 0 && line.limit <= limit);
}
