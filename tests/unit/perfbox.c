/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "perfbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct box_call {
	uint32_t op;
	int32_t pid, arg;
};

static int perf_open(bool system_wide)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_TASK_CLOCK,
		.exclude_kernel = 1,
		.exclude_hv = 1,
	};
	long fd = syscall(
		SYS_perf_event_open, &attr, system_wide ? -1 : 0, system_wide ? 0 : -1, -1, 0);

	if (fd < 0)
		return -errno;
	close((int)fd);
	return 0;
}

static int call(const struct box_call *c)
{
	switch (c->op) {
	case BOX_KILL:
		return kill(c->pid, c->arg) < 0 ? -errno : 0;
	case BOX_SEIZE:
		if (ptrace(PTRACE_SEIZE, c->pid, NULL, NULL) < 0)
			return -errno;
		ptrace(PTRACE_DETACH, c->pid, NULL, NULL);
		return 0;
	case BOX_READ:
		return syscall(SYS_kcmp, (pid_t)syscall(SYS_gettid), c->pid, KCMP_VM, 0, 0) < 0
			       ? -errno
			       : 0;
	case BOX_PERF:
		return perf_open(c->arg);
	default:
		return -EINVAL;
	}
}

static _Noreturn void burn(void)
{
	for (volatile unsigned i = 0;; i++)
		;
}

static _Noreturn void serve(int sock)
{
	struct box_call c;

	while (recv(sock, &c, sizeof(c), 0) == sizeof(c)) {
		int32_t r = c.op == BOX_BURN ? 0 : call(&c);

		if (send(sock, &r, sizeof(r), MSG_NOSIGNAL) < 0)
			break;
		if (c.op == BOX_BURN)
			burn();
	}
	_exit(0);
}

static void *thread_run(void *unused)
{
	for (;;)
		pause();
	return NULL;
}

static void become(const struct box_who *who)
{
	if (who->uid != 0 &&
		(setgroups(0, NULL) < 0 || setresgid(who->uid, who->uid, who->uid) < 0 ||
			setresuid(who->uid, who->uid, who->uid) < 0))
		_exit(3);
	if (prctl(PR_SET_DUMPABLE, !who->undumpable) < 0)
		_exit(4);
}

void box_caps(uint64_t caps)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.permitted = (uint32_t)caps, .effective = (uint32_t)caps},
		{.permitted = (uint32_t)(caps >> 32), .effective = (uint32_t)(caps >> 32)},
	};

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (!(caps & UINT64_C(1) << cap) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			_exit(5);
	if (syscall(SYS_capset, &header, data) < 0)
		_exit(6);
}

static void tell(int sock)
{
	const int32_t ok = 0;

	if (send(sock, &ok, sizeof(ok), MSG_NOSIGNAL) < 0)
		_exit(1);
}

/* Number 2 and on: one after the other, so that their numbers are known. */
static void children_start(const struct box_who *who, unsigned n, int (*socks)[2])
{
	for (unsigned i = 0; i < n; i++) {
		pid_t pid = fork();
		char byte;

		if (pid < 0)
			_exit(7);
		if (pid == 0) {
			pthread_t thread;

			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (who[i].thread && pthread_create(&thread, NULL, thread_run, NULL) != 0)
				_exit(8);
			become(&who[i]);
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			tell(socks[i + 1][1]);
			serve(socks[i + 1][1]);
		}
		/* Its thread has its number before the next process comes. */
		if (recv(socks[i + 1][0], &byte, 1, MSG_PEEK) != 1)
			_exit(9);
	}
}

static void map_write(pid_t pid, const char *name)
{
	static const char map[] = "0 100000 65536\n";
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, map, sizeof(map) - 1), sizeof(map) - 1);
	close(fd);
}

/* What is the test's is not to stay open in here when the test closes it. */
static void others_close(unsigned n, int (*socks)[2])
{
	for (int fd = 3; fd < 1024; fd++) {
		bool own = false;

		for (unsigned i = 0; i <= n; i++)
			own = own || socks[i][0] == fd || socks[i][1] == fd;
		if (!own)
			close(fd);
	}
}

