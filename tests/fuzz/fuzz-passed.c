/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a client sends, where it may pass a socket. */
#include "session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	session_run(data, size, true);
	return 0;
}
