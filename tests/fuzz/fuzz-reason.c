/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* reason_message() into a buffer of any size, with any object and detail: a size, a reason, two
 * texts. */
#include <stdlib.h>
#include <string.h>

#include "../../daemon/cleanup.h"
#include "../../policy/path.h"
#include "../../policy/reason.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char method[] = "GetValue";
	struct input in = {data, size};
	size_t room = input_byte(&in) * 4u;
	enum reason reason = (enum reason)input_byte(&in);
	_cleanup_free_ char *object = input_text(&in);
	_cleanup_free_ char *detail = input_text(&in);
	_cleanup_free_ char *buf = malloc(room + 1);
	size_t len;

	CHECK(buf);
	memset(buf, '\xff', room + 1);
	reason_message(reason, method, object, detail, buf, room);
	CHECK(buf[room] == '\xff');
	if (room == 0)
		return 0;
	len = strnlen(buf, room);
	CHECK(len < room);
	CHECK(text_is_utf8(buf, len));
	for (const char *at = buf; *at; at++)
		CHECK(!path_control(at));
	if (room > sizeof(method))
		CHECK(strncmp(buf, method, sizeof(method) - 1) == 0);
	/* whatever is named, the reason can be read */
	if (room == 1020 && strlen(detail) < 100)
		CHECK(strstr(buf, reason_row(reason)->why));
	return 0;
}
