/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "party.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jobs.h"
#include "measure.h"
#include "place.h"

#define BASE 100000
#define RANGE 65536
#define JOB_NAME_MAX 32

struct order {
	char job[JOB_NAME_MAX];
	unsigned n;
};

struct worker {
	char place[32]; /* its cgroup, which no other is in */
	pid_t pid;
	int sock;
};

static const struct row {
	const char *place;
	uid_t owner;
	bool container, raw;
} rows[] = {
	[WHO_ROOT] = {"bench-root", 0, false, false},
	[WHO_CONTAINER] = {"bench-c", BASE, true, false},
	[WHO_RAW_ROOT] = {"bench-raw", 0, false, true},
	[WHO_RAW_CONTAINER] = {"bench-raw-c", BASE, false, true},
};

static void die_with_parent(void)
{
	need_errno(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
}

static pid_t victim_start(void)
{
	pid_t pid = need_errno(fork(), "fork");

	if (pid > 0)
		return pid;
	die_with_parent();
	for (;;)
		pause();
}

static double job_run(const struct job *job, struct bench_client *c, unsigned n)
{
	double start, end;

	if (job->before)
		job->before(c, n);
	start = now_usec();
	for (unsigned i = 0; i < n; i++)
		job->once(c, i);
	end = now_usec();
	if (job->after)
		job->after(c, n);
	return (end - start) / n;
}

static _Noreturn void worker_serve(
	const struct row *row, const char *place, int sock, const char *address)
{
	struct bench_client c = {
		.place = place,
		.address = address,
		.give = row->raw ? row->owner : 0,
		.chown_to = row->owner ? 1 : 1000,
	};
	struct order order;

	c.dir = place_open(place);
	c.v2_dir = place_open_governing(place, true);
	c.v1_dir = place_open_governing(place, false);
	c.victim = victim_start();
	if (row->raw)
		need(place_move(c.dir, place_home(), c.victim), "moving the victim");
	jobs_prepare(&c);
	if (address && !row->raw) {
		need(sd_bus_new(&c.bus), "sd_bus_new");
		need(sd_bus_set_address(c.bus, address), address);
		need(sd_bus_start(c.bus), address);
	}
	while (recv(sock, &order, sizeof(order), 0) == sizeof(order)) {
		double usec = job_run(job_find(order.job), &c, order.n);

		need_errno((int)send(sock, &usec, sizeof(usec), MSG_NOSIGNAL), "send");
	}
	_exit(0);
}

static void wait_byte(int sock)
{
	char byte;

	if (recv(sock, &byte, 1, 0) != 1)
		_exit(1);
}

/* Root of its own namespaces; `sock` says when the maps are written. */
static void become_container(int sock)
{
	pid_t pid;

	need_errno(unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWCGROUP), "unshare");
	need_errno((int)send(sock, "u", 1, 0), "send");
	wait_byte(sock);
	need_errno(setgroups(0, NULL), "setgroups");
	need_errno(setresgid(0, 0, 0), "setresgid");
	need_errno(setresuid(0, 0, 0), "setresuid");
	die_with_parent();
	/* Its first process. */
	pid = need_errno(fork(), "fork");
	if (pid > 0) {
		waitpid(pid, NULL, 0);
		_exit(0);
	}
	die_with_parent();
}

static void write_maps(pid_t pid)
{
	static const char *const names[] = {"uid_map", "gid_map"};
	char path[32], text[32];

	snprintf(text, sizeof(text), "0 %d %d\n", BASE, RANGE);
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, names[i]);
		need(place_write(AT_FDCWD, path, text), path);
	}
}

struct worker *worker_new(enum who who, const char *address)
{
	static unsigned count;
	const struct row *row = &rows[who];
	struct worker *w = calloc(1, sizeof(*w));
	int pair[2];

	if (!w)
		need(-ENOMEM, "worker");
	snprintf(w->place, sizeof(w->place), "%s-%u", row->place, count++);
	place_make(w->place, row->owner);
	need_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), "socketpair");
	fflush(stdout);
	w->pid = need_errno(fork(), "fork");
	if (w->pid == 0) {
		close(pair[0]);
		die_with_parent();
		wait_byte(pair[1]);
		if (row->container)
			become_container(pair[1]);
		worker_serve(row, w->place, pair[1], address);
	}
	close(pair[1]);
	w->sock = pair[0];
	if (!row->raw)
		place_enter(w->place, w->pid);
	if (!row->container)
		place_settle(w->place, row->owner);
	need_errno((int)send(w->sock, "p", 1, 0), "send");
	if (row->container) {
		wait_byte(w->sock);
		write_maps(w->pid);
		place_settle(w->place, row->owner);
		need_errno((int)send(w->sock, "m", 1, 0), "send");
	}
	return w;
}

