/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The spawner: a process without threads that is forked at start, keeps SYS_ADMIN, SYS_PTRACE,
 * PERFMON, SETUID, SETGID, SYS_CHROOT, DAC_READ_SEARCH and KILL, reads no byte of any client's, and
 * forks
 *
 *   workers	one for each listener, connection or broker; see worker.h. Uid 0 of the host, which
 *		no container's user namespace maps, so that its FUSE cannot hold them; PERFMON,
 *		SYS_PTRACE, DAC_READ_SEARCH (to list the fds of tasks below a cgroup, whatever
 *		mode their directories have) and KILL, which a worker gives up itself unless it is
 *		a broker's
 *   openers	in a container's pid namespace, with PERFMON alone, so that the records of the
 *		events which they open have that namespace's pids
 *   callers	with one task's ids, capabilities, user and pid namespace, which do one thing and
 *		end: open as that task, or find out whether the kernel lets it read another
 *   a keeper	see keeper.h
 *
 * None of them can be dumped or traced by a container; openers and callers have no fd, root or
 * network that would be of use there, and it does no harm if they are stopped or killed. All stay
 * in cgmd's own cgroup. Workers and openers end when their channel closes. The spawner itself never
 * waits for what it forks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../policy/perf.h"

struct spawner;

/* Before there are threads, event loop or clients. `confine`: as zygote_start(). -EOPNOTSUPP: the
 * kernel has no perf_event_open. What else it cannot do without is -EPERM, -ENOSPC ... */
int spawner_start(bool confine, struct spawner **ret);
struct spawner *spawner_free(struct spawner *s); /* ends all of its children but the keeper; NULL */
int spawner_pidfd(const struct spawner *s);	 /* borrowed; readable: it has ended */

/* The core's. The new process has `channel` (its end of a SOCK_SEQPACKET pair; stays the caller's);
 * returns a pidfd, the caller's. Takes some hundred microseconds; -ETIMEDOUT after 5 s. */
int spawn_worker(struct spawner *s, int channel);
/* Listens on `sock`, a listening socket. */
int spawn_keeper(struct spawner *s, int sock);

/*
 * A worker's end: it is given a channel of its own to the spawner when it is forked. `tid` is the
 * host's number of a thread whose namespaces and ids count. The caller sees to it that it was that
 * thread all the time (SECCOMP_IOCTL_NOTIF_ID_VALID, a pidfd): it is read between the call and the
 * return. *ret_channel is where orders go. Takes some hundred microseconds, so openers are to be
 * kept; of one worker's eight live at most, then the oldest is ended, and one that has had no order
 * for ten seconds ends. -ESRCH: the thread or its pid namespace is gone. -EPERM, of openers: a
 * container without a user namespace in which somebody has CAP_SYS_PTRACE, which there is the
 * host's own: nothing of ours goes there.
 */
int spawn_opener(int spawner_channel, pid_t tid, int *ret_channel);
int spawn_caller(int spawner_channel, pid_t tid, int *ret_channel);
/* For a thread that does not wait meanwhile, and may execute what has other rights than it had when
 * it asked: all of its ids are these, or -EPERM; and only as root, of the host or of its user
 * namespace, does the caller have capabilities, for a program's own would come with the same ids.
 * Nor is it said to be of that process, which is traced like any other. */
int spawn_caller_loose(int spawner_channel, pid_t tid, uid_t uid, gid_t gid, int *ret_channel);

enum perf_order_op {
	PERF_ORDER_OPEN,  /* the answer carries the event */
	PERF_ORDER_TRACE, /* a caller's: may it ptrace-read `pid` (a thread's), as perf_event_open
			     asks? 0 or -EACCES, -ESRCH. The answer carries what stands for that
			     thread, taken before: perf_target_alive() */
};

/* What an opener or a caller is to do; numbers are those of its pid namespace. 0 is never the
 * caller's own thread: who orders knows its number. */
struct perf_order {
	uint32_t op;
	int32_t pid, cpu;
	uint32_t has_group, has_cgroup; /* fds come with it, in this order; the cgroup is in place
					   of pid */
	uint32_t pad;
	uint64_t flags;
	struct perf_attr attr;
};

struct perf_order_reply {
	int32_t result; /* 0, PERF_ORDER_ITS_OWN or a negative errno */
};

/* Of a caller's OPEN, without a fd: the kernel would open it for that thread, of a thread of its
 * process, which it lets nobody else look at. Whoever has PERFMON may open it then, if the thread
 * is the very one that waits. */
#define PERF_ORDER_ITS_OWN 1

/* Sends, waits and receives. *ret_fd is the caller's. -EPIPE: it has ended, or was; -ETIMEDOUT:
 * PERF_ORDER_MSEC; the channel is of no use after these. */
#define PERF_ORDER_MSEC 1000
int perf_order(
	int channel, const struct perf_order *order, int group_fd, int cgroup_fd, int *ret_fd);

/* As long as it is, the thread that PERF_ORDER_TRACE found has its number. */
bool perf_target_alive(int fd);

/* The spawner's own end, for spawner_start() and tests. */
_Noreturn void spawner_run(int sock, pid_t parent, bool confine);
