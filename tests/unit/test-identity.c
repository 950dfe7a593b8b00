/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who connected, and whom somebody speaks for, on real processes; needs root. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/identity.h"

#define UID 1000
#define GID 2000

static int proc, listening;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_size;

static int setup(void **state)
{
	address_size = sizeof(sa_family_t);
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* An abstract name that the kernel chooses. */
	if (proc < 0 || bind(listening, (struct sockaddr *)&address, address_size) < 0 ||
		listen(listening, 8) < 0)
		return -1;
	address_size = sizeof(address);
	return getsockname(listening, (struct sockaddr *)&address, &address_size);
}

static int teardown(void **state)
{
	close(proc);
	close(listening);
	return 0;
}

static void need_root(void)
{
	if (geteuid() != 0)
		skip();
}

/* What the child does at each byte that comes. */
static void obey(int fd)
{
	char order;

	while (read(fd, &order, 1) == 1) {
		int r = -1;

		switch (order) {
		case 'e': /* another effective uid */
			r = setresuid((uid_t)-1, 0, (uid_t)-1);
			break;
		case 'r': /* another real uid */
			r = setresuid(0, (uid_t)-1, (uid_t)-1);
			break;
		case 'R': /* another real gid */
			r = setresgid(0, (gid_t)-1, (gid_t)-1);
			break;
		case 'b': /* back */
			r = setresgid(GID, GID, 0) < 0 ? -1 : setresuid(UID, UID, 0);
			break;
		}
		if (r < 0 || write(fd, "x", 1) != 1)
			_exit(1);
	}
	_exit(0);
}

/* A client of UID and GID that may become root again. */
static pid_t client(int *ret_fd)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setresgid(GID, GID, 0) < 0 || setresuid(UID, UID, 0) < 0 ||
			connect(fd, (struct sockaddr *)&address, address_size) < 0)
			_exit(1);
		obey(fd);
	}
	*ret_fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	assert_true(*ret_fd >= 0);
	return pid;
}

static void order(int fd, char what)
{
	char done;

	assert_int_equal(write(fd, &what, 1), 1);
	assert_int_equal(read(fd, &done, 1), 1);
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static bool modern(int fd)
{
	socklen_t size = sizeof(int);
	int pidfd;

	if (getsockopt(fd, SOL_SOCKET, 77, &pidfd, &size) < 0)
		return false;
	close(pidfd);
	return true;
}

static void assert_owner(int proc_fd, uid_t uid)
{
	struct stat st;

	assert_int_equal(fstat(proc_fd, &st), 0);
	assert_int_equal(st.st_uid, uid);
}

/* What is at rest holds nothing, and has everything again. */
static void test_rest(void **state)
{
	struct identity id = IDENTITY_NONE;
	unsigned before;
	int fd;
	pid_t pid;

	need_root();
	pid = client(&fd);
	before = count_fds();
	assert_int_equal(identity_take(&id, fd, proc, false), 0);
	assert_int_equal(id.pid, pid);
	assert_int_equal(id.uid, UID);
	assert_int_equal(id.gid, GID);
	for (int i = 0; i < 3; i++) {
		assert_true(identity_pidfd(&id) >= 0);
		assert_int_equal(identity_pidfd(&id), identity_pidfd(&id));
		assert_owner(identity_proc(&id), UID);
		assert_int_equal(identity_proc(&id), identity_proc(&id));
		assert_int_equal(identity_check(&id), 0);
		id.pidns_fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
		id.cgroup_fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
		id.pidns_known = true;
		identity_rest(&id);
		assert_int_equal(id.cgroup_fd, -EBADF);
		assert_int_equal(id.pidns_fd, -EBADF);
		/* or it would be taken for the daemon's own */
		assert_false(id.pidns_known);
		assert_int_equal(count_fds(), before + (modern(fd) ? 0 : 1));
	}
	/* that it is the daemon's own needs no fd */
	id.pidns_known = true;
	identity_rest(&id);
	assert_true(id.pidns_known);
	identity_done(&id);
	assert_int_equal(count_fds(), before);
	close(fd);
	end(pid);
}

/* At rest, other credentials and the end show all the same. */
static void test_t20_after_rest(void **state)
{
	struct identity id = IDENTITY_NONE;
	int fd;
	pid_t pid;

	need_root();
	pid = client(&fd);
	assert_int_equal(identity_take(&id, fd, proc, false), 0);
	identity_rest(&id);
	order(fd, 'e');
	assert_int_equal(identity_check(&id), -EPERM);
	identity_rest(&id);
	order(fd, 'b');
	assert_int_equal(identity_check(&id), 0);
	identity_rest(&id);
	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
	/* a zombie */
	assert_false(identity_alive(&id));
	assert_int_equal(identity_proc(&id), -ESRCH);
	assert_int_equal(identity_check(&id), -ESRCH);
	identity_rest(&id);
	end(pid);
	/* reaped */
	assert_false(identity_alive(&id));
	assert_int_equal(identity_proc(&id), -ESRCH);
	assert_int_equal(identity_check(&id), -ESRCH);
	identity_done(&id);
	close(fd);
}

/* Makes a task of just this number, as root can; false where it cannot. */
static bool reuse(pid_t number, pid_t *ret)
{
	struct {
		uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
		uint64_t set_tid, set_tid_size;
	} args = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&number, .set_tid_size = 1};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setresgid(GID, GID, 0) < 0 || setresuid(UID, UID, 0) < 0)
			_exit(1);
		while (true)
			pause();
	}
	*ret = (pid_t)pid;
	return pid > 0;
}