double worker_run(struct worker *w, const char *job, unsigned n)
{
	struct order order = {.n = n};
	double usec;

	snprintf(order.job, sizeof(order.job), "%s", job);
	need_errno((int)send(w->sock, &order, sizeof(order), MSG_NOSIGNAL), job);
	if (recv(w->sock, &usec, sizeof(usec), 0) != sizeof(usec))
		need(-EPIPE, job);
	return usec;
}

const char *worker_place(const struct worker *w)
{
	return w->place;
}

void process_stop(pid_t pid)
{
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
}

void worker_free(struct worker *w)
{
	/* Not by the end of its socket, which later workers have inherited. */
	kill(w->pid, SIGKILL);
	close(w->sock);
	waitpid(w->pid, NULL, 0);
	free(w);
}

static pid_t daemon_fork(const char *program, const char *socket_path, int ready_fd,
	const char *option, const char *value)
{
	char fd[16];
	pid_t pid;

	snprintf(fd, sizeof(fd), "%d", ready_fd);
	pid = need_errno(vfork(), "vfork");
	if (pid > 0)
		return pid;
	execl(program, program, "--socket", socket_path, "--ready-fd", fd, option, value, NULL);
	_exit(127);
}

/* The inspector is the core's only child. */
static pid_t child_of(pid_t pid)
{
	char path[64], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	fd = need_errno(open(path, O_RDONLY | O_CLOEXEC), path);
	need_errno((int)read(fd, text, sizeof(text) - 1), path);
	close(fd);
	return atoi(text);
}

static pid_t daemon_ready(
	const char *program, const char *socket_path, const char *option, const char *value)
{
	int pipes[2];
	char byte;
	pid_t pid;

	need_errno(pipe(pipes), "pipe");
	need_errno(fcntl(pipes[0], F_SETFD, FD_CLOEXEC), "fcntl");
	pid = daemon_fork(program, socket_path, pipes[1], option, value);
	close(pipes[1]);
	if (read(pipes[0], &byte, 1) != 1)
		need(-EPIPE, program);
	close(pipes[0]);
	return pid;
}

struct daemon daemon_start(const char *program, const char *socket_path)
{
	return daemon_start_with(program, socket_path, NULL, NULL);
}

struct daemon daemon_start_with(
	const char *program, const char *socket_path, const char *option, const char *value)
{
	pid_t core = daemon_ready(program, socket_path, option, value);

	return (struct daemon){.core = core, .inspector = child_of(core)};
}

void daemon_stop(struct daemon *d)
{
	process_stop(d->core);
}

/* A client that has nothing better to do than to try until it is answered. */
static void answer_wait(const char *socket_path)
{
	const struct timespec pause = {.tv_nsec = 20000};
	char address[128];
	sd_bus *bus;
	int r;

	snprintf(address, sizeof(address), "unix:path=%s", socket_path);
	do {
		need(sd_bus_new(&bus), "sd_bus_new");
		need(sd_bus_set_address(bus, address), address);
		r = sd_bus_start(bus);
		if (r >= 0)
			r = sd_bus_call_method(bus, NULL, "/", "org.freedesktop.DBus.Peer", "Ping",
				NULL, NULL, "");
		sd_bus_close_unref(bus);
		if (r < 0)
			nanosleep(&pause, NULL);
	} while (r < 0);
}

double daemon_first(const char *program, const char *socket_path, bool answer)
{
	double start, end;
	pid_t pid;

	unlink(socket_path);
	start = now_usec();
	if (answer) {
		int null = need_errno(open("/dev/null", O_WRONLY), "/dev/null");

		pid = daemon_fork(program, socket_path, null, NULL, NULL);
		answer_wait(socket_path);
		end = now_usec();
		close(null);
	} else {
		pid = daemon_ready(program, socket_path, NULL, NULL);
		end = now_usec();
	}
	process_stop(pid);
	return end - start;
}
