/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench-devices CGMD [opens|changes|many]: what device rules cost: whoever opens a device, whoever
 * changes a rule, and the kernel that keeps them. In a cage, as root; tests/bench/run --devices
 * does it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices.h"
#include "jobs.h"
#include "measure.h"
#include "place.h"

#define FOLDER "/run/bench"
#define SOCKET FOLDER "/devices"
#define BARE FOLDER "/devices-bare"
#define ADDRESS "unix:path=" SOCKET
#define BARE_ADDRESS "unix:path=" BARE
#define AIM 4.0

struct task {
	struct worker *worker;
	const char *job;
};

static double task_run(void *userdata, unsigned n)
{
	const struct task *task = userdata;

	return worker_run(task->worker, task->job, n);
}

static void compare_jobs(const char *who, const char *what, struct worker *ours, const char *job,
	const char *than, struct worker *other, double aim)
{
	struct task task = {ours, job}, ping = {other, "Ping"};
	const struct side a = {job, task_run, &task}, b = {than, task_run, &ping};
	char label[128];

	snprintf(label, sizeof(label), "%s, %s", what, who);
	compare(label, &a, &b, 31, 200, aim);
}

static void bench_changes(const char *who, enum who client, const char *where)
{
	static const struct {
		const char *what, *job;
		double aim;
	} rows[] = {
		{"one rule of 15 changed", "rule-change", AIM},
		{"one rule of 2 changed", "rule-change-few", AIM},
		{"all rules changed", "SetDevices", 0},
		{"a device looked up", "CheckDevice", 0},
		{"15 rules listed", "ListDevices", 0},
	};
	struct worker *ours = worker_new(client, ADDRESS), *bare = worker_new(client, BARE_ADDRESS);
	char label[96];

	snprintf(label, sizeof(label), "%s, %s", who, where);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		compare_jobs(label, rows[i].what, ours, rows[i].job, "bare sd-bus's Ping", bare,
			rows[i].aim);
		compare_jobs(
			label, rows[i].what, ours, rows[i].job, "cgmd's Ping", ours, rows[i].aim);
	}
	worker_free(ours);
	worker_free(bare);
}

static void bench_changes_of_all(const char *where)
{
	bench_changes("host root", WHO_ROOT, where);
	bench_changes("container", WHO_CONTAINER, where);
}

static sd_bus *connect_to(const char *address)
{
	sd_bus *bus;

	need(sd_bus_new(&bus), "sd_bus_new");
	need(sd_bus_set_address(bus, address), address);
	need(sd_bus_start(bus), address);
	return bus;
}

static bool has_v1(void)
{
	int fd = place_open_governing(".", false);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* What is ours alone, below the top of v2's hierarchy. */
static int base_make(void)
{
	int top = need(place_open_governing(".", true), "the hierarchy of cgroup v2"), base;

	need_errno(mkdirat(top, BASE, 0755), BASE);
	base = need_errno(openat(top, BASE, O_RDONLY | O_DIRECTORY | O_CLOEXEC), BASE);
	close(top);
	return base;
}

static void base_remove(int base)
{
	int top = need_errno(openat(base, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "..");

	need_errno(unlinkat(top, BASE, AT_REMOVEDIR), BASE);
	close(top);
	close(base);
}

static void part_opens(const char *cgmd, int base)
{
	struct daemon d = daemon_start(cgmd, SOCKET);
	sd_bus *bus = connect_to(ADDRESS);

	bench_opens(bus, base);
	sd_bus_close_unref(bus);
	daemon_stop(&d);
}

static void part_changes(const char *cgmd, int base)
{
	struct daemon d = daemon_start(cgmd, SOCKET);
	pid_t bare = bare_start(BARE);

	bench_changes_of_all(has_v1() ? "v1 and v2" : "v2");
	daemon_stop(&d);
	if (has_v1()) {
		d = daemon_start_with(cgmd, SOCKET, "--ignore", "devices");
		bench_changes_of_all("v2, v1 left alone");
		daemon_stop(&d);
	}
	process_stop(bare);
}

static void part_many(const char *cgmd, int base)
{
	struct daemon d = daemon_start(cgmd, SOCKET);
	sd_bus *bus = connect_to(ADDRESS);

	bench_many_calls(bus, base, &d);
	sd_bus_close_unref(bus);
	daemon_stop(&d);
	bench_many_direct(base);
}

static const struct part {
	const char *name;
	void (*run)(const char *cgmd, int base);
} parts[] = {{"opens", part_opens}, {"changes", part_changes}, {"many", part_many}};

static void bench_parts(const char *cgmd, const char *name)
{
	int base = base_make();

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!name || strcmp(name, parts[i].name) == 0)
			parts[i].run(cgmd, base);
	base_remove(base);
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
	if (argc < 2 || argc > 3 || !getenv("CGMD_CAGE")) {
		fputs("Usage: tests/bench/run --devices BUILD\n", stderr);
		return 2;
	}
	stay_on_one();
	if (mkdir(FOLDER, 0755) < 0 && errno != EEXIST)
		need(-errno, FOLDER);
	unlink(BARE);
	bench_parts(argv[1], argc == 3 ? argv[2] : NULL);
	return 0;
}
