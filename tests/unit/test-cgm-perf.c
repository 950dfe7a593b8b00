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

static char directory[] = "/tmp/test-cgm-perf-XXXXXX";
static struct sockaddr_un serves = {.sun_family = AF_UNIX}, refuses = {.sun_family = AF_UNIX};
static pid_t servers[2];

static int open_event(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr)};

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0) < 0 ? errno : 0;
}

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
		if (notif.data.nr != SYS_perf_event_open)
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
	int listener;

	if (strcmp(sd_bus_message_get_interface(m), "org.cgmd1.Manager") != 0)
		return -ECONNRESET;
	if (userdata)
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
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve_listener(listener);
	}
	return sd_bus_reply_method_return(m, "");
}

static void serve(int fd, bool refuse)
{
	sd_bus *bus;
	int r;

	if (sd_bus_new(&bus) < 0 || sd_bus_set_fd(bus, fd, fd) < 0 ||
		sd_bus_negotiate_fds(bus, 1) < 0 ||
		sd_bus_set_server(bus, 1, (sd_id128_t){{1}}) < 0 ||
		sd_bus_set_anonymous(bus, 1) < 0 ||
		sd_bus_add_filter(bus, NULL, answer, refuse ? bus : NULL) < 0 ||
		sd_bus_start(bus) < 0)
		_exit(1);
	do {
		r = sd_bus_process(bus, NULL);
		if (r == 0)
			r = sd_bus_wait(bus, UINT64_MAX);
	} while (r >= 0 && sd_bus_is_open(bus) > 0);
	sd_bus_close_unref(bus);
}

static pid_t start_server(const char *name, bool refuse, struct sockaddr_un *ret)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/%s", directory, name);
	assert_int_equal(bind(fd, (struct sockaddr *)ret, sizeof(*ret)), 0);
	assert_int_equal(chmod(ret->sun_path, 0666), 0);
	assert_int_equal(listen(fd, 8), 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			int client = accept(fd, NULL, NULL);

			if (client < 0)
				_exit(1);
			serve(client, refuse);
		}
	}
	close(fd);
	return pid;
}

static int setup(void **state)
{
	if (!mkdtemp(directory) || chmod(directory, 0755) < 0)
		return -1;
	servers[0] = start_server("serves", false, &serves);
	servers[1] = start_server("refuses", true, &refuses);
	return servers[0] < 0 || servers[1] < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		kill(servers[i], SIGKILL);
		waitpid(servers[i], NULL, 0);
	}
	unlink(serves.sun_path);
	unlink(refuses.sun_path);
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
		_exit(99);
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

	run(0, serves.sun_path, (const char *[]){"run", "--", SELF, "program", "word", NULL},
		&result);
	snprintf(wanted, sizeof(wanted),
		"word: errno %d, 3 fds, no_new_privs %d, SIGPIPE default\n", ANSWER,
		!may_administer());
	assert_string_equal(result.err, "");
	assert_string_equal(result.out, wanted);
	assert_int_equal(result.status, 42);
}

/* Who may not administer its user namespace gives up gaining privileges, and it works all the same.
 */
static void test_served_user(void **state)
{
	struct result result;
	char wanted[TEXT_MAX];

	if (!may_administer())
		skip();
	run(NOBODY, serves.sun_path, (const char *[]){"run", SELF, "program", "--json", NULL},
		&result);
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

	run(0, serves.sun_path,
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
	run(0, serves.sun_path, (const char *[]){"run", SELF, "program", "word", NULL}, &result);
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
		{refuses.sun_path, SELF, "cgm: AttachPerfListener: perf access is off\n",
			EXIT_FAILURE},
		{serves.sun_path, "/nonexistent/a",
			"cgm: perf run: /nonexistent/a: No such file or directory\n",
			EXIT_NOT_FOUND},
		{serves.sun_path, "/", "cgm: perf run: /: Permission denied\n", EXIT_NOT_EXECUTED},
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

		run(0, serves.sun_path, rows[i].words, &result);
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
	return cmocka_run_group_tests(tests, setup, teardown);
}
