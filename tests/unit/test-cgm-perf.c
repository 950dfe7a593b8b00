/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cgm perf against a daemon whose answers are known. It answers every perf_event_open with an errno
 * of its own: what a program under cgm perf run sees, which is this one too, and what is left to
 * it. */
#include <dirent.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <systemd/sd-bus.h>

#include "../../client/cgm.h"
#include "../../client/perf-run.h"

/* What no kernel answers to perf_event_open. */
#define ANSWER ENOTUNIQ
#define TEXT_MAX 2048
#define WORDS_MAX 12
#define SELF "/proc/self/exe"
#define NOBODY 65534
#define NO_SUCH_USER 99 /* the status where the user namespace does not map it */
#define I386_PERF_EVENT_OPEN 336

static char directory[] = "/tmp/test-cgm-perf-XXXXXX";
enum how { SERVES, REFUSES, MUTE, HOW_MAX };

static const char *const names[HOW_MAX] = {"serves", "refuses", "mute"};
static char addresses[HOW_MAX][sizeof(directory) + 16];
static pid_t servers[HOW_MAX];

static int open_event(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr)};

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0) < 0 ? errno : 0;
}

#ifdef __x86_64__
/* A call of the other ABI, or -1 where the kernel has none, which is a signal. */
static int open_event_i386(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		long r = I386_PERF_EVENT_OPEN;

		__asm__ volatile("int $0x80"
				 : "+a"(r)
				 : "b"(0L), "c"(0L), "d"(-1L), "S"(-1L), "D"(0L)
				 : "memory", "r8", "r9", "r10", "r11");
		_exit((int)-r);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
#else
static int open_event_i386(void)
{
	return -1;
}
#endif

static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	/* ".", ".." and the directory's own */
	return n - 3;
}

/* What `cgm perf run` starts: a line of what it finds. */
static int run_program(const char *word)
{
	struct sigaction pipe_action;

	sigaction(SIGPIPE, NULL, &pipe_action);
	printf("%s: errno %d, %u fds, no_new_privs %d, SIGPIPE %s\n", word, open_event(),
		count_fds(), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
		pipe_action.sa_handler == SIG_DFL ? "default" : "ignored");
	return 42;
}

static void serve_listener(int listener)
{
	struct seccomp_notif notif = {0};
	struct seccomp_notif_resp answer = {.error = -ANSWER};

	while (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notif) == 0) {
		answer.id = notif.id;
		if (notif.data.nr != SYS_perf_event_open && notif.data.nr != I386_PERF_EVENT_OPEN)
			_exit(1);
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) < 0 && errno != ENOENT)
			break;
		memset(&notif, 0, sizeof(notif));
	}
	_exit(0);
}

static int answer_list(sd_bus_message *m)
{
	sd_bus_message *list = NULL;
	const char *cgroup;
	int r = sd_bus_message_read(m, "s", &cgroup);

	if (r >= 0)
		r = sd_bus_message_new_method_return(m, &list);
	if (r >= 0 && strcmp(cgroup, "bare") == 0)
		r = sd_bus_message_append(list, "a(sss)", 0);
	else if (r >= 0)
		r = sd_bus_message_append(
			list, "a(sss)", 2, "cpu", "/own/a", "given", "pmu:i915", "", "policy");
	if (r >= 0)
		r = sd_bus_send(NULL, list, NULL);
	sd_bus_message_unref(list);
	return r < 0 ? -ECONNRESET : 1;
}

static int answer_check(sd_bus_message *m)
{
	const char *cgroup, *item;

	if (sd_bus_message_read(m, "ss", &cgroup, &item) < 0)
		return -ECONNRESET;
	if (strcmp(item, "cpu") == 0)
		return sd_bus_reply_method_return(m, "bss", 1, cgroup, "allowed");
	if (strcmp(item, "gpu") == 0)
		return sd_bus_reply_method_return(m, "bss", 0, cgroup, "unknown: no GPU is known");
	return sd_bus_reply_method_return(m, "bss", 0, "", "denied: not granted");
}

