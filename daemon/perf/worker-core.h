/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of a worker share. A worker has one thread; whatever waits for the core, for the
 * spawner or for a peer has a time limit or does so while the worker is not `busy`.
 */
#pragma once

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../policy/perf.h"
#include "registry.h"
#include "worker.h"

struct packet;
struct task;

#define WORKER_TASKS_MAX 64
#define WORKER_OPENERS_MAX 8

/* An opener, by the pid namespace it sits in. */
struct worker_opener {
	uint64_t pidns; /* inode; 0: none */
	uint64_t used;
	int channel;
};

/* Calls a second, and at once: in thousandths of a call. */
struct worker_bucket {
	uint64_t rate, msec;
	int64_t burst, level;
};

struct worker {
	int core, spawner;
	bool confine;
	struct perf_registry *registry;
	int registry_fd;
	struct perf_serve serve;
	struct perf_slot *slot; /* NULL: of OCI there is none yet */
	int channel;		/* the listener or connection; -EBADF of a BROKER */
	int proc;		/* /proc, O_PATH */
	int watched;		/* an epoll instance, see worker-quota.c */
	uint64_t anon_ino;	/* what all anonymous files are, events among them */
	uint32_t anon_major, anon_minor;
	struct worker_bucket bucket;
	struct packet *waiting; /* came while an answer of the core was awaited */
	struct task *tasks[WORKER_TASKS_MAX];
	struct worker_opener openers[WORKER_OPENERS_MAX];
	uint64_t clock;		      /* for what was used least recently */
	unsigned stranded;	      /* fds; see worker_strand() */
	uint64_t news[PERF_NEWS_MAX]; /* when each was sent, in ms */
	struct worker_quota {
		unsigned watched; /* events, as of the last look */
		uint64_t prune_msec, prune_at;
		uint64_t scan_at; /* not before */
	} quota;
};

/* The outcome of a call. */
struct worker_answer {
	int fd;		      /* the event, the receiver's to close; -EBADF: refused */
	int err;	      /* refused: a negative errno */
	enum reason reason;   /* refused by the decision; else OK */
	uint32_t newfd_flags; /* O_CLOEXEC or 0, as the caller asked */
};

/*
 * For what serves (worker.c, worker-lxc.c, worker-oci.c).
 */

/* Waits until `fd` has one of `events` (poll(2)) or has hung up, and serves the core meanwhile.
 * What it has, or 0: `msec` (-1: no limit) are over. Ends the process when the core's channel
 * closes. */
int worker_wait(struct worker *w, int fd, short events, int msec);
/* Takes a token for one call, waiting for it (and serving the core) where there is none. */
void worker_pace(struct worker *w);
/* From `begin` to `end` it must not take longer than PERF_WORKER_MSEC. Nothing but memory. */
void worker_busy(struct worker *w);
void worker_idle(struct worker *w);

/*
 * One notification, which was taken from `listener` by whoever. Judges notif->pid, opens, and
 * counts. 0: *ret is to be sent to it. -ESTALE: who asked has gone, nobody waits for an answer.
 * What is not perf_event_open is refused with ENOSYS (and told as news).
 */
int worker_handle(struct worker *w, int listener, const struct seccomp_notif *notif,
	struct worker_answer *ret);
/* Is that a call of perf_event_open, by one of this machine's ABIs? */
bool worker_is_ours(const struct seccomp_data *data);
/* Gives answer->fd to who waits on that notification; `send` ends its waiting, too. Returns the
 * number that it has there. -ENOENT: it has gone. Any other error (its table of fds is full) is to
 * be sent in place. */
int worker_inject(int listener, uint64_t id, const struct worker_answer *answer, bool send);
/* SECCOMP_IOCTL_NOTIF_SEND of a negative errno. -ENOENT: it has gone. */
int worker_refuse(int listener, uint64_t id, int err);
/* Is `id` still waited on? */
bool worker_valid(int listener, uint64_t id);

/* PERF_SERVE_NOTIFY: w->slot, w->channel. */
_Noreturn void worker_notify(struct worker *w);
/* By the connection w->channel, with w->serve; see worker.h. */
_Noreturn void perf_worker_lxc(struct worker *w);
_Noreturn void perf_worker_oci(struct worker *w);

/* Ends: nobody needs it any more (PERF_DONE is sent), or it cannot go on. */
_Noreturn void worker_done(struct worker *w);
_Noreturn void worker_fail(struct worker *w);
/* A line for the log, at most one a second of each kind. */
void worker_news(struct worker *w, enum perf_news news);

/*
 * The channel to the core (worker-channel.c).
 */

/* One packet without its head. */
struct packet {
	struct packet *next;
	uint32_t type;
	int fd; /* owned, or -EBADF */
	size_t size;
	uint8_t data[];
};

int worker_send(struct worker *w, uint32_t type, const void *data, size_t size, int fd);
/* The next that came, on the heap; NULL: the channel is closed. */
struct packet *packet_take(int sock);
struct packet *packet_free(struct packet *p);
/* Waits for one of `type`, of `size` bytes; others are kept for later. Ends the process when the
 * channel closes. */
struct packet *worker_await(struct worker *w, uint32_t type, size_t size);
/* OCI: asks for a slot for the listener that came, which it knows to be one and takes, closes the
 * connection and serves the listener from here on. */
_Noreturn void worker_found(struct worker *w, int listener);

/*
 * Threads that have asked (worker-task.c).
 */

