/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For whom a connection of LXC's may speak. What a packet says but the listener is the peer's
 * claim, and a listener of its own says nothing of the thread that it names: so the peer is host
 * root, or owns the user namespace of the container that the thread lies in.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "../../policy/lxc-wire.h"

struct lxc_peer {
	bool root;  /* host root with CAP_SYS_ADMIN: may speak for all */
	bool known; /* the numbers that it uses are those of the daemon's pid namespace */
	uid_t uid;
};

/* By the connection; `proc` is an fd of /proc, `pid` its SO_PEERCRED. */
struct lxc_peer lxc_peer_of(int sock, int proc, pid_t pid, uid_t uid);

/* A thread, held so that its number is known not to be somebody else's by now: -ESRCH, or an fd,
 * the caller's. */
int lxc_thread_hold(int proc, pid_t tid);
bool lxc_thread_there(int held);

/* 0; -EPERM: it may not speak for that thread; -ESRCH and others: it cannot be told. */
int lxc_peer_check(const struct lxc_peer *peer, int proc, int held, const struct lxc_call *call);
