/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A packet of LXC's, and the same bytes as another proxy's answer to it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../policy/lxc-wire.h"
#include "fuzz.h"

static void check_answer(const uint8_t *data, size_t size, struct lxc_call *call)
{
	struct seccomp_notif_resp resp;
	int r = lxc_answer_parse(data, size, call, &resp);

	CHECK(r == 0 || r == -EPROTO || r == -EMSGSIZE);
	CHECK(r != 0 || (size == sizeof(*call) && resp.id == call->notif.id));
	lxc_call_answer(call, 7, -EACCES, 0);
	CHECK(lxc_answer_parse(call, sizeof(*call), call, &resp) == 0);
	CHECK(resp.val == 7 && resp.error == -EACCES && resp.flags == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lxc_call call = {.reserved = 77};
	int r = lxc_call_parse(data, size, &call);

	CHECK(r == 0 || r == -EPROTO || r == -EMSGSIZE);
	if (r < 0) {
		CHECK(call.reserved == 77);
		return 0;
	}
	CHECK(size == 136 + call.cookie_size && size <= LXC_CALL_MAX);
	CHECK(call.init_pid > 0 && call.notif.pid > 0);
	CHECK(memcmp(&call, data, sizeof(call)) == 0);
	check_answer(data, size, &call);
	return 0;
}
