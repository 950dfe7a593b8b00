/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a client sends, where no fd is taken. */
#include "session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	session_run(data, size, false);
	return 0;
}
