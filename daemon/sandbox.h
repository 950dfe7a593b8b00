/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the core gives up once it holds what it needs: capabilities (libcap) and system calls
 * (libseccomp). The inspector keeps the stronger capabilities; see inspect.h.
 */
#pragma once

#include <linux/filter.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

/* What of bpf(2) is still to be had. */
struct sandbox_bpf {
	bool calls;	 /* on fds that are held, pins, and queries; and CAP_NET_ADMIN for these */
	bool capability; /* CAP_BPF */
	bool loads;	 /* programs and maps, too, and CAP_PERFMON: without, the kernel takes only
			    what computes no address from what it was given (5.8) */
	bool keys;	 /* to tell and to take away what maps that are held say */
};

/* Keeps CHOWN, DAC_OVERRIDE, FOWNER, KILL and SYS_NICE and what `bpf` asks for, and sets
 * no_new_privs. */
int sandbox_capabilities(const struct sandbox_bpf *bpf);

/* Refuses, with EPERM, system calls that the daemon has no use for and an intruder has: execve,
 * ptrace, mounting, namespaces, modules, keys, sockets other than AF_UNIX, and bpf but for what
 * `bpf` says. -EOPNOTSUPP: no seccomp here. */
int sandbox_syscalls(const struct sandbox_bpf *bpf);

/* For the zygote and for the porters: a filter that lets pass what they need; another call ends the
 * process. The caller frees ret->filter. -EOPNOTSUPP: no seccomp here. */
#define SANDBOX_ZYGOTE_CLONE (CLONE_PIDFD | SIGCHLD) /* the only flags of clone(2) then */
int sandbox_zygote(struct sock_fprog *ret);
int sandbox_porter(struct sock_fprog *ret);

/* A filter that lets these pass alone (SCMP_SYS()); another call ends the process. The caller frees
 * ret->filter. -EOPNOTSUPP: no seccomp here. */
int sandbox_only(const int *calls, size_t n, struct sock_fprog *ret);
/* For the spawner and what it forks: refuses these, and most of what the core is refused, at once,
 * with EPERM. Needs no_new_privs. -EOPNOTSUPP: no seccomp here. */
int sandbox_without(const int *calls, size_t n);

/* Needs no_new_privs. One may follow upon another. -EOPNOTSUPP: no seccomp here. */
int sandbox_load(const struct sock_fprog *filter);
