/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench CGMD CGM: what a call, a connection and a start of the daemon cost, and its size. In a cage
 * (tests/system/cage) as root; tests/bench/run does it.
 *
 * bench v2 CGMD: the six-call cycle, enabling controllers and evacuating tasks, against the same by
 * system calls; on pure cgroup v2.
 *
 * bench count CGMD: starts the daemon, says "daemon CORE INSPECTOR", and does for each line "root
 * JOB N" or "container JOB N" that it reads that job, says "ready JOB", waits for a line, does it
 * again, and says "done": for those who count system calls in between. Without a line it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jobs.h"
#include "measure.h"
#include "party.h"
#include "place.h"

#define FOLDER "/run/bench"
#define SOCKET FOLDER "/cgmd"
#define BARE FOLDER "/bare"
#define ADDRESS "unix:path=" SOCKET
#define BARE_ADDRESS "unix:path=" BARE
#define HELD 2000
#define STARTS 31

extern char **environ;

struct task {
	struct worker *worker;
	const char *job;
};

static double task_run(void *userdata, unsigned n)
{
	const struct task *task = userdata;

	return worker_run(task->worker, task->job, n);
}

static void compare_tasks(const char *label, const char *name_a, struct task a, const char *name_b,
	struct task b, unsigned rounds, unsigned n, double aim)
{
	const struct side side_a = {name_a, task_run, &a}, side_b = {name_b, task_run, &b};

	compare(label, &side_a, &side_b, rounds, n, aim);
}

static void bench_calls(const char *who, enum who client, enum who raw)
{
	struct worker *ours = worker_new(client, ADDRESS), *bare = worker_new(client, BARE_ADDRESS);
	struct worker *by_hand = worker_new(raw, NULL);
	char label[64];

#define LABEL(text) (snprintf(label, sizeof(label), "%s, %s", text, who), label)
	compare_tasks(LABEL("Ping"), "cgmd", (struct task){ours, "Ping"}, "bare sd-bus",
		(struct task){bare, "Ping"}, 15, 2000, 1.3);
	compare_tasks(LABEL("GetValue of ''"), "GetValue", (struct task){ours, "GetValue-own"},
		"Ping", (struct task){ours, "Ping"}, 15, 1000, 1.7);
	compare_tasks(LABEL("GetValue of a child"), "GetValue", (struct task){ours, "GetValue"},
		"Ping", (struct task){ours, "Ping"}, 15, 1000, 1.7);
	compare_tasks(LABEL("GetValue of a child"), "GetValue", (struct task){ours, "GetValue"},
		"system calls", (struct task){by_hand, "raw-GetValue"}, 15, 1000, 0);
	compare_tasks(LABEL("six-call cycle"), "cycle", (struct task){ours, "cycle"},
		"system calls", (struct task){by_hand, "raw-cycle"}, 15, 200, 3);
	compare_tasks(LABEL("MovePid by credentials"), "MovePidScm",
		(struct task){ours, "MovePidScm-stay"}, "MovePid",
		(struct task){ours, "MovePid-stay"}, 15, 500, 4);
	compare_tasks(LABEL("connect, authenticate, Ping"), "cgmd", (struct task){ours, "connect"},
		"bare sd-bus", (struct task){bare, "connect"}, 15, 200, 0);
#undef LABEL
	worker_free(ours);
	worker_free(bare);
	worker_free(by_hand);
}

/* Each method by itself; those that move also move back, by a system call. */
static void bench_methods(void)
{
	struct worker *root = worker_new(WHO_ROOT, ADDRESS),
		      *container = worker_new(WHO_CONTAINER, ADDRESS);
	double of_root[9], of_container[9];
	const struct job *job;

	for (unsigned i = 0; (job = job_at(i)) && job->method; i++) {
		for (size_t k = 0; k < 9; k++) {
			of_root[k] = worker_run(root, job->name, 100);
			of_container[k] = worker_run(container, job->name, 100);
		}
		printf("%s: host root %.1f us, container %.1f us\n", job->name, median(of_root, 9),
			median(of_container, 9));
	}
	worker_free(root);
	worker_free(container);
}

struct size {
	unsigned long private, pss;
};

static struct size size_of(pid_t pid)
{
	struct size size = {0};
	unsigned long kb;
	char path[64], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	f = fopen(path, "re");
	if (!f)
		need(-errno, path);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Private_Clean: %lu", &kb) == 1 ||
			sscanf(line, "Private_Dirty: %lu", &kb) == 1)
			size.private += kb;
		if (sscanf(line, "Pss: %lu", &kb) == 1)
			size.pss = kb;
	}
	fclose(f);
	return size;
}

static void print_size(const char *when, const struct daemon *d, const char *aim)
{
	struct size core = size_of(d->core), inspector = size_of(d->inspector);

	printf("memory, %s: core private %lu kB (%lu PSS), inspector private %lu kB (%lu PSS), all "
	       "PSS %lu kB%s\n",
		when, core.private, core.pss, inspector.private, inspector.pss,
		core.pss + inspector.pss, aim);
}

/* Many connections that say nothing, and one that does. */
static void bench_held(const struct daemon *d)
{
	struct worker *one = worker_new(WHO_ROOT, ADDRESS), *many = worker_new(WHO_ROOT, ADDRESS);
	double without[15], with[15];

	for (size_t i = 0; i < 15; i++) {
		without[i] = worker_run(one, "Ping", 1000);
		worker_run(many, "hold", HELD);
		if (i == 0)
			print_size("with 2000 connections", d, "");
		with[i] = worker_run(one, "Ping", 1000);
		worker_run(many, "let-go", 1);
		usleep(200000); /* until their ends are seen */
	}
	printf("Ping while %d connections are held: %.1f us, without them %.1f us\n", HELD,
		median(with, 15), median(without, 15));
	print_size("after these have gone", d, "");
	worker_free(many);
	worker_free(one);
}

