/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What somebody sends in place of a container's state: what is taken for one stays one between
 * blanks, and no beginning of it is one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../policy/oci-state.h"
#include "fuzz.h"

static void check_parts(const char *text, size_t size)
{
	size_t end = size;

	while (strchr(" \t\r\n", text[end - 1]))
		end--;
	/* All of them would take a long while. */
	for (size_t n = end - 1, step = 1; n > 0; n -= step < n ? step : n, step *= 2)
		CHECK(oci_state_check(text, n) == -EAGAIN);
}

static void check_more(const char *text, size_t size)
{
	char *more = malloc(size + 2);

	CHECK(more);
	more[0] = '\n';
	memcpy(more + 1, text, size);
	more[size + 1] = ' ';
	CHECK(size + 2 > OCI_STATE_MAX || oci_state_check(more, size + 2) == 0);
	more[size + 1] = '}';
	CHECK(size + 2 > OCI_STATE_MAX || oci_state_check(more, size + 2) == -EBADMSG);
	free(more);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	int r = oci_state_check(text, size);

	CHECK(r == 0 || r == -EAGAIN || r == -E2BIG || r == -EBADMSG || r == -ENOENT ||
		r == -ENOTUNIQ);
	CHECK(r == -E2BIG || size <= OCI_STATE_MAX);
	if (r != 0)
		return 0;
	check_parts(text, size);
	check_more(text, size);
	return 0;
}
