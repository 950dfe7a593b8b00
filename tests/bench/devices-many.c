/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * 10,000 cgroups with a policy each: the time, and what the kernel needs for it, with the pinned
 * link. That is Slab and Percpu of /proc/meminfo, with the cgroups there before and after; what the
 * rest of the machine does meanwhile is in it, so it is done several times.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../daemon/devprog.h"
#include "devices.h"
#include "jobs.h"
#include "measure.h"

#define MANY 10000
#define ROUNDS 5

static void name_of(unsigned i, char *buf, size_t size)
{
	snprintf(buf, size, "many%u", i);
}

static void many_make(int base)
{
	char name[32];

	for (unsigned i = 0; i < MANY; i++) {
		name_of(i, name, sizeof(name));
		need_errno(mkdirat(base, name, 0755), name);
	}
}

/* Also when they are gone the kernel frees some of it later. */
static void many_remove(int base)
{
	char name[32];

	for (unsigned i = 0; i < MANY; i++) {
		name_of(i, name, sizeof(name));
		need_errno(unlinkat(base, name, AT_REMOVEDIR), name);
	}
	sleep(2);
}

static double memory_kb(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	double sum = 0;
	unsigned long kb;
	char line[128];

	if (!f)
		need(-errno, "/proc/meminfo");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Slab: %lu", &kb) == 1 || sscanf(line, "Percpu: %lu", &kb) == 1)
			sum += (double)kb;
	fclose(f);
	return sum;
}

/* Of all its threads. */
static double cpu_usec(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	need(-clock_getcpuclockid(pid, &clock), "clock_getcpuclockid");
	need_errno(clock_gettime(clock, &t), "clock_gettime");
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* One of them. */
typedef void (*many_set)(void *userdata, int base, const char *name);

struct figures {
	double wall[ROUNDS], cpu[ROUNDS], bytes[ROUNDS];
};

static void many_round(
	int base, pid_t pid, many_set set, void *userdata, struct figures *ret, size_t round)
{
	double memory, wall, cpu;
	char name[32];

	many_make(base);
	memory = memory_kb();
	wall = now_usec();
	cpu = cpu_usec(pid);
	for (unsigned i = 0; i < MANY; i++) {
		name_of(i, name, sizeof(name));
		set(userdata, base, name);
	}
	ret->cpu[round] = (cpu_usec(pid) - cpu) / MANY;
	ret->wall[round] = (now_usec() - wall) / MANY;
	ret->bytes[round] = (memory_kb() - memory) * 1024 / MANY;
	many_remove(base);
}

static void print_figures(const char *label, struct figures *f)
{
	printf("%d cgroups, %s: %.1f us each", MANY, label, median(f->wall, ROUNDS));
	printf(", %.1f us of processor time (%.1f to %.1f), aim 20", median(f->cpu, ROUNDS),
		f->cpu[0], f->cpu[ROUNDS - 1]);
	printf("; %.0f bytes of the kernel's memory (", median(f->bytes, ROUNDS));
	printf("%.0f to %.0f), aim 2048\n", f->bytes[0], f->bytes[ROUNDS - 1]);
	fflush(stdout);
}

static void set_call(void *userdata, int base, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/" BASE "/%s", name);
	need(rules_give(userdata, path, rules_usual), path);
}

static void ping(void *userdata, int base, const char *name)
{
	need(sd_bus_call_method(
		     userdata, NULL, "/", "org.freedesktop.DBus.Peer", "Ping", NULL, NULL, ""),
		"Ping");
}

void bench_many_calls(sd_bus *bus, int base, const struct daemon *d)
{
	struct figures set, nothing;

	for (size_t i = 0; i < ROUNDS; i++) {
		many_round(base, d->core, ping, bus, &nothing, i);
		many_round(base, d->core, set_call, bus, &set, i);
	}
	print_figures("nothing but a Ping", &nothing);
	print_figures("by SetDevices", &set);
}

struct direct {
	struct devprog *devprog;
	struct device_policy policy;
};

static void set_direct(void *userdata, int base, const char *name)
{
	struct direct *x = userdata;
	int fd = need_errno(openat(base, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), name);

	need(devprog_policy_set(x->devprog, fd, &x->policy), name);
	close(fd);
}

static void usual_compile(size_t max, struct device_policy *ret)
{
	struct device_rules rules = {0};

	for (size_t i = 0; rules_usual[i]; i++) {
		struct device_rule rule;
		bool is_default;

		if (device_rule_parse(rules_usual[i], &rule, &is_default, NULL) != REASON_OK)
			need(-EINVAL, rules_usual[i]);
		need(device_rules_add(&rules, &rule), rules_usual[i]);
	}
	need(device_policy_compile(&rules, &rules, max, ret), "compiling");
	device_rules_done(&rules);
}

void bench_many_direct(int base)
{
	struct figures f;
	struct direct x;
	char label[96];

	need(devprog_new(NULL, DEVPROG_NONE, &x.devprog), "devprog_new");
	usual_compile(devprog_policy_max(x.devprog), &x.policy);
	for (size_t i = 0; i < ROUNDS; i++)
		many_round(base, getpid(), set_direct, &x, &f, i);
	snprintf(label, sizeof(label), "by devprog_policy_set of %zu bytes, %s", x.policy.size,
		devprog_pins(x.devprog) ? "pinned" : "not pinned");
	print_figures(label, &f);
	device_policy_done(&x.policy);
	devprog_free(x.devprog);
}