static void init_run(
	bool userns, uint64_t caps, const struct box_who *who, unsigned n, int (*socks)[2])
{
	static const struct box_who root = {0};
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Its children's numbers are free when they end. */
	signal(SIGCHLD, SIG_IGN);
	others_close(n, socks);
	/* Until its ids are mapped. */
	if (recv(socks[0][1], &byte, 1, 0) != 1)
		_exit(1);
	if (userns && (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
		_exit(2);
	if (!userns)
		box_caps(caps);
	become(&root);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	children_start(who, n, socks);
	tell(socks[0][1]);
	serve(socks[0][1]);
}

static int32_t answer_of(int sock)
{
	int32_t r;

	assert_int_equal(recv(sock, &r, sizeof(r), 0), sizeof(r));
	return r;
}

/* They come from the init, which is ours, by their number inside. */
static pid_t host_of(pid_t init, pid_t inside)
{
	char path[64], text[256] = "";
	char *at = text, *end;
	FILE *file;

	if (inside == 1)
		return init;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", init, init);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	for (pid_t pid; (pid = (pid_t)strtol(at, &end, 10)) > 0; at = end)
		if (box_number(pid) == inside)
			return pid;
	fail_msg("no such process in the box: %d", inside);
	return -1;
}

struct box *box_new(bool userns, uint64_t caps, const struct box_who *who, unsigned n)
{
	const long flags = CLONE_NEWPID | (userns ? CLONE_NEWUSER : 0) | SIGCHLD;
	struct box *b = calloc(1, sizeof(*b));
	int socks[BOX_MAX][2];
	pid_t inside = 1;
	long pid;

	assert_non_null(b);
	assert_true(n < BOX_MAX);
	for (unsigned i = 0; i <= n; i++)
		assert_int_equal(
			socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks[i]), 0);
#ifdef __s390__
	pid = syscall(SYS_clone, NULL, flags, NULL, NULL, 0);
#else
	pid = syscall(SYS_clone, flags, NULL, NULL, NULL, 0);
#endif
	assert_true(pid >= 0);
	if (pid == 0)
		init_run(userns, caps, who, n, socks);
	if (userns) {
		map_write((pid_t)pid, "uid_map");
		map_write((pid_t)pid, "gid_map");
	}
	assert_int_equal(send(socks[0][0], "x", 1, 0), 1);
	for (unsigned i = 0; i <= n; i++) {
		assert_int_equal(answer_of(socks[i][0]), 0);
		b->task[i].sock = socks[i][0];
		b->task[i].host = host_of((pid_t)pid, inside);
		inside += i > 0 && who[i - 1].thread ? 2 : 1;
		close(socks[i][1]);
	}
	b->n = n + 1;
	return b;
}

void box_free(struct box *b)
{
	if (!b)
		return;
	kill(b->task[0].host, SIGKILL);
	assert_int_equal(waitpid(b->task[0].host, NULL, 0), b->task[0].host);
	for (unsigned i = 0; i < b->n; i++)
		close(b->task[i].sock);
	free(b);
}

int box_do(struct box *b, unsigned at, enum box_op op, pid_t pid, int arg)
{
	const struct box_call c = {.op = op, .pid = pid, .arg = arg};

	assert_true(at < b->n);
	assert_int_equal(send(b->task[at].sock, &c, sizeof(c), MSG_NOSIGNAL), sizeof(c));
	return answer_of(b->task[at].sock);
}

pid_t box_number(pid_t host)
{
	char path[64], line[256];
	pid_t number = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", host);
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		char *last = strrchr(line, '\t');

		if (strncmp(line, "NSpid:", 6) == 0 && last && strchr(line, '\t') != last)
			number = (pid_t)atoi(last + 1);
	}
	fclose(file);
	return number;
}