/* Tells what it was asked for. */
static int answer_revoke(sd_bus_message *m)
{
	const char *cgroup, *item, *key = "nothing";
	int value = 0, r = sd_bus_message_read(m, "sas", &cgroup, 1, &item);

	if (r >= 0)
		r = sd_bus_message_enter_container(m, 'a', "{sv}");
	if (r >= 0 && !sd_bus_message_at_end(m, false))
		r = sd_bus_message_read(m, "{sv}", &key, "b", &value);
	if (r < 0)
		return -ECONNRESET;
	return sd_bus_reply_method_return(
		m, "a{ss}", 3, cgroup, item, key, value ? "yes" : "no", "remains", "\033a");
}

static int answer(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *member = sd_bus_message_get_member(m);
	const enum how *how = userdata;
	int listener;

	if (strcmp(sd_bus_message_get_interface(m), "org.cgmd1.Manager") != 0)
		return -ECONNRESET;
	if (*how == REFUSES)
		return sd_bus_reply_method_errorf(
			m, "org.cgmd1.Error.NotSupported", "%s: perf access is off", member);
	if (strcmp(member, "GrantPerf") == 0)
		return sd_bus_reply_method_return(m, "");
	if (strcmp(member, "ListPerf") == 0)
		return answer_list(m);
	if (strcmp(member, "CheckPerf") == 0)
		return answer_check(m);
	if (strcmp(member, "RevokePerf") == 0)
		return answer_revoke(m);
	if (strcmp(member, "ShowPerf") == 0)
		return sd_bus_reply_method_return(m, "a{ss}", 2, "perf", "on", "paranoid", "2");
	if (strcmp(member, "AttachPerfListener") != 0 || sd_bus_message_read(m, "h", &listener) < 0)
		return -ECONNRESET;
	if (*how == MUTE)
		/* it stays open with the server */
		dup(listener);
	else if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve_listener(listener);
	}
	return sd_bus_reply_method_return(m, "");
}

static void serve(int fd, enum how *how)
{
	sd_bus *bus;
	int r;

	if (sd_bus_new(&bus) < 0 || sd_bus_set_fd(bus, fd, fd) < 0 ||
		sd_bus_negotiate_fds(bus, 1) < 0 ||
		sd_bus_set_server(bus, 1, (sd_id128_t){{1}}) < 0 ||
		sd_bus_set_anonymous(bus, 1) < 0 || sd_bus_add_filter(bus, NULL, answer, how) < 0 ||
		sd_bus_start(bus) < 0)
		_exit(1);
	do {
		r = sd_bus_process(bus, NULL);
		if (r == 0)
			r = sd_bus_wait(bus, UINT64_MAX);
	} while (r >= 0 && sd_bus_is_open(bus) > 0);
	sd_bus_close_unref(bus);
}

static pid_t start_server(enum how how)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	snprintf(addresses[how], sizeof(addresses[how]), "%s/%s", directory, names[how]);
	strcpy(address.sun_path, addresses[how]);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(chmod(addresses[how], 0666), 0);
	assert_int_equal(listen(fd, 8), 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			int client = accept(fd, NULL, NULL);

			if (client < 0)
				_exit(1);
			serve(client, &how);
		}
	}
	close(fd);
	return pid;
}

