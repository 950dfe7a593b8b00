/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Porters: expendable processes that touch the file descriptors which clients send, so that the
 * core never does. Closing a passed fd runs its file system's flush, which a client's FUSE may
 * never answer; dropping the last reference to a TCP socket that lingers waits for its peer; and
 * reading from a socket that the client shares waits for a reader of the client's. All three would
 * be the core's, for as long as the client likes.
 *
 * A zygote that holds nothing is forked at start, and forks porters: one for each account that
 * sends fds, so that who wedges one wedges its own; and one undertaker, that only holds what must
 * not be closed until it exits, for an exiting process neither lingers nor flushes what is in
 * flight. A porter that was sent something else than it takes never closes that: it works off what
 * others of its account have begun and exits, while another does what is new. One that does not
 * answer is killed, and forgotten once it has ended; until then its account gets no further porter.
 *
 * Everything here runs on the loop's thread. No function waits for a client.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

struct porters;
struct judging;
struct passed; /* what a client passed, judged to be one of these: */
enum passed_kind {
	PASSED_SOCKET,	/* of AF_UNIX */
	PASSED_PERF,	/* a perf event */
	PASSED_SECCOMP, /* a listener for seccomp's notifications */
};

/* The zygote: forked before there are threads, event loop or clients, like the inspector. Without
 * capabilities; `confine`: and with few system calls, too few for a sanitizer. */
struct zygote;
int zygote_start(bool confine, struct zygote **ret);
struct zygote *zygote_free(struct zygote *z); /* returns NULL */
int zygote_pidfd(const struct zygote *z);     /* borrowed; readable: it has ended */

/* `zygote` is borrowed for the porters' life. */
int porters_new(sd_event *event, struct zygote *zygote, struct porters **ret);
/* After all that was judged and passed was freed. Porters end by themselves when their channel
 * closes. Returns NULL. */
struct porters *porters_free(struct porters *p);

/*
 * Looks at the fds that ride on the first `size` bytes of the queue of `conn`, or where none do, on
 * what comes next in it, without taking anything. Later, from the loop, done() is called once with
 *   1 and *passed, which the callee owns: exactly one fd, of passed_kind;
 *   0: none (passed is NULL);
 *   -EBADMSG: anything else; or a negative errno (-ETIMEDOUT, -EPIPE: the porter has ended).
 * Whatever was seen stays referenced by the porter until passed_free(), so that what the caller
 * then takes off the queue is not the last reference. After a negative result nothing may be taken.
 * -EDQUOT at once: too many porters, in all or wedged ones of this account, or too much for this
 * account's. Another errno at once: no porter could be made.
 */
int porters_judge(struct porters *p, uint64_t account, int conn, size_t size,
	void (*done)(void *userdata, int result, struct passed *passed), void *userdata,
	struct judging **ret);
/* Before done(): it is not called any more. Returns NULL. */
struct judging *judging_cancel(struct judging *j);

enum passed_kind passed_kind(const struct passed *p);

/* Ours to poll and to set options of; never to read from, and to send on only what means nothing
 * whoever gets it: a client can connect its datagram socket to somebody who believes credentials.
 */
int passed_fd(const struct passed *p);

/* A copy, the caller's, for a worker. It may be the last reference when it is closed:
 * perf_release() and seccomp_notify_release() (kernel) ask nobody outside the kernel. -EINVAL: a
 * socket, of which there must be none. */
int passed_copy(const struct passed *p);

/* Both ends have no name, but perhaps the kernel's own for who sends credentials: a socketpair's,
 * and not a connection to some service or from a client of one. A datagram socket may be connected
 * to another the next moment. */
bool passed_is_pair(const struct passed *p);

/*
 * Receives `rounds` (1 or 2) single bytes with credentials on it, after the first of two writing
 * '1'. The porter has set SO_PASSCRED when it judged. `usec` is for each round. done() is called
 * once, later: 0 and creds[0 .. rounds - 1] as the daemon's namespaces have them; -ETIMEDOUT;
 * -EPIPE: the other end has closed, or the porter has ended; -EBADMSG: no byte, no credentials, or
 * fds with them. One at a time for one passed socket (-EBUSY).
 */
int passed_receive(struct passed *p, unsigned rounds, uint64_t usec,
	void (*done)(void *userdata, int result, const struct ucred *creds), void *userdata);

/*
 * Sends by the porter, whose credentials mean nothing. At most PASSED_SEND_MAX bytes, which are
 * copied. done() is called once, later, with how many were sent (on a stream perhaps not all), or
 * -EAGAIN: it takes none now, wait until it can be written to; -ENOTCONN: it is no pair; -EPIPE,
 * -EMSGSIZE, -ETIMEDOUT. -EAGAIN at once: the porter has too much to do. One at a time, and not
 * while something is received.
 */
#define PASSED_SEND_MAX 212992
int passed_send(struct passed *p, const void *data, size_t size,
	void (*done)(void *userdata, int result, const struct ucred *none), void *userdata);

/* Also while something is received or sent on it: done() is not called then. A copy of ours goes to
 * the porter, which closes what it has only after ours is closed, so that ours is never the last.
 * Returns NULL. */
struct passed *passed_free(struct passed *p);

/* Takes `fd`, which may be the last reference to what must not be closed by us, and has the
 * undertaker hold it until that exits. `p` may be NULL where there are no clients (in a test): then
 * it is closed. */
void porters_bury(struct porters *p, int fd);

/* Shuts a client's connection down and makes its closing harmless: if something is left unread in
 * it the undertaker holds it, until after it is sent another. Negative: it could not, and `fd` must
 * not be closed. `p` may be NULL as above. */
int porters_disarm(struct porters *p, uint64_t account, int fd);
/* Takes `fd`, a client's connection, and ends it so. */
void porters_close(struct porters *p, uint64_t account, int fd);
/* How many of an account's connections no undertaker has taken yet. */
unsigned porters_owed(const struct porters *p, uint64_t account);
