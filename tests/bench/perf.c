/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench-perf CGMD: what a perf_event_open(2) that the daemon answers takes, what it costs other
 * system calls of the same process, and what a container notices of another that floods. In a cage,
 * as root; tests/bench/run --perf does it.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "measure.h"
#include "party.h"

#define FOLDER "/run/bench"
#define SOCKET FOLDER "/perf"
#define ADDRESS "unix:path=" SOCKET
#define ROUNDS 101
#define CALLS 10 /* in a row: each event that is open costs whoever switches tasks */
#define AIM_DIRECT 25.0
#define AIM_OPENER 50.0
#define AIM_OTHER 0.1
#define AIM_FLOOD 3.0

static void grant(const struct worker *w, const char *item)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	char path[64];
	sd_bus *bus;
	int r;

	snprintf(path, sizeof(path), "/%s", worker_place(w));
	need(sd_bus_new(&bus), "sd_bus_new");
	need(sd_bus_set_address(bus, ADDRESS), ADDRESS);
	need(sd_bus_start(bus), ADDRESS);
	r = sd_bus_call_method(bus, NULL, "/org/cgmd1", "org.cgmd1.Manager", "GrantPerf", &error,
		NULL, "sas", path, 1, item);
	if (r < 0)
		fprintf(stderr, "bench: %s\n", error.message);
	need(r, "GrantPerf");
	sd_bus_close_unref(bus);
}

/* A container that the daemon answers for. */
static struct worker *trapped_new(void)
{
	struct worker *w = worker_new(WHO_CONTAINER, ADDRESS);

	grant(w, "cpu");
	worker_run(w, "perf-trap", 1);
	return w;
}

struct took {
	double median, fastest;
};

/* What one takes, of blocks that are short: it is no flood that is measured. */
static struct took took(struct worker *w, const char *job, unsigned n)
{
	double usec[ROUNDS];
	struct took ret;

	worker_run(w, job, n);
	for (size_t i = 0; i < ROUNDS; i++)
		usec[i] = worker_run(w, job, n);
	ret.median = median(usec, ROUNDS);
	ret.fastest = usec[0];
	return ret;
}

/* The median of what it takes one more than the other, in turns. */
static double more(struct worker *w, struct worker *than, const char *job, unsigned n)
{
	double usec[ROUNDS];

	for (size_t i = 0; i < ROUNDS; i++)
		usec[i] = worker_run(w, job, n) - worker_run(than, job, n);
	return median(usec, ROUNDS);
}

static void bench_opens(void)
{
	static const struct {
		const char *what, *job;
		double aim;
	} rows[] = {
		{"counting all of a CPU", "perf-count-all", AIM_DIRECT},
		{"counting itself", "perf-count-own", AIM_DIRECT},
		{"sampling all of a CPU, through the opener", "perf-sample-all", AIM_OPENER},
		{"sampling itself, through the opener", "perf-sample-own", AIM_OPENER},
	};
	struct worker *trapped = trapped_new(), *host = worker_new(WHO_ROOT, ADDRESS);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct took a = took(trapped, rows[i].job, CALLS),
			    b = took(host, rows[i].job, CALLS);

		printf("perf_event_open, %s: %.1f us (the fastest %.1f), aim %.1f; host root "
		       "without "
		       "the daemon %.1f us\n",
			rows[i].what, a.median, a.fastest, rows[i].aim, b.median);
	}
	printf("another system call: %.3f us more where perf_event_open is trapped, aim %.1f\n",
		more(trapped, host, "getppid", 20000), AIM_OTHER);
	worker_free(trapped);
	worker_free(host);
}

/* With the rate that the daemon has by itself. */
static void bench_flood(void)
{
	struct worker *quiet = trapped_new(), *hostile = trapped_new();
	struct took alone = took(quiet, "perf-count-all", CALLS), beside;

	worker_run(hostile, "perf-flood", 1);
	usleep(300000); /* what it may ask for at once is used up */
	beside = took(quiet, "perf-count-all", CALLS);
	worker_run(hostile, "perf-flood-end", 1);
	printf("perf_event_open beside a container that floods: %.1f us, alone %.1f us, ratio "
	       "%.2f, "
	       "aim %.1f\n",
		beside.median, alone.median, beside.median / alone.median, AIM_FLOOD);
	worker_free(quiet);
	worker_free(hostile);
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
	struct daemon d;

	if (argc != 2 || !getenv("CGMD_CAGE")) {
		fputs("Usage: tests/bench/run --perf BUILD\n", stderr);
		return 2;
	}
	stay_on_one();
	if (mkdir(FOLDER, 0755) < 0 && errno != EEXIST)
		need(-errno, FOLDER);
	d = daemon_start_with(argv[1], SOCKET, "--perf-rate", "1000000");
	bench_opens();
	daemon_stop(&d);
	d = daemon_start(argv[1], SOCKET);
	bench_flood();
	daemon_stop(&d);
	return 0;
}
