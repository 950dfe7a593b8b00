/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lxc-wire.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

static_assert(sizeof(struct seccomp_notif) == 80, "the wire's");
static_assert(sizeof(struct seccomp_notif_resp) == 24, "the wire's");
static_assert(sizeof(struct seccomp_data) == 64, "the wire's");
static_assert(offsetof(struct lxc_call, notif) == 32, "the wire's header");
static_assert(sizeof(struct lxc_call) == 136, "the wire's");

static bool sizes_known(const struct lxc_call *call)
{
	return call->notif_size == sizeof(call->notif) && call->resp_size == sizeof(call->resp) &&
	       call->data_size == sizeof(call->notif.data);
}

int lxc_call_parse(const void *bytes, size_t size, struct lxc_call *ret)
{
	struct lxc_call call;

	if (size < sizeof(call))
		return -EMSGSIZE;
	memcpy(&call, bytes, sizeof(call));
	if (!sizes_known(&call) || call.reserved != 0)
		return -EPROTO;
	if (call.cookie_size > LXC_COOKIE_MAX || size - sizeof(call) != call.cookie_size)
		return -EMSGSIZE;
	/* A thread that the receiver's pid namespace does not show is 0. */
	if (call.init_pid <= 0 || call.notif.pid == 0 || call.notif.pid > INT32_MAX)
		return -EPROTO;
	*ret = call;
	return 0;
}

void lxc_call_answer(struct lxc_call *call, int64_t val, int32_t error, uint32_t flags)
{
	call->cookie_size = 0;
	call->resp = (struct seccomp_notif_resp){
		.id = call->notif.id, .val = val, .error = error, .flags = flags};
}

int lxc_answer_parse(
	const void *bytes, size_t size, const struct lxc_call *call, struct seccomp_notif_resp *ret)
{
	struct lxc_call answer;

	if (size != sizeof(answer))
		return -EMSGSIZE;
	memcpy(&answer, bytes, sizeof(answer));
	if (!sizes_known(&answer) || answer.reserved != 0 || answer.resp.id != call->notif.id)
		return -EPROTO;
	*ret = answer.resp;
	return 0;
}