struct task {
	pid_t tid;
	uint64_t used, msec; /* when it was asked for last; when its facts were */
	int cgroup_fd; /* /proc/TID/cgroup: says ESRCH when it has gone, whoever has its number */
	int pidfd;     /* of the thread, or before 6.9 of its group; -EBADF until it is needed */
	uint64_t cgroup_id;	   /* 0: the kernel does not tell by the pidfd */
	uint64_t pidns;		   /* inode */
	pid_t tgid;		   /* 0: neither it nor these were read yet */
	int32_t own_tid, own_tgid; /* its numbers in its own pid namespace */
	int scope_fd;
	uint64_t scope_dev, scope_ino;
	uint32_t n_text;
	char *text; /* what cgroup_fd said */
	struct perf_facts_are facts;
};

/* Facts that hold at some time after this was called; *ret is the worker's, until the next call.
 * -ESRCH. What it says is true of whoever asked only if that is still there afterwards. */
int task_of(struct worker *w, pid_t tid, struct task **ret);
/* Forgets it, so that it is asked for anew. */
void task_drop(struct worker *w, struct task *t);
int task_pidfd(struct worker *w, struct task *t); /* borrowed; negative errno */
int task_numbers(struct worker *w, struct task *t);
/* A copy of the task's fd `number`; the caller's. */
int task_getfd(struct worker *w, struct task *t, int number);
/* Is the cgroup of that directory the scope or below? */
bool task_in_scope(const struct task *t, int cgroup_fd);
/* Is it a directory of the scope's file system? */
bool task_is_cgroup(const struct task *t, int fd);

/*
 * One call (worker-call.c, worker-open.c).
 */

struct worker_call {
	pid_t tid;
	int32_t pid, cpu;
	int32_t group; /* number of the group's fd in the caller, -1: none, or it is group_fd */
	uint64_t flags;
	struct perf_attr attr;
	int group_fd, cgroup_fd; /* owned */
	/* NOTIFY and LXC; -EBADF of a BROKER, which has `held` instead. */
	int listener;
	uint64_t id;
	int held;  /* a pidfd of the caller */
	uid_t uid; /* a BROKER's: it has these if it has not become somebody else */
	gid_t gid;
};

/* Judges and opens; *ret and the result as worker_handle(). */
int call_make(struct worker *w, struct worker_call *call, struct worker_answer *ret);
/* Sees to call->cgroup_fd where call->pid is a cgroup's. -EBADF: it is none. */
int call_cgroup(struct worker *w, struct worker_call *call, struct task *t);
/* Does the caller still wait for it? */
bool call_valid(const struct worker_call *call);
/* The event, or a negative errno. `target_fd`: a pidfd of a TASK's target, which was there when it
 * was judged; else -EBADF. */
int call_open(struct worker *w, struct worker_call *call, struct task *t,
	const struct perf_verdict *v, enum perf_target_kind kind, int target_fd);
/* May it ptrace-read call->pid, as itself? 0 or a negative errno; with 0 a pidfd of that. */
int call_trace(struct worker *w, const struct worker_call *call, int *ret_pidfd);

/* An anonymous file (an event, an eventfd ...), which is safe to close. */
bool worker_is_anon(const struct worker *w, int fd);
/* Leaves an fd open that came from a container: a close of a FUSE file waits for its server. */
void worker_strand(struct worker *w, int *fd);

/*
 * Quotas (worker-quota.c).
 */

/* -EMFILE: there are too many. `cpu`: PERF_CPUS_MAX: of a task. */
int quota_check(struct worker *w, const struct task *t, unsigned cpu);
/* Notes an event that was opened. -EMFILE: there is no room for it. */
int quota_add(
	struct worker *w, const struct task *t, unsigned cpu, const struct perf_verdict *v, int fd);
/* Takes off what has been closed. The ms until it wants to be called again, or -1. */
int quota_prune(struct worker *w);
void bucket_init(struct worker_bucket *b, uint32_t rate, uint32_t burst, uint64_t now);
/* 0: one was taken; else the ms until there is one. */
int bucket_take(struct worker_bucket *b, uint64_t now);
/* What cost as much as so many calls more: the next ones wait for it. */
void bucket_charge(struct worker_bucket *b, unsigned calls);
#define COST_FACTS 3   /* a question to the core */
#define COST_CALLER 15 /* two processes of its own */

/*
 * Events that the tasks of a cgroup and below hold (worker-scan.c).
 */

/* Of one process: a copy of each event, or -EBADF where it cannot be had (before 6.9 that of a
 * thread with fds of its own). Returns negative to stop. */
typedef int (*scan_event_fn)(void *userdata, pid_t pid, int pidfd, int event, uint64_t id);
/* -E2BIG: there is more than is looked at. What vanishes meanwhile is passed over. */
int scan_events(struct worker *w, int cgroup_fd, scan_event_fn fn, void *userdata);

/* PERF_REVOKE (worker-revoke.c), PERF_OPEN (worker-broker.c). */
void worker_revoke(struct worker *w, const struct packet *p);
void worker_broker_open(struct worker *w, struct packet *p);
void worker_dispatch(struct worker *w, struct packet *p); /* one of the core's; frees it */

/* Gives up all but PERFMON, SYS_PTRACE, DAC_READ_SEARCH, and KILL for a BROKER; and all system
 * calls but what a worker makes (worker-confine.c). */
int worker_confine(bool broker);

uint64_t worker_msec(void); /* CLOCK_MONOTONIC */