static int setup(void **state)
{
	if (!mkdtemp(directory) || chmod(directory, 0755) < 0)
		return -1;
	for (unsigned how = 0; how < HOW_MAX; how++) {
		servers[how] = start_server(how);
		if (servers[how] < 0)
			return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	for (unsigned how = 0; how < HOW_MAX; how++) {
		kill(servers[how], SIGKILL);
		waitpid(servers[how], NULL, 0);
		unlink(addresses[how]);
	}
	return rmdir(directory);
}

struct result {
	int status;
	char out[TEXT_MAX], err[TEXT_MAX];
};

static void read_back(int fd, char *buf)
{
	ssize_t n = pread(fd, buf, TEXT_MAX - 1, 0);

	assert_true(n >= 0);
	buf[n] = '\0';
	close(fd);
}

static _Noreturn void run_child(uid_t uid, const char *address, const char *const *words)
{
	const char *argv[WORDS_MAX + 2] = {"cgm", "perf"};
	int n = 2;

	while (*words)
		argv[n++] = *words++;
	setenv("CGM_ADDRESS", address, 1);
	if (uid && setresuid(uid, uid, uid) < 0)
		_exit(NO_SUCH_USER);
	/* only what it opens itself is to be found in the program */
	close_range(STDERR_FILENO + 1, ~0U, 0);
	_exit(cgm_run(n, (char *const *)argv));
}

static void run(uid_t uid, const char *address, const char *const *words, struct result *ret)
{
	int out = memfd_create("out", 0), err = memfd_create("err", 0), status;
	pid_t pid;

	assert_true(out >= 0 && err >= 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		dup2(out, STDOUT_FILENO);
		dup2(err, STDERR_FILENO);
		run_child(uid, address, words);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	ret->status = WEXITSTATUS(status);
	read_back(out, ret->out);
	read_back(err, ret->err);
}

static bool may_administer(void)
{
	return geteuid() == 0;
}

static void test_served(void **state)
{
	struct result result;
	char wanted[TEXT_MAX];

	run(0, addresses[SERVES], (const char *[]){"run", "--", SELF, "program", "word", NULL},
		&result);
	snprintf(wanted, sizeof(wanted),
		"word: errno %d, 3 fds, no_new_privs %d, SIGPIPE default\n", ANSWER,
		!may_administer());
	assert_string_equal(result.err, "");
	assert_string_equal(result.out, wanted);
	assert_int_equal(result.status, 42);
}

static void test_other_abi(void **state)
{
	struct result result;

	run(0, addresses[SERVES], (const char *[]){"run", SELF, "i386", NULL}, &result);
	if (result.status == 255)
		skip();
	assert_int_equal(result.status, ANSWER);
}

/* Nobody waits for ever for a listener that does not answer. */
static void test_mute(void **state)
{
	struct result result;

	run(0, addresses[MUTE], (const char *[]){"run", SELF, "explain", NULL}, &result);
	assert_string_equal(result.err, "");
	assert_non_null(strstr(result.out, "handed to a listener that does not answer\n"));
	assert_non_null(strstr(result.out, "\nto mend it: systemctl restart cgmd\n"));
	assert_int_equal(result.status, 1);
}

/* Who may not administer its user namespace gives up gaining privileges, and it works all the same.
 */
static void test_served_user(void **state)
{
	struct result result;
	char wanted[TEXT_MAX];

	if (!may_administer())
		skip();
	run(NOBODY, addresses[SERVES], (const char *[]){"run", SELF, "program", "--json", NULL},
		&result);
	if (result.status == NO_SUCH_USER)
		skip();
	snprintf(wanted, sizeof(wanted),
		"--json: errno %d, 3 fds, no_new_privs 1, SIGPIPE default\n", ANSWER);
	assert_string_equal(result.err, "");
	assert_string_equal(result.out, wanted);
	assert_int_equal(result.status, 42);
}

/* The inner one finds a listener, and no daemon at its address. */
static void test_nested(void **state)
{
	struct result result;
	char wanted[TEXT_MAX];

	run(0, addresses[SERVES],
		(const char *[]){"run", "--verbose", SELF, "cgm", "/nonexistent", "word", NULL},
		&result);
	snprintf(wanted, sizeof(wanted),
		"word: errno %d, 3 fds, no_new_privs %d, SIGPIPE default\n", ANSWER,
		!may_administer());
	assert_string_equal(result.err,
		"cgm: note: perf_event_open is answered by cgmd\n"
		"cgm: note: perf_event_open is answered by the listener that was there before\n");
	assert_string_equal(result.out, wanted);
	assert_int_equal(result.status, 42);
}

static void test_ignored_signal(void **state)
{
	struct result result;

	signal(SIGPIPE, SIG_IGN);
	run(0, addresses[SERVES], (const char *[]){"run", SELF, "program", "word", NULL}, &result);
	signal(SIGPIPE, SIG_DFL);
	assert_non_null(strstr(result.out, "SIGPIPE ignored\n"));
}

static void test_failures(void **state)
{
	static const struct {
		const char *address, *program, *err;
		int status;
	} rows[] = {
		{"/nonexistent", SELF,
			"cgm: cannot connect to unix:path=/nonexistent: No such file or directory; "
			"is "
			"cgmd running? Start it, or name its socket with --address or "
			"CGM_ADDRESS\n",
			EXIT_FAILURE},
		{addresses[REFUSES], SELF, "cgm: AttachPerfListener: perf access is off\n",
			EXIT_FAILURE},
		{addresses[SERVES], "/nonexistent/a",
			"cgm: perf run: /nonexistent/a: No such file or directory\n",
			EXIT_NOT_FOUND},
		{addresses[SERVES], "/", "cgm: perf run: /: Permission denied\n",
			EXIT_NOT_EXECUTED},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct result result;

		run(0, rows[i].address,
			(const char *[]){"run", rows[i].program, "program", "word", NULL}, &result);
		assert_string_equal(result.out, "");
		assert_string_equal(result.err, rows[i].err);
		assert_int_equal(result.status, rows[i].status);
	}
}

static void test_answers(void **state)
{
	static const struct {
		const char *words[WORDS_MAX];
		const char *out, *err;
		int status;
	} rows[] = {
		{{"grant", "a", "cpu", "gpu"}, "", ""},
		{{"list", "a"},
			"ITEM      CGROUP   WHOSE\n"
			"cpu       /own/a   given\n"
			"pmu:i915  (above)  policy\n",
			""},
		{{"list", "bare"}, "", "cgm: note: nothing of perf is granted here\n"},
		{{"list", "--json", "bare"}, "[]\n",
			"cgm: note: nothing of perf is granted here\n"},
		{{"check", "/a", "cpu"}, "allowed\n", ""},
		{{"check", "/a", "gpu"}, "unknown: no GPU is known\ncgroup /a\n", "", 3},
		{{"check", "/a", "power"}, "denied: not granted\ncgroup (above)\n", "", 1},
		{{"check", "--json", "/a", "power"},
			"{\n  \"cgroup\": null,\n  \"why\": \"denied: not granted\",\n  "
			"\"verdict\": \"denied\"\n}\n",
			"", 1},
		{{"check", "/a"}, "",
			"cgm: perf check: ITEM is missing\nusage: cgm perf check CGROUP ITEM\n", 2},
		{{"revoke", "a", "cpu"}, "a        cpu\nnothing  no\nremains  \033a\n", ""},
		{{"revoke", "--json", "a", "cpu", "--kill"},
			"{\n  \"a\": \"cpu\",\n  \"kill\": \"yes\",\n  \"remains\": "
			"\"\\u001Ba\"\n}\n",
			""},
		{{"show"}, "perf      on\nparanoid  2\n", ""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct result result;

		run(0, addresses[SERVES], rows[i].words, &result);
		assert_string_equal(result.out, rows[i].out);
		assert_string_equal(result.err, rows[i].err);
		assert_int_equal(result.status, rows[i].status);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_served),
		cmocka_unit_test(test_served_user),
		cmocka_unit_test(test_other_abi),
		cmocka_unit_test(test_mute),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_ignored_signal),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_answers),
	};

	if (argc == 3 && strcmp(argv[1], "program") == 0)
		return run_program(argv[2]);
	if (argc == 4 && strcmp(argv[1], "cgm") == 0)
		run_child(0, argv[2],
			(const char *[]){"run", "--verbose", SELF, "program", argv[3], NULL});
	if (argc == 2 && strcmp(argv[1], "i386") == 0)
		return open_event_i386();
	if (argc == 2 && strcmp(argv[1], "explain") == 0)
		return cgm_run(
			8, (char *const *)(const char *[]){"cgm", "--timeout", "1", "--address",
				   "/nonexistent", "perf", "explain", "cpu-clock", NULL});
	return cmocka_run_group_tests(tests, setup, teardown);
}
