/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inspector: one small child process that keeps CAP_SYS_PTRACE, CAP_SYS_ADMIN and
 * CAP_DAC_READ_SEARCH, which the core gives up, and CAP_SYS_CHROOT. It opens and compares
 * namespaces, mounts a hierarchy inside a cgroup namespace to learn that namespace's root, has
 * helpers in pid namespaces where the kernel does not translate by itself, and reads and writes
 * trusted.* attributes. It answers a fixed list of questions of fixed size and parses no client's
 * bytes. It is not dumpable.
 *
 * A process is named by its host pid. The caller holds a pidfd of it and polls it after the answer:
 * still alive means that the number could not have gone to another in between.
 *
 * Calls may come from any thread, one after the other. They are synchronous and take tens of
 * microseconds; -ETIMEDOUT after 5 s. -ESRCH: the process is gone or never had that namespace.
 * -EPIPE: the inspector is gone; the daemon then ends, and loses nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "hierarchy.h"

struct inspector;

enum mark {
	MARK_RELEASE, /* trusted.cgmd.release: remove this cgroup when its last task leaves */
	MARK_LEAF,    /* trusted.cgmd.leaf: this cgroup only holds its parent's tasks */
	MARK_DENIES,  /* trusted.cgmd.denies: v1's devices.list does not show what it denies */
	MARK_MAX,
};

struct requestor_ns {
	bool own_userns, own_pidns, own_cgroupns; /* the same as the daemon's */
	bool victim_below; /* the victim's user namespace is the requestor's or a descendant of it
			    */
	uint64_t root_id;  /* st_ino of the cgroup namespace's root in the hierarchy asked for; 0:
			      the namespace is the daemon's own, or no hierarchy was asked for, or
			      the namespace's root cannot be mounted (-> no scope from it) */
};

/* Forks the child. Call before there are threads, event loop or clients; the hierarchies are
 * copied. */
int inspector_start(const struct hierarchies *hierarchies, struct inspector **ret);
struct inspector *inspector_free(struct inspector *i); /* ends the child; returns NULL */
pid_t inspector_pid(const struct inspector *i);
int inspector_pidfd(const struct inspector *i); /* borrowed; < 0: the kernel gave none */

/* `h` NULL: namespaces only. `victim` 0: none; one that is gone is not below. */
int inspect_requestor(struct inspector *i, pid_t pid, const struct hierarchy *h, pid_t victim,
	struct requestor_ns *ret);

/*
 * Whose quotas a process of `uid` uses up: a number that a container cannot have several of,
 * however many uids, cgroups and namespaces it has. In a pid namespace that was made in the
 * daemon's own user namespace (a container without one), the topmost such: ACCOUNT_CONTAINER and
 * its number. Else in the daemon's own user namespace the uid. Else, of the namespace right below
 * it: the owner's uid (NS_GET_OWNER_UID, 4.11), or where that is host root, who makes containers
 * for many, the namespace itself: ACCOUNT_CONTAINER and its number.
 */
#define ACCOUNT_CONTAINER (UINT64_C(1) << 32)
int inspect_account(struct inspector *i, pid_t pid, uid_t uid, uint64_t *ret);

/* An fd of the process' pid namespace; the caller closes it. A process never changes its own. */
int inspect_pidns(struct inspector *i, pid_t pid);

/* Writes a rule to v1's devices.allow or devices.deny, which the kernel lets only CAP_SYS_ADMIN do,
 * by a file fd that the caller opened for writing. The kernel holds it to the parent's rules.
 * -E2BIG: too long for one. */
int inspect_write_devices(struct inspector *i, int fd, const char *rule);
/* Of several lines each, up to the first that fails. -E2BIG: over INSPECT_RULES_MAX bytes. */
#define INSPECT_RULES_MAX 255
int inspect_write_rules(struct inspector *i, int fd, const char *rules);

