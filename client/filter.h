/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The seccomp filter that hands perf_event_open(2) to whoever holds the listener, and nothing else.
 */
#pragma once

/*
 * Of this process and all that it starts, for good; native calls and those of the machine's other
 * ABIs. The caller has one thread. *ret_listener, with O_CLOEXEC, is the caller's. Where the
 * process lacks CAP_SYS_ADMIN in its user namespace it gets no_new_privs, without which seccomp(2)
 * refuses. -EBUSY: a filter from outside has a listener already, and this one was not loaded;
 * -ENOSYS: the kernel has no seccomp notification (Linux 5.0); else what libseccomp or seccomp(2)
 * gives.
 */
int filter_load(int *ret_listener);
