/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What LXC (4 and later) and its lxc.seccomp.notify.proxy say to one another. Pure.
 *
 * LXC sends a struct lxc_call and the cookie, if its configuration has one, as one packet with
 * three fds: the thread's /proc directory, its mem, the listener. The answer is such a struct
 * without cookie and fds. Sizes are those of the kernel's structs, as they have been since
 * Linux 5.0.
 */
#pragma once

#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

#define LXC_COOKIE_MAX 1024
#define LXC_CALL_MAX (sizeof(struct lxc_call) + LXC_COOKIE_MAX)
#define LXC_CALL_FDS 3

enum lxc_call_fd { LXC_FD_PROC, LXC_FD_MEM, LXC_FD_LISTENER };

struct lxc_call {
	uint64_t reserved;
	int32_t monitor_pid, init_pid;
	uint16_t notif_size, resp_size, data_size;
	uint16_t pad;
	uint64_t cookie_size; /* of what follows */
	struct seccomp_notif notif;
	struct seccomp_notif_resp resp;
};

/* -EMSGSIZE: it ends before or behind what it says it has, or the cookie is too long; -EPROTO:
 * sizes of other structs, something reserved, or numbers of no task. *ret is written on success
 * only; its cookie_size is right. */
int lxc_call_parse(const void *bytes, size_t size, struct lxc_call *ret);

/* The answer to it: *call itself, with this for its thread. */
void lxc_call_answer(struct lxc_call *call, int64_t val, int32_t error, uint32_t flags);

/* What another proxy answered to *call, of which *ret is written on success only: -EMSGSIZE;
 * -EPROTO: it is the answer to something else. */
int lxc_answer_parse(const void *bytes, size_t size, const struct lxc_call *call,
	struct seccomp_notif_resp *ret);