/* Another process of the same user has the number now: what is at rest does not become that one's.
 */
static void test_t23_number_reused(void **state)
{
	struct identity id = IDENTITY_NONE;
	pid_t pid, other;
	int fd;

	need_root();
	pid = client(&fd);
	assert_int_equal(identity_take(&id, fd, proc, false), 0);
	identity_rest(&id);
	end(pid);
	if (reuse(pid, &other)) {
		assert_int_equal(other, pid);
		assert_int_equal(identity_proc(&id), -ESRCH);
		assert_int_equal(identity_check(&id), -ESRCH);
		end(other);
	}
	identity_done(&id);
	close(fd);
}

static void test_strict(void **state)
{
	struct identity id = IDENTITY_NONE;
	pid_t pid;
	int fd;

	need_root();
	pid = client(&fd);
	assert_int_equal(identity_take(&id, fd, proc, true), modern(fd) ? 0 : -EOPNOTSUPP);
	identity_done(&id);
	close(fd);
	end(pid);
}

/* A claim holds by the real ids, and only as long as they stay. */
static void test_t27_claim(void **state)
{
	struct identity id = IDENTITY_NONE, none = IDENTITY_NONE;
	struct ucred cred = {.uid = UID, .gid = GID};
	unsigned before;
	int fd, held;

	need_root();
	cred.pid = client(&fd);
	before = count_fds();
	/* the kernel lets a sender name its saved ids too */
	assert_int_equal(identity_claim(&none, &(struct ucred){cred.pid, 0, GID}, proc), -EPERM);
	assert_int_equal(identity_claim(&none, &(struct ucred){cred.pid, UID, 0}, proc), -EPERM);
	assert_int_equal(identity_claim(&none, &(struct ucred){0, UID, GID}, proc), -ESRCH);
	assert_int_equal(identity_claim(&none, &(struct ucred){-1, UID, GID}, proc), -ESRCH);
	assert_int_equal(none.pidfd, -EBADF);
	assert_int_equal(count_fds(), before);

	assert_int_equal(identity_claim(&id, &cred, proc), 0);
	assert_int_equal(id.pid, cred.pid);
	assert_int_equal(id.uid, UID);
	assert_int_equal(id.gid, GID);
	assert_int_equal(identity_check(&id), 0);
	/* there is no socket that it could be asked of again */
	held = identity_proc(&id);
	identity_rest(&id);
	assert_int_equal(identity_proc(&id), held);
	assert_int_equal(identity_check(&id), 0);
	/* the effective ids are no part of it */
	order(fd, 'e');
	assert_int_equal(identity_check(&id), 0);
	order(fd, 'b');
	order(fd, 'r');
	assert_int_equal(identity_check(&id), -EPERM);
	order(fd, 'b');
	order(fd, 'R');
	assert_int_equal(identity_check(&id), -EPERM);
	order(fd, 'b');
	assert_int_equal(identity_check(&id), 0);
	end(cred.pid);
	assert_false(identity_alive(&id));
	assert_int_equal(identity_check(&id), -ESRCH);
	identity_done(&id);
	assert_int_equal(identity_claim(&none, &cred, proc), -ESRCH);
	assert_int_equal(count_fds(), before);
	close(fd);
}

struct thread {
	int tell[2], gate[2];
};

static void *wait_here(void *userdata)
{
	struct thread *t = userdata;
	pid_t tid = gettid();
	char byte;

	if (write(t->tell[1], &tid, sizeof(tid)) == sizeof(tid))
		(void)!read(t->gate[0], &byte, 1);
	return NULL;
}

/* The number of a thread that is not its process' first is nobody's. */
static void test_claim_of_thread(void **state)
{
	struct identity none = IDENTITY_NONE;
	struct ucred cred = {.uid = getuid(), .gid = getgid()};
	struct thread t;
	pthread_t thread;

	assert_int_equal(pipe2(t.tell, O_CLOEXEC), 0);
	assert_int_equal(pipe2(t.gate, O_CLOEXEC), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_here, &t), 0);
	assert_int_equal(read(t.tell[0], &cred.pid, sizeof(cred.pid)), sizeof(cred.pid));
	assert_int_equal(identity_claim(&none, &cred, proc), -ESRCH);
	cred.pid = getpid();
	assert_int_equal(identity_claim(&none, &cred, proc), 0);
	identity_done(&none);
	close(t.gate[1]);
	pthread_join(thread, NULL);
	close(t.gate[0]);
	close(t.tell[0]);
	close(t.tell[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_t20_after_rest),
		cmocka_unit_test(test_t23_number_reused),
		cmocka_unit_test(test_strict),
		cmocka_unit_test(test_t27_claim),
		cmocka_unit_test(test_claim_of_thread),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