/*
 * Sends a byte with the credentials {pid, 0, 0} for each of these processes of the host over a unix
 * socket that a client passed (others' pids need CAP_SYS_ADMIN), at most 64, as many as it takes at
 * once. Returns how many; 0: it takes none now. For a process that has ended meanwhile another one
 * is named again, or if all have the inspector, so that their number stays what was announced.
 * -EPIPE is the inspector's own end; the socket's is -ECONNRESET.
 */
int inspect_send_pids(struct inspector *i, int sock, const int32_t *pids, size_t n);

/*
 * Of each of these processes of the host (at most 64) whether `pid`'s pid namespace shows it and
 * its user namespace is pid's or below it: ret[k] is 1, 0, or -ESRCH where it has ended.
 */
int inspect_victims(struct inspector *i, pid_t pid, const int32_t *victims, size_t n, int32_t *ret);

/*
 * For kernels without the ioctls of pidns.h: at most 64 numbers of processes or threads, from the
 * daemon's pid namespace to that of pidns_fd, or back; in place, 0 for what is not there. A
 * short-lived helper in the namespace has the kernel translate credentials; in a container without
 * a user namespace, where that could be taken over, /proc is searched, and inspect_pids_from()
 * finds no threads.
 */
int inspect_pids_in(struct inspector *i, int pidns_fd, int32_t *pids, size_t n);
int inspect_pids_from(struct inspector *i, int pidns_fd, int32_t *pids, size_t n);

/*
 * 1: systemd manages the cgroup and has not delegated it: neither it nor any cgroup above carries
 * trusted.delegate, it is the host's root's, and systemd made it (trusted.invocation_id, or a name
 * that ends as units' do) or it is the hierarchy's root. 0: it does not, or systemd does not run.
 */
int inspect_systemd(struct inspector *i, int dirfd);

struct devnode;

/* Begins what devnode_change() waits for: a socket over which an int32_t will come, or its end; and
 * *ret_child the process that sends it. */
int inspect_node(struct inspector *i, const struct devnode *node, pid_t *ret_child);

/* A number that is kept with a cgroup as marks are. inspect_note_get: 1 and *ret, or 0. */
enum note {
	NOTE_SHARES, /* trusted.cgmd.shares: cpu.shares as it was set, where the kernel has a weight
		      */
	NOTE_MAX,
};
int inspect_note_set(struct inspector *i, int dirfd, enum note note, uint64_t value);
int inspect_note_get(struct inspector *i, int dirfd, enum note note, uint64_t *ret);

/* A text that is kept with a cgroup as marks are: its record of perf grants. "" takes it away, and
 * is what there is without one. inspect_perf_get: 1 and the text, or 0 and "". -E2BIG. */
#define INSPECT_PERF_TEXT_MAX 4000
int inspect_perf_set(struct inspector *i, int dirfd, const char *text);
int inspect_perf_get(struct inspector *i, int dirfd, char ret[INSPECT_PERF_TEXT_MAX + 1]);

/*
 * A device program that is attached somewhere, by its id: its name, how many maps it uses, and a
 * memfd with its instructions as the kernel shows them, none where it hides them or they are more
 * than PROGRAM_INSNS_MAX. -ENOENT: gone. -EACCES: it is no device program.
 */
#define INSPECT_PROGRAM_NAME_MAX 16
int inspect_program(struct inspector *i, uint32_t id, char name[INSPECT_PROGRAM_NAME_MAX],
	uint32_t *ret_n_maps);
/* Only of programs that are named as this daemon's, for who has the fd can change what it does:
 * else -EACCES. The program, or the first map that it uses (-ENODATA: none). */
int inspect_program_fd(struct inspector *i, uint32_t id);
int inspect_program_map(struct inspector *i, uint32_t id);

/* By an fd of the cgroup's directory (not O_PATH). The value is the cgroup's id, so that a mark
 * that was copied elsewhere does not count. inspect_mark_get: 1 set and valid, 0 not. */
int inspect_mark_set(struct inspector *i, int dirfd, enum mark mark);
int inspect_mark_clear(struct inspector *i, int dirfd, enum mark mark);
int inspect_mark_get(struct inspector *i, int dirfd, enum mark mark);
