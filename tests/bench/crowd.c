/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench-crowd CGMD: what a quiet client notices of hostile ones, and what the daemon takes and
 * gives back: 64 that flood it, 200 that never read, 500 that do not finish and 2,000 idle ones, of
 * seven accounts; of three that come and go; then the most idle connections that there can be. In a
 * cage, as root; tests/bench/run --crowd does it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crowd.h"
#include "measure.h"
#include "party.h"

#define FOLDER "/run/bench"
#define SOCKET FOLDER "/crowd"
#define QUIET_CALLS 1000
#define QUIET_PAUSE 2000 /* microseconds between two calls */
#define ROUNDS 3
#define QUIET 2000 /* its uid */

struct size {
	unsigned long anon; /* kB */
	unsigned fds;
};

static struct size size_of(pid_t pid)
{
	struct size size = {0};
	char path[64], line[128];
	struct stat st;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		need(-errno, path);
	while (fgets(line, sizeof(line), f))
		(void)sscanf(line, "RssAnon: %lu", &size.anon);
	fclose(f);
	/* Since 6.2 the number of its fds. */
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	need_errno(stat(path, &st), path);
	size.fds = (unsigned)st.st_size;
	return size;
}

static double quiet_median(void)
{
	static double times[QUIET_CALLS];
	int fd = need(crowd_login(SOCKET), "login");

	for (size_t i = 0; i < QUIET_CALLS; i++) {
		double start;

		usleep(QUIET_PAUSE);
		start = now_usec();
		need(crowd_ping(fd), "ping");
		times[i] = now_usec() - start;
	}
	close(fd);
	return median(times, QUIET_CALLS);
}

static pid_t start(uid_t uid, void (*run)(const char *socket, unsigned n, volatile unsigned *done),
	unsigned n, volatile unsigned *done)
{
	pid_t pid = need_errno(fork(), "fork");

	if (pid > 0)
		return pid;
	need_errno(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
	need_errno(setresgid(uid, uid, uid), "setresgid");
	need_errno(setresuid(uid, uid, uid), "setresuid");
	run(SOCKET, n, done);
	_exit(0);
}

static double quiet(uid_t uid, double *shared)
{
	pid_t pid = need_errno(fork(), "fork");
	int status;

	if (pid == 0) {
		need_errno(setresuid(uid, uid, uid), "setresuid");
		*shared = quiet_median();
		_exit(0);
	}
	if (waitpid(pid, &status, 0) < 0 || status != 0)
		need(-EPIPE, "the quiet client");
	return *shared;
}

static void print_size(const char *when, struct size size)
{
	printf("crowd, %s: core RssAnon %lu kB, %u fds\n", when, size.anon, size.fds);
	fflush(stdout);
}

struct shared {
	double median;
	volatile unsigned answers, idle, held;
};

static const struct part {
	void (*run)(const char *socket, unsigned n, volatile unsigned *done);
	uid_t uid;
	unsigned n;
	size_t counter;
} mixed[] = {
#define COUNTER(field) offsetof(struct shared, field)
	{crowd_flood, 3000, 16, COUNTER(answers)},
	{crowd_flood, 3001, 16, COUNTER(answers)},
	{crowd_flood, 3002, 16, COUNTER(answers)},
	{crowd_flood, 3003, 16, COUNTER(answers)},
	{crowd_never_read, 3004, 200, COUNTER(held)},
	{crowd_half_open, 3006, 500, COUNTER(held)},
	{crowd_idle, 3004, 1000, COUNTER(idle)},
	{crowd_idle, 3005, 1000, COUNTER(idle)},
#undef COUNTER
};
#define N(parts) (sizeof(parts) / sizeof(parts[0]))

static const struct part comers[] = {
	{crowd_come_and_go, 3007, 0, offsetof(struct shared, answers)},
	{crowd_come_and_go, 3008, 0, offsetof(struct shared, answers)},
	{crowd_come_and_go, 3009, 50, offsetof(struct shared, answers)},
};

static void stop(pid_t *pids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		kill(pids[i], SIGKILL);
	for (size_t i = 0; i < n; i++)
		waitpid(pids[i], NULL, 0);
}

static void larger(struct size *peak, struct size now)
{
	peak->anon = now.anon > peak->anon ? now.anon : peak->anon;
	peak->fds = now.fds > peak->fds ? now.fds : peak->fds;
}

/* One round of the quiet client while others are there. */
static void among(const char *what, const struct daemon *d, struct shared *shared, double alone,
	struct size *peak)
{
	unsigned before = shared->answers;
	double since = now_usec();
	pid_t pid = need_errno(fork(), "fork");

	if (pid == 0) {
		(void)quiet(QUIET, &shared->median);
		_exit(0);
	}
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		larger(peak, size_of(d->core));
		usleep(50000);
	}
	printf("crowd: quiet client %.1f us alone, %.1f us among them, ratio %.2f, aim 2; "
	       "meanwhile %.0f %s a second\n",
		alone, shared->median, shared->median / alone,
		(shared->answers - before) / (now_usec() - since) * 1e6, what);
	fflush(stdout);
}

