/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "jobs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "measure.h"
#include "place.h"

#define VALUE "104857600"
#define FILES_MAX 128

static const char auth[] = "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";

static void name_of(char *buf, size_t size, unsigned i)
{
	snprintf(buf, size, "made%u", i);
}

/* The numbered cgroups of a block, made and removed by system calls. */
static void made_before(struct bench_client *c, unsigned n)
{
	char name[16];

	for (unsigned i = 0; i < n; i++) {
		name_of(name, sizeof(name), i);
		need_errno(mkdirat(c->dir, name, 0755), name);
	}
}

static void made_after(struct bench_client *c, unsigned n)
{
	char name[16];

	for (unsigned i = 0; i < n; i++) {
		name_of(name, sizeof(name), i);
		if (unlinkat(c->dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			need(-errno, name);
	}
}

static void child_before(struct bench_client *c, unsigned n)
{
	need_errno(mkdirat(c->dir, "child", 0755), "child");
}

static void child_after(struct bench_client *c, unsigned n)
{
	need(place_move(c->dir, place_home(), c->victim), "moving back");
	/* After RemoveOnEmpty the daemon may have been faster. */
	if (unlinkat(c->dir, "child", AT_REMOVEDIR) < 0 && errno != ENOENT)
		need(-errno, "child");
}

static void child_entered(struct bench_client *c, unsigned n)
{
	child_before(c, n);
	need(place_move(c->dir, "child", c->victim), "moving");
}

static void ping(struct bench_client *c, unsigned i)
{
	CALL(c, "Ping", NULL, "i", 1);
}

static void peer_ping(struct bench_client *c, unsigned i)
{
	need(sd_bus_call_method(
		     c->bus, NULL, "/", "org.freedesktop.DBus.Peer", "Ping", NULL, NULL, ""),
		"Peer.Ping");
}

static void reply_drop(sd_bus_message *reply)
{
	sd_bus_message_unref(reply);
}

static void get_own(struct bench_client *c, unsigned i)
{
	sd_bus_message *reply = NULL;

	CALL(c, "GetValue", &reply, "sss", "memory", "", place_limit());
	reply_drop(reply);
}

static void get_child(struct bench_client *c, unsigned i)
{
	sd_bus_message *reply = NULL;

	CALL(c, "GetValue", &reply, "sss", "memory", "child", place_limit());
	reply_drop(reply);
}

static void get_raw(struct bench_client *c, unsigned i)
{
	char text[64], path[64];
	int fd;

	snprintf(path, sizeof(path), "child/%s", place_limit());
	fd = need_errno(openat(c->dir, path, O_RDONLY | O_CLOEXEC), path);

	need_errno((int)read(fd, text, sizeof(text)), place_limit());
	need_errno((int)read(fd, text, sizeof(text)), place_limit());
	close(fd);
}

static void set(struct bench_client *c, unsigned i)
{
	CALL(c, "SetValue", NULL, "ssss", "memory", "child", place_limit(), VALUE);
}

/* Does not wait for the kernel, so it is done in the loop itself. */
static void set_soft(struct bench_client *c, unsigned i)
{
	CALL(c, "SetValue", NULL, "ssss", "memory", "child", "memory.swappiness", "10");
}

static void create(struct bench_client *c, unsigned i)
{
	char name[16];

	name_of(name, sizeof(name), i);
	CALL(c, "Create", NULL, "ss", "memory", name);
}

static void removal(struct bench_client *c, unsigned i)
{
	char name[16];

	name_of(name, sizeof(name), i);
	CALL(c, "Remove", NULL, "ssi", "memory", name, 0);
}

static void removal_deep(struct bench_client *c, unsigned i)
{
	char name[16];

	name_of(name, sizeof(name), i);
	CALL(c, "Remove", NULL, "ssi", "memory", name, 1);
}

static void give(struct bench_client *c, unsigned i)
{
	CALL(c, "Chown", NULL, "ssii", "memory", "child", c->chown_to, c->chown_to);
}

static void mode(struct bench_client *c, unsigned i)
{
	CALL(c, "Chmod", NULL, "sssi", "memory", "child", "", 0755);
}

/* Each with a system call that takes it back, so these are for counting and not for timing. */
static void move_there(struct bench_client *c, unsigned i)
{
	CALL(c, "MovePid", NULL, "ssi", "memory", "child", c->victim);
	need(place_move(c->dir, place_home(), c->victim), "moving back");
}

static void move_back(struct bench_client *c, unsigned i)
{
	CALL(c, "MovePid", NULL, "ssi", "memory", "", c->victim);
	need(place_move(c->dir, "child", c->victim), "moving");
}

/* To where it is: what the call costs, and not what a migration does. */
static void move_stay(struct bench_client *c, unsigned i)
{
	CALL(c, "MovePid", NULL, "ssi", "memory", "child", c->victim);
}

static void move_stay_scm(struct bench_client *c, unsigned i)
{
	move_scm(c, "child");
}

static void move_abs(struct bench_client *c, unsigned i)
{
	char path[64] = "/child";

	if (c->chown_to != 1)
		snprintf(path, sizeof(path), "/%s/child", c->place);
	CALL(c, "MovePidAbs", NULL, "ssi", "memory", path, c->victim);
	need(place_move(c->dir, place_home(), c->victim), "moving back");
}

static void locate(struct bench_client *c, unsigned i)
{
	sd_bus_message *reply = NULL;

	CALL(c, "GetPidCgroup", &reply, "si", "memory", c->victim);
	reply_drop(reply);
}

static void locate_abs(struct bench_client *c, unsigned i)
{
	sd_bus_message *reply = NULL;

	CALL(c, "GetPidCgroupAbs", &reply, "si", "memory", c->victim);
	reply_drop(reply);
}

static void tasks(struct bench_client *c, unsigned i)
{
	sd_bus_message *reply = NULL;

	CALL(c, "GetTasks", &reply, "ss", "memory", "child");
	reply_drop(reply);
}

static void tasks_deep(struct bench_client *c, unsigned i)
{
	sd_bus_message *reply = NULL;

	CALL(c, "GetTasksRecursive", &reply, "ss", "memory", "child");
	reply_drop(reply);
}

static void children(struct bench_client *c, unsigned i)
{
	sd_bus_message *reply = NULL;

	CALL(c, "ListChildren", &reply, "ss", "memory", "");
	reply_drop(reply);
}

static void keys(struct bench_client *c, unsigned i)
{
	sd_bus_message *reply = NULL;

	CALL(c, "ListKeys", &reply, "ss", "memory", "child");
	reply_drop(reply);
}

static void controllers(struct bench_client *c, unsigned i)
{
	sd_bus_message *reply = NULL;

	CALL(c, "ListControllers", &reply, "");
	reply_drop(reply);
}

static void prune(struct bench_client *c, unsigned i)
{
	char name[16];

	name_of(name, sizeof(name), i);
	CALL(c, "Prune", NULL, "ss", "memory", name);
}

static void release(struct bench_client *c, unsigned i)
{
	CALL(c, "RemoveOnEmpty", NULL, "ss", "memory", "child");
}

/* The cycle: what a container manager does for each of its containers. */
static void cycle(struct bench_client *c, unsigned i)
{
	CALL(c, "Create", NULL, "ss", "memory", "cycle");
	CALL(c, "SetValue", NULL, "ssss", "memory", "cycle", place_limit(), VALUE);
	CALL(c, "Chown", NULL, "ssii", "memory", "cycle", c->chown_to, c->chown_to);
	CALL(c, "MovePid", NULL, "ssi", "memory", "cycle", c->victim);
	CALL(c, "MovePid", NULL, "ssi", "memory", "", c->victim);
	CALL(c, "Remove", NULL, "ssi", "memory", "cycle", 0);
}

void jobs_give(struct bench_client *c, int dirfd)
{
	if (!c->give)
		return;
	/* Where a controller is not enabled, its files are not there. */
	for (char **file = c->files; *file; file++)
		if (fchownat(dirfd, *file, c->give, c->give, AT_SYMLINK_NOFOLLOW) < 0 &&
			errno != ENOENT)
			need(-errno, *file);
	need_errno(fchown(dirfd, c->give, c->give), "fchown");
}

/* The same by system calls, in the shortest way: the files' names are known beforehand. */
static void cycle_raw(struct bench_client *c, unsigned i)
{
	const char *threads = place_pure() ? "cgroup.threads" : "tasks";
	uid_t other = (c->give ? c->give : 0) + c->chown_to;
	int fd;

	need_errno(mkdirat(c->dir, "raw", 0755), "mkdir");
	fd = need_errno(openat(c->dir, "raw", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "raw");
	jobs_give(c, fd);
	need(place_write(fd, place_limit(), VALUE "\n"), place_limit());
	need_errno(fchownat(fd, "cgroup.procs", other, other, 0), "cgroup.procs");
	need_errno(fchownat(fd, threads, other, other, 0), threads);
	need_errno(fchown(fd, other, other), "raw");
	need(place_move(fd, ".", c->victim), "moving");
	need(place_move(c->dir, place_home(), c->victim), "moving back");
	close(fd);
	need_errno(unlinkat(c->dir, "raw", AT_REMOVEDIR), "rmdir");
}

static void connection(struct bench_client *c, unsigned i)
{
	struct bench_client once = *c;

	once.bus = NULL;
	need(sd_bus_new(&once.bus), "sd_bus_new");
	need(sd_bus_set_address(once.bus, c->address), "address");
	need(sd_bus_start(once.bus), "connecting");
	peer_ping(&once, i);
	sd_bus_close_unref(once.bus);
}

static void hold(struct bench_client *c, unsigned i)
{
	const char *path = c->address + strlen("unix:path=");
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	char reply[512];
	int fd = need_errno(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");

	snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
	need_errno(connect(fd, (struct sockaddr *)&name, sizeof(name)), "connect");
	need_errno((int)write(fd, auth, sizeof(auth) - 1), "authenticating");
	if (read(fd, reply, sizeof(reply)) <= 0)
		need(-ECONNRESET, "authenticating");
	c->held = realloc(c->held, (c->n_held + 1) * sizeof(*c->held));
	if (!c->held)
		need(-ENOMEM, "held connections");
	c->held[c->n_held++] = fd;
}

/* Lets all of them go. */
static void let_go(struct bench_client *c, unsigned i)
{
	while (c->n_held > 0)
		close(c->held[--c->n_held]);
}

static const struct job jobs[] = {
	{true, "Ping", NULL, ping, NULL},
	{true, "Peer.Ping", NULL, peer_ping, NULL},
	{true, "GetValue-own", NULL, get_own, NULL},
	{true, "GetValue", child_before, get_child, child_after},
	{true, "SetValue", child_before, set, child_after},
	{true, "SetValue-swappiness", child_before, set_soft, child_after},
	{true, "Create", NULL, create, made_after},
	{true, "Remove", made_before, removal, made_after},
	{true, "Remove-recursive", made_before, removal_deep, made_after},
	{true, "Chown", child_before, give, child_after},
	{true, "Chmod", child_before, mode, child_after},
	{true, "MovePid-there", child_before, move_there, child_after},
	{true, "MovePid-back", child_entered, move_back, child_after},
	{true, "MovePidAbs", child_before, move_abs, child_after},
	{true, "MovePid-stay", child_entered, move_stay, child_after},
	{true, "MovePidScm-stay", child_entered, move_stay_scm, child_after},
	{true, "GetPidCgroup", child_entered, locate, child_after},
	{true, "GetPidCgroupAbs", child_entered, locate_abs, child_after},
	{true, "GetTasks", child_entered, tasks, child_after},
	{true, "GetTasksRecursive", child_entered, tasks_deep, child_after},
	{true, "ListChildren", child_before, children, child_after},
	{true, "ListKeys", child_before, keys, child_after},
	{true, "ListControllers", NULL, controllers, NULL},
	{true, "Prune", made_before, prune, made_after},
	{true, "RemoveOnEmpty", child_entered, release, child_after},
	{false, "SetDevices", governed_before, rules_set, governed_after},
	{false, "AllowDevices", governed_before, rule_allow, governed_after},
	{false, "DenyDevices", governed_before, rule_deny, governed_after},
	{false, "CheckDevice", governed_before, rule_ask, governed_after},
	{false, "ListDevices", governed_before, rules_list, governed_after},
	{false, "rule-change", governed_before, rule_change, governed_after},
	{false, "rule-change-few", governed_few_before, rule_change, governed_after},
	{false, "enable", enable_before, enable, enable_after},
	{false, "evacuate", evacuate_before, evacuate, evacuate_after},
	{false, "raw-enable", enable_before, enable_raw, enable_after},
	{false, "raw-evacuate", evacuate_before, evacuate_raw, evacuate_after},
	{false, "cycle", NULL, cycle, NULL},
	{false, "connect", NULL, connection, NULL},
	{false, "hold", NULL, hold, NULL},
	{false, "let-go", NULL, let_go, NULL},
	{false, "perf-trap", NULL, perf_trap, NULL},
	{false, "perf-count-all", perf_before, perf_count_all, perf_after},
	{false, "perf-count-own", perf_before, perf_count_own, perf_after},
	{false, "perf-sample-all", perf_before, perf_sample_all, perf_after},
	{false, "perf-sample-own", perf_before, perf_sample_own, perf_after},
	{false, "perf-flood", NULL, perf_flood, NULL},
	{false, "perf-flood-end", NULL, perf_flood_end, NULL},
	{false, "getppid", NULL, call_other, NULL},
	{false, "raw-GetValue", child_before, get_raw, child_after},
	{false, "raw-cycle", NULL, cycle_raw, NULL},
};

const struct job *job_at(unsigned i)
{
	return i < sizeof(jobs) / sizeof(jobs[0]) ? &jobs[i] : NULL;
}

const struct job *job_find(const char *name)
{
	const struct job *job;

	for (unsigned i = 0; (job = job_at(i)); i++)
		if (strcmp(job->name, name) == 0)
			return job;
	return NULL;
}

void jobs_prepare(struct bench_client *c)
{
	DIR *dir = fdopendir(openat(c->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *entry;
	unsigned n = 0;

	if (!dir)
		need(-errno, "opening the cgroup");
	c->files = calloc(FILES_MAX + 1, sizeof(*c->files));
	if (!c->files)
		need(-ENOMEM, "names");
	while ((entry = readdir(dir)) && n < FILES_MAX)
		if (entry->d_type == DT_REG && strcmp(entry->d_name, "notify_on_release") != 0)
			c->files[n++] = strdup(entry->d_name);
	closedir(dir);
}
