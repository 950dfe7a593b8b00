/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Clients that a daemon should not have to bear, many in one process, and one that is quiet. They
 * speak for themselves, without sd-bus. None but the first two returns.
 */

/* An authenticated connection, or a negative errno. */
int crowd_login(const char *socket);
/* A call and its answer. */
int crowd_ping(int fd);

/* n connections each. `*done` counts, in all processes together: answers, connections that stand.
 */
void crowd_flood(const char *socket, unsigned n, volatile unsigned *done);
void crowd_never_read(const char *socket, unsigned n, volatile unsigned *done);
/* Stop in the middle: of a line, of authentication, of a message's head, of its body. They come
 * back when they are dropped. */
void crowd_half_open(const char *socket, unsigned n, volatile unsigned *done);
/* Connect and go, over and over; n is how long each stays, in microseconds. */
void crowd_come_and_go(const char *socket, unsigned n, volatile unsigned *done);
void crowd_idle(const char *socket, unsigned n, volatile unsigned *done);