static void crowd(const struct daemon *d, struct shared *shared, const struct part *parts, size_t n,
	const char *what)
{
	struct size peak = {0};
	double alone = quiet(QUIET, &shared->median);
	pid_t pids[16];
	unsigned idle = 0;

	print_size("before", size_of(d->core));
	shared->idle = 0;
	for (size_t i = 0; i < n; i++) {
		pids[i] = start(parts[i].uid, parts[i].run, parts[i].n,
			(volatile unsigned *)((char *)shared + parts[i].counter));
		idle += parts[i].run == crowd_idle ? parts[i].n : 0;
	}
	while (shared->idle < idle)
		usleep(10000);
	for (int i = 0; i < ROUNDS; i++)
		among(what, d, shared, alone, &peak);
	print_size("peak, aim below 40960", peak);
	stop(pids, n);
	sleep(3); /* until their ends are seen, and memory is given back */
	print_size("after", size_of(d->core));
	printf("crowd: quiet client afterwards %.1f us\n", quiet(QUIET, &shared->median));
}

/* As many as are taken, all of host root. */
static void most(const struct daemon *d, unsigned wanted)
{
	struct size before = size_of(d->core), with;
	int *fds = calloc(wanted, sizeof(*fds));
	unsigned n = 0;

	if (!fds)
		need(-ENOMEM, "connections");
	while (n < wanted) {
		int fd = crowd_login(SOCKET);

		if (fd < 0)
			break;
		fds[n++] = fd;
		/* what was called once keeps nothing either */
		if (crowd_ping(fd) < 0)
			break;
	}
	with = size_of(d->core);
	if (n > 0)
		printf("idle: %u connections are held, each %.2f kB and %.2f fds, aim 6 kB\n", n,
			((double)with.anon - (double)before.anon) / n,
			((double)with.fds - (double)before.fds) / n);
	while (n > 0)
		close(fds[--n]);
	free(fds);
	sleep(3);
	print_size("after these have gone", size_of(d->core));
}

/* As bench.c: waking an idle processor may take longer than the call. */
static void stay_on_one(void)
{
	cpu_set_t set;

	if (getenv("BENCH_SPREAD"))
		return;
	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	need_errno(sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
}

int main(int argc, char *argv[])
{
	struct rlimit files = {65536, 65536};
	struct shared *shared;
	struct daemon d;

	if (argc != 2 || !getenv("CGMD_CAGE")) {
		fputs("Usage: tests/bench/run --crowd BUILD\n", stderr);
		return 2;
	}
	stay_on_one();
	signal(SIGPIPE, SIG_IGN);
	d = (struct daemon){0};
	if (setrlimit(RLIMIT_NOFILE, &files) < 0) {
		need_errno(getrlimit(RLIMIT_NOFILE, &files), "getrlimit");
		files.rlim_cur = files.rlim_max;
		need_errno(setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
	}
	if (mkdir(FOLDER, 0755) < 0 && errno != EEXIST)
		need(-errno, FOLDER);
	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		need(-errno, "mmap");
	d = daemon_start(argv[1], SOCKET);
	crowd(&d, shared, mixed, N(mixed), "answers to floods");
	crowd(&d, shared, comers, N(comers), "connections");
	most(&d, files.rlim_cur < 15100 ? (unsigned)files.rlim_cur - 100 : 15000);
	daemon_stop(&d);
	return 0;
}