struct command {
	const char *const *argv;
};

static double command_run(void *userdata, unsigned n)
{
	const struct command *command = userdata;
	double start = now_usec();

	for (unsigned i = 0; i < n; i++) {
		int status = 0;
		pid_t pid;

		need(-posix_spawn(
			     &pid, command->argv[0], NULL, NULL, (char **)command->argv, environ),
			command->argv[0]);
		waitpid(pid, &status, 0);
		if (status != 0)
			need(-EPROTO, command->argv[0]);
	}
	return (now_usec() - start) / n;
}

static void bench_command(const char *cgm)
{
	const char *const ping[] = {cgm, "--address", ADDRESS, "ping", NULL};
	const char *const nothing[] = {"/bin/true", NULL};
	struct command a = {ping}, b = {nothing};
	const struct side side_a = {"cgm ping", command_run, &a},
			  side_b = {"true", command_run, &b};

	compare("the command", &side_a, &side_b, 15, 40, 0);
}

static void bench_start(const char *cgmd)
{
	double ready[STARTS], answered[STARTS];

	for (size_t i = 0; i < STARTS; i++) {
		ready[i] = daemon_first(cgmd, FOLDER "/first", false);
		answered[i] = daemon_first(cgmd, FOLDER "/first", true);
	}
	printf("from exec: ready after %.2f ms, first answer after %.2f ms (%.2f to %.2f), aim "
	       "6.0\n",
		median(ready, STARTS) / 1000, median(answered, STARTS) / 1000, answered[0] / 1000,
		answered[STARTS - 1] / 1000);
}

static void bench_all(const char *cgmd, const char *cgm)
{
	struct daemon d;
	pid_t bare;

	bench_start(cgmd);
	d = daemon_start(cgmd, SOCKET);
	print_size("idle", &d, ", aim below 1024 private");
	bare = bare_start(BARE);
	bench_calls("host root", WHO_ROOT, WHO_RAW_ROOT);
	bench_calls("container", WHO_CONTAINER, WHO_RAW_CONTAINER);
	bench_methods();
	bench_command(cgm);
	bench_held(&d);
	process_stop(bare);
	daemon_stop(&d);
}

static void bench_v2_of(const char *who, enum who client, enum who raw)
{
	struct worker *ours = worker_new(client, ADDRESS), *by_hand = worker_new(raw, NULL);
	static const struct {
		const char *label, *ours, *raw;
		unsigned rounds, n;
		double aim;
	} rows[] = {
		{"six-call cycle", "cycle", "raw-cycle", 15, 20, 3},
		{"three controllers enabled through four levels", "enable", "raw-enable", 31, 1, 2},
		{"1,000 tasks evacuated", "evacuate", "raw-evacuate", 9, 1, 2},
	};
	char label[96];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(label, sizeof(label), "%s, %s", rows[i].label, who);
		compare_tasks(label, "cgmd", (struct task){ours, rows[i].ours}, "system calls",
			(struct task){by_hand, rows[i].raw}, rows[i].rounds, rows[i].n,
			rows[i].aim);
	}
	worker_free(ours);
	worker_free(by_hand);
}

static void bench_v2(const char *cgmd)
{
	struct daemon d = daemon_start(cgmd, SOCKET);

	bench_v2_of("host root", WHO_ROOT, WHO_RAW_ROOT);
	bench_v2_of("container", WHO_CONTAINER, WHO_RAW_CONTAINER);
	daemon_stop(&d);
}

/* Everything on one processor, unless told otherwise: an idle one that must be woken takes longer
 * than the call, and in a virtual machine any time. */
static void stay_on_one(void)
{
	cpu_set_t set;

	if (getenv("BENCH_SPREAD"))
		return;
	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	need_errno(sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
}

static void count(const char *cgmd)
{
	struct daemon d = daemon_start(cgmd, SOCKET);
	struct worker *workers[2] = {
		worker_new(WHO_ROOT, ADDRESS), worker_new(WHO_CONTAINER, ADDRESS)};
	char line[128], who[16], job[32];
	unsigned n;

	printf("daemon %d %d\n", (int)d.core, (int)d.inspector);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) &&
		sscanf(line, "%15s %31s %u", who, job, &n) == 3 && job_find(job)) {
		struct worker *w = workers[strcmp(who, "container") == 0];

		worker_run(w, job, n);
		printf("ready %s\n", job);
		fflush(stdout);
		if (!fgets(line, sizeof(line), stdin))
			break;
		worker_run(w, job, n);
		puts("done");
		fflush(stdout);
	}
	worker_free(workers[0]);
	worker_free(workers[1]);
	daemon_stop(&d);
}

int main(int argc, char *argv[])
{
	const struct rlimit files = {65536, 65536};

	if (argc != 3 || !getenv("CGMD_CAGE")) {
		fputs("Usage: tests/bench/run BUILD\n", stderr);
		return 2;
	}
	stay_on_one();
	setrlimit(RLIMIT_NOFILE, &files);
	if (mkdir(FOLDER, 0755) < 0 && errno != EEXIST)
		need(-errno, FOLDER);
	unlink(BARE);
	if (strcmp(argv[1], "count") == 0)
		count(argv[2]);
	else if (strcmp(argv[1], "v2") == 0)
		bench_v2(argv[2]);
	else
		bench_all(argv[1], argv[2]);
	return 0;
}
