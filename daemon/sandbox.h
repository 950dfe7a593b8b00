/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the core gives up once it holds what it needs: capabilities (libcap) and system calls
 * (libseccomp). The inspector keeps the stronger capabilities; see inspect.h.
 */
#pragma once

/* Keeps CHOWN, DAC_OVERRIDE, FOWNER, KILL and SYS_NICE, and sets no_new_privs. */
int sandbox_capabilities(void);

/* Refuses, with EPERM, system calls that the daemon has no use for and an intruder has: execve,
 * ptrace, mounting, namespaces, modules, bpf, keys, sockets other than AF_UNIX. -EOPNOTSUPP: no
 * seccomp here. */
int sandbox_syscalls(void);
