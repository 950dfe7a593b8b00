/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The text of /proc/PID/stat; and the same with the text as the task's name, which it may choose.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../daemon/cleanup.h"
#include "../../daemon/proc.h"
#include "fuzz.h"

#define EXITING 0x4 /* PF_EXITING */

static void check_any(const char *text)
{
	uint64_t start = 77;
	int r = proc_exiting_parse(text);

	CHECK(r == 0 || r == 1 || r == -EINVAL);
	r = proc_start_parse(text, &start);
	CHECK(r == 0 ? strchr(text, ')') != NULL : r == -EINVAL && start == 77);
}

static void check_named(const char *name)
{
	_cleanup_free_ char *text = NULL;

	for (unsigned exiting = 0; exiting < 2; exiting++) {
		uint64_t start = 0;

		free(TAKE_PTR(text));
		CHECK(asprintf(&text, "7 (%s) S 1 7 7 0 -1 %u 0 0 0 0 1 2 0 0 20 0 1 0 %u 4096 1\n",
			      name, exiting ? 0x400000 | EXITING : 0x400000, 123) > 0);
		CHECK(proc_exiting_parse(text) == (int)exiting);
		CHECK(proc_start_parse(text, &start) == 0 && start == 123);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	_cleanup_free_ char *text = input_text(&in);

	check_any(text);
	check_named(text);
	return 0;
}
