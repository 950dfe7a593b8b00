/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "crowd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void *idle(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static _Noreturn void init_run(int out)
{
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < CROWD_PROCESSES; i++) {
		pid_t pid = fork();

		if (pid < 0)
			_exit(1);
		if (pid == 0)
			idle(NULL);
	}
	for (int i = 0; i < CROWD_THREADS; i++)
		if (pthread_create(&thread, NULL, idle, NULL) != 0)
			_exit(1);
	if (write(out, "x", 1) != 1)
		_exit(1);
	idle(NULL);
	_exit(0);
}

static _Noreturn void maker_run(int out, int flags)
{
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWPID | flags) < 0)
		_exit(1);
	pid = fork();
	if (pid == 0)
		init_run(out);
	if (pid < 0 || write(out, &pid, sizeof(pid)) != sizeof(pid))
		_exit(1);
	close(out);
	/* Whoever ends a namespace has waited for all that were in it. */
	_exit(waitpid(pid, NULL, 0) == pid ? 0 : 1);
}

/* The innermost number of a task, which is of the namespace that lies right below ours. */
static int32_t inside_of(const char *directory)
{
	char path[300], line[256];
	int32_t outer, inner = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/status", directory);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "NSpid: %d %d", &outer, &inner) == 2)
			break;
	fclose(file);
	return inner;
}

static void add(struct crowd *c, const char *directory, const char *name)
{
	size_t at = c->n + c->n_threads;

	assert_true(at < CROWD_MAX);
	c->host[at] = atoi(name);
	c->inside[at] = inside_of(directory);
	assert_true(c->inside[at] > 0);
}

static void read_processes(struct crowd *c, ino_t ns)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;

	assert_non_null(dir);
	while ((e = readdir(dir))) {
		char path[300];
		struct stat st;

		snprintf(path, sizeof(path), "/proc/%s/ns/pid", e->d_name);
		if (atoi(e->d_name) <= 0 || stat(path, &st) < 0 || st.st_ino != ns)
			continue;
		path[strlen(path) - strlen("/ns/pid")] = '\0';
		add(c, path, e->d_name);
		c->n++;
	}
	closedir(dir);
}

static void read_threads(struct crowd *c)
{
	char path[300];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", c->init);
	dir = opendir(path);
	assert_non_null(dir);
	while ((e = readdir(dir))) {
		if (atoi(e->d_name) <= 0 || atoi(e->d_name) == c->init)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s", c->init, e->d_name);
		add(c, path, e->d_name);
		c->n_threads++;
	}
	closedir(dir);
}

static void crowd_begin(struct crowd *c, int flags)
{
	char path[64], byte;
	struct stat st;
	int fds[2];

	*c = (struct crowd){.pidns_fd = -EBADF};
	assert_int_equal(pipe(fds), 0);
	c->maker = fork();
	assert_true(c->maker >= 0);
	if (c->maker == 0)
		maker_run(fds[1], flags);
	close(fds[1]);
	assert_int_equal(read(fds[0], &c->init, sizeof(c->init)), sizeof(c->init));
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", c->init);
	c->pidns_fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(c->pidns_fd >= 0);
	assert_int_equal(fstat(c->pidns_fd, &st), 0);
	read_processes(c, st.st_ino);
	read_threads(c);
	assert_int_equal(c->n, 1 + CROWD_PROCESSES);
	assert_int_equal(c->n_threads, CROWD_THREADS);
}

void crowd_make(struct crowd *c)
{
	crowd_begin(c, CLONE_NEWUSER);
}

void crowd_make_bare(struct crowd *c)
{
	crowd_begin(c, 0);
}

void crowd_end(struct crowd *c)
{
	int status;

	close(c->pidns_fd);
	kill(c->init, SIGKILL);
	assert_int_equal(waitpid(c->maker, &status, 0), c->maker);
	assert_int_equal(status, 0);
}
