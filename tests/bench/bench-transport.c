/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ping's round trip through the transport and through a bare sd-bus server (sd_bus_attach_event),
 * taken in turns in one run, and the memory of many idle connections. Prints; judges nothing.
 *
 * bench-transport [CALLS [CONNECTIONS]]; bench-transport serve-ours|serve-bare: the server alone,
 * on fd 3, for strace -c.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../daemon/transport.h"

#define ROUNDS 7

static void check(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-r));
	exit(1);
}

static int on_message(void *userdata, sd_bus_message *m)
{
	(void)userdata;
	return sd_bus_reply_method_return(m, NULL);
}

static void on_closed(void *userdata, const char *why)
{
	(void)why;
	sd_event_exit(userdata, 0);
}

static int on_bare(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	(void)userdata;
	(void)error;
	return sd_bus_message_is_signal(m, NULL, NULL) ? sd_event_exit(userdata, 0)
						       : sd_bus_reply_method_return(m, NULL);
}

static void serve(bool ours, int fd)
{
	static const struct transport_ops ops = {on_message, on_closed};
	struct transport *t = NULL;
	sd_event *event = NULL;
	sd_bus *bus = NULL;

	check(sd_event_new(&event), "sd_event_new");
	if (ours) {
		check(transport_new(event, NULL, 0, fd, &transport_limits_default, &ops, event, &t),
			"transport_new");
	} else {
		check(sd_bus_new(&bus), "sd_bus_new");
		check(sd_bus_set_fd(bus, fd, fd), "sd_bus_set_fd");
		check(sd_bus_set_server(bus, 1, (sd_id128_t){.bytes = {1}}), "set_server");
		check(sd_bus_set_anonymous(bus, 1), "set_anonymous");
		check(sd_bus_add_filter(bus, NULL, on_bare, event), "add_filter");
		check(sd_bus_start(bus), "sd_bus_start");
		check(sd_bus_attach_event(bus, event, 0), "attach_event");
	}
	sd_event_loop(event);
	transport_free(t);
	sd_bus_close_unref(bus);
	sd_event_unref(event);
}

struct side {
	pid_t pid;
	sd_bus *bus;
	double usec[ROUNDS];
};

static void side_start(struct side *s, bool ours)
{
	int fds[2];

	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ? -errno : 0,
		"socketpair");
	s->pid = fork();
	check(s->pid, "fork");
	if (s->pid == 0) {
		close(fds[0]);
		serve(ours, fds[1]);
		_exit(0);
	}
	close(fds[1]);
	check(sd_bus_new(&s->bus), "sd_bus_new");
	check(sd_bus_set_fd(s->bus, fds[0], fds[0]), "sd_bus_set_fd");
	check(sd_bus_start(s->bus), "sd_bus_start");
}

static double side_run(struct side *s, unsigned calls)
{
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	for (unsigned i = 0; i < calls; i++)
		check(sd_bus_call_method(s->bus, NULL, "/", "org.freedesktop.DBus.Peer", "Ping",
			      NULL, NULL, ""),
			"Ping");
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((b.tv_sec - a.tv_sec) * 1e6 + (b.tv_nsec - a.tv_nsec) / 1e3) / calls;
}

static void side_stop(struct side *s)
{
	sd_bus_close_unref(s->bus);
	kill(s->pid, SIGTERM);
	waitpid(s->pid, NULL, 0);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void bench_ping(unsigned calls)
{
	struct side ours = {}, bare = {};

	side_start(&ours, true);
	side_start(&bare, false);
	(void)side_run(&ours, calls / 10 + 1);
	(void)side_run(&bare, calls / 10 + 1);
	for (unsigned i = 0; i < ROUNDS; i++) {
		ours.usec[i] = side_run(&ours, calls);
		bare.usec[i] = side_run(&bare, calls);
	}
	side_stop(&ours);
	side_stop(&bare);
	qsort(ours.usec, ROUNDS, sizeof(double), by_value);
	qsort(bare.usec, ROUNDS, sizeof(double), by_value);
	printf("ping: ours %.2f us, bare sd-bus %.2f us, ratio %.2f (medians of %d)\n",
		ours.usec[ROUNDS / 2], bare.usec[ROUNDS / 2],
		ours.usec[ROUNDS / 2] / bare.usec[ROUNDS / 2], ROUNDS);
}

/* Authenticates and makes one call, as an idle connection has done. */
static void idle_one(sd_event *event, int fd)
{
	static const char auth[] = "\0AUTH EXTERNAL 30\r\nBEGIN\r\n";
	char reply[512];

	check(write(fd, auth, sizeof(auth) - 1) < 0 ? -errno : 0, "write");
	while (sd_event_run(event, 0) > 0)
		;
	check(read(fd, reply, sizeof(reply)) <= 0 ? -EIO : 0, "authenticate");
}

static void bench_idle(unsigned n)
{
	static const struct transport_ops ops = {on_message, on_closed};
	struct transport **all = calloc(n, sizeof(*all));
	int *peers = calloc(n, sizeof(*peers));
	sd_event *event = NULL;
	size_t before;

	check(all && peers ? 0 : -ENOMEM, "calloc");
	check(sd_event_new(&event), "sd_event_new");
	before = mallinfo2().uordblks;
	for (unsigned i = 0; i < n; i++) {
		int fds[2];

		check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0
				? -errno
				: 0,
			"socketpair");
		check(transport_new(event, NULL, 0, fds[1], &transport_limits_default, &ops, event,
			      &all[i]),
			"transport_new");
		peers[i] = fds[0];
		idle_one(event, fds[0]);
	}
	printf("idle: %zu bytes of heap a connection (%u of them)\n",
		(mallinfo2().uordblks - before) / n, n);
	for (unsigned i = 0; i < n; i++) {
		transport_free(all[i]);
		close(peers[i]);
	}
	free(all);
	free(peers);
	sd_event_unref(event);
}

int main(int argc, char *argv[])
{
	struct rlimit files = {65536, 65536};

	if (argc > 1 && strncmp(argv[1], "serve-", 6) == 0) {
		serve(strcmp(argv[1], "serve-ours") == 0, 3);
		return 0;
	}
	(void)setrlimit(RLIMIT_NOFILE, &files);
	bench_ping(argc > 1 ? atoi(argv[1]) : 20000);
	bench_idle(argc > 2 ? atoi(argv[2]) : 2000);
	return 0;
}
