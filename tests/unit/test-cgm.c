/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cgm from its words to its exit status, against a server whose answers are known. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <systemd/sd-bus.h>

#include "../../client/cgm.h"
#include "../../client/link.h"

#define OUTPUT_TEXT_MAX 4096
#define WORDS_MAX 12

static char directory[] = "/tmp/test-cgm-XXXXXX";
static struct sockaddr_un server_address = {.sun_family = AF_UNIX};
static pid_t server;

/* Takes the answer, which was made without an error if `r` says so. */
static int reply(int r, sd_bus_message *answer)
{
	if (r >= 0)
		r = sd_bus_send(NULL, answer, NULL);
	sd_bus_message_unref(answer);
	return r < 0 ? r : 1;
}

static int answer_keys(sd_bus_message *m)
{
	sd_bus_message *answer;
	int r = sd_bus_message_new_method_return(m, &answer);

	if (r >= 0)
		r = sd_bus_message_append(answer, "a(suuu)", 2, "tasks", 0, 1000, 0100644, "k",
			UINT32_MAX, 4000000000U, 0100600);
	return reply(r, answer);
}

/* What the first argument says goes before what the method is. */
static int answer_by_controller(sd_bus_message *m, const char *controller)
{
	if (strcmp(controller, "refuse") == 0)
		return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_INVALID_ARGS,
			"%s x: the cgroup belongs to somebody else", sd_bus_message_get_member(m));
	if (strcmp(controller, "wordless") == 0)
		return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_INVALID_ARGS, "%s", "");
	if (strcmp(controller, "wrong") == 0)
		return sd_bus_reply_method_return(m, "d", 1.0);
	if (strcmp(controller, "hangup") == 0)
		return -ECONNRESET;
	return strcmp(controller, "mute") == 0 ? 1 : 0;
}

static int answer_rules(sd_bus_message *m, const char *cgroup)
{
	sd_bus_message *answer;
	int r = sd_bus_message_new_method_return(m, &answer);

	if (r < 0)
		return r;
	if (strcmp(cgroup, "bare") == 0)
		return reply(sd_bus_message_append(answer, "a(sss)", 0), answer);
	if (strstr(cgroup, "given"))
		return reply(sd_bus_message_append(answer, "a(sss)", 1, "default deny",
				     "/own/given", "program of a runtime"),
			answer);
	return reply(sd_bus_message_append(answer, "a(sss)", 3, "default deny", "/own/a", "cgmd",
			     "allow gpu:render rw", "/own/a", "cgmd", "unknown", "",
			     "unknown program \033x"),
		answer);
}

static int answer_check(sd_bus_message *m, const char *cgroup)
{
	const char *device, *access;
	int r = sd_bus_message_read(m, "ss", &device, &access);

	if (r < 0 || strcmp(device, "c 10:232") != 0 || strcmp(access, "rw") != 0)
		return sd_bus_reply_method_errorf(m, "org.cgmd1.Error.InvalidArgs", "what?");
	if (strcmp(cgroup, "yes") == 0)
		return sd_bus_reply_method_return(m, "bss", 1, "", "allowed");
	if (strcmp(cgroup, "no") == 0)
		return sd_bus_reply_method_return(
			m, "bss", 0, "/own/no", "denied: by cgmd's rules");
	if (strcmp(cgroup, "above") == 0)
		return sd_bus_reply_method_return(m, "bss", 0, "", "denied: by what is above");
	return sd_bus_reply_method_return(m, "bss", 0, "/own/x", "unknown: it uses maps");
}

static int answer_devices(sd_bus_message *m, const char *name)
{
	sd_bus_message *answer;
	int r = sd_bus_message_new_method_return(m, &answer);

	if (r < 0)
		return r;
	if (strcmp(name, "gone") == 0)
		return reply(sd_bus_message_append(answer, "a(suus)", 0), answer);
	return reply(sd_bus_message_append(answer, "a(suus)", 2, "c", 226, 128,
			     "/dev/dri/renderD128", "b", 7, UINT32_MAX, ""),
		answer);
}

static int answer_gpus(sd_bus_message *m)
{
	sd_bus_message *answer;
	int r = sd_bus_message_new_method_return(m, &answer);

	if (r >= 0)
		r = sd_bus_message_append(answer, "a(sssssas)", 2, "0000:03:00.0", "8086:56a0",
			"xe", "xe_0000_03_00.0", "drm/0000:03:00.0/vram0", 2, "/dev/dri/card1",
			"/dev/dri/renderD128", "vgem", "", "vgem", "", "", 0);
	return reply(r, answer);
}

/* The node's path is everything that was asked for. */
static int answer_add(sd_bus_message *m)
{
	const char *device, *access, *key;
	char text[256] = "";
	int r = sd_bus_message_read(m, "ss", &device, &access), n;

	if (r >= 0)
		r = sd_bus_message_enter_container(m, 'a', "{sv}");
	n = snprintf(text, sizeof(text), "%s %s", r >= 0 ? device : "", r >= 0 ? access : "");
	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		const char *path;
		uint32_t number;

		r = sd_bus_message_read(m, "s", &key);
		if (r >= 0 && strcmp(key, "path") == 0) {
			r = sd_bus_message_read(m, "v", "s", &path);
			n += snprintf(text + n, sizeof(text) - (size_t)n, " path=%s", path);
		} else if (r >= 0) {
			r = sd_bus_message_read(m, "v", "u", &number);
			n += snprintf(text + n, sizeof(text) - (size_t)n, " %s=%u", key, number);
		}
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r < 0 ? r : sd_bus_reply_method_return(m, "s", text);
}

static int answer_native(sd_bus_message *m)
{
	const char *member = sd_bus_message_get_member(m), *cgroup = "", *rule = NULL;
	int r;

	if (strcmp(sd_bus_message_get_interface(m), "org.freedesktop.DBus.Properties") == 0)
		return sd_bus_reply_method_return(m, "v", "a{ss}", 1, "unified", "/own");
	if (strcmp(member, "ListGpus") == 0)
		return answer_gpus(m);
	r = sd_bus_message_read(m, "s", &cgroup);
	if (r < 0)
		return r;
	if (strcmp(cgroup, "refuse") == 0)
		return sd_bus_reply_method_errorf(m, "org.cgmd1.Error.AccessDenied",
			"%s x: the cgroup belongs to somebody else", member);
	r = answer_by_controller(m, cgroup);
	if (r != 0)
		return r;
	if (strcmp(member, "ListDevices") == 0)
		return answer_rules(m, cgroup);
	if (strcmp(member, "CheckDevice") == 0)
		return answer_check(m, cgroup);
	if (strcmp(member, "ResolveDevice") == 0)
		return answer_devices(m, cgroup);
	if (strcmp(member, "AddDevice") == 0)
		return answer_add(m);
	if (strcmp(member, "AllowDevices") == 0)
		return sd_bus_reply_method_return(m, "as", 2, "/own/b", "\033c");
	if (strcmp(member, "SetDevices") != 0)
		return sd_bus_reply_method_return(m, "");
	/* what was set is what is said to have been widened */
	r = sd_bus_message_enter_container(m, 'a', "s");
	if (r >= 0)
		r = sd_bus_message_read(m, "s", &rule);
	return r > 0 ? sd_bus_reply_method_return(m, "as", 1, rule)
		     : sd_bus_reply_method_return(m, "as", 0);
}

static int answer(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *member = sd_bus_message_get_member(m), *controller = "", *cgroup = "";
	int r;

	if (strcmp(sd_bus_message_get_path(m), "/org/cgmd1") == 0)
		return answer_native(m);
	if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Properties", "Get") > 0)
		return sd_bus_reply_method_return(m, "v", "i", 10);
	if (strcmp(sd_bus_message_get_path(m), CGM_PATH) != 0 ||
		strcmp(sd_bus_message_get_interface(m), CGM_INTERFACE) != 0)
		return -ECONNRESET;
	if (sd_bus_message_get_signature(m, 1)[0] == 's') {
		sd_bus_message_read(m, "s", &controller);
		if (sd_bus_message_get_signature(m, 1)[1] == 's')
			sd_bus_message_read(m, "s", &cgroup);
		r = answer_by_controller(m, controller);
		if (r != 0)
			return r;
	}
	if (strcmp(member, "Create") == 0 || strcmp(member, "Remove") == 0)
		return sd_bus_reply_method_return(m, "i", strcmp(cgroup, "old") == 0 ? 1 : -1);
	if (strcmp(member, "GetPidCgroup") == 0 || strcmp(member, "GetPidCgroupAbs") == 0)
		return sd_bus_reply_method_return(m, "s", "/a\033b");
	if (strcmp(member, "GetValue") == 0)
		return sd_bus_reply_method_return(m, "s", "cache 1\nrss\t2");
	if (strcmp(member, "GetTasks") == 0)
		return sd_bus_reply_method_return(m, "ai", 3, 1, 20, 300);
	if (strcmp(member, "GetTasksRecursive") == 0)
		return sd_bus_reply_method_return(m, "ai", 0);
	if (strcmp(member, "ListChildren") == 0)
		return sd_bus_reply_method_return(m, "as", 2, "z", "\033a");
	if (strcmp(member, "ListControllers") == 0)
		return sd_bus_reply_method_return(m, "as", 2, "cpu,cpuacct", "memory");
	if (strcmp(member, "ListKeys") == 0)
		return answer_keys(m);
	return sd_bus_reply_method_return(m, "");
}

static void serve(int fd)
{
	sd_bus *bus;
	int r;

	if (sd_bus_new(&bus) < 0 || sd_bus_set_fd(bus, fd, fd) < 0 ||
		sd_bus_set_server(bus, 1, (sd_id128_t){{1}}) < 0 ||
		sd_bus_set_anonymous(bus, 1) < 0 ||
		sd_bus_add_filter(bus, NULL, answer, NULL) < 0 || sd_bus_start(bus) < 0)
		_exit(1);
	do {
		r = sd_bus_process(bus, NULL);
		if (r == 0)
			r = sd_bus_wait(bus, UINT64_MAX);
	} while (r >= 0 && sd_bus_is_open(bus) > 0);
	sd_bus_close_unref(bus);
}

static int listen_at(const char *name, struct sockaddr_un *ret, int backlog)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ret->sun_family = AF_UNIX;
	snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/%s", directory, name);
	assert_int_equal(bind(fd, (struct sockaddr *)ret, sizeof(*ret)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static int setup(void **state)
{
	int fd;

	if (!mkdtemp(directory))
		return -1;
	fd = listen_at("a socket", &server_address, 8);
	fflush(stdout);
	server = fork();
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			int client = accept(fd, NULL, NULL);

			if (client < 0)
				_exit(1);
			serve(client);
		}
	}
	close(fd);
	return server < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	unlink(server_address.sun_path);
	return rmdir(directory);
}

struct result {
	int status;
	char out[OUTPUT_TEXT_MAX], err[OUTPUT_TEXT_MAX];
};

static void read_back(int fd, char *buf)
{
	ssize_t n = pread(fd, buf, OUTPUT_TEXT_MAX - 1, 0);

	assert_true(n >= 0);
	buf[n] = '\0';
	close(fd);
}

/* out_fd: -1 for the result's own */
static void run_to(const char *address, const char *const *words, int out_fd, struct result *ret)
{
	const char *argv[WORDS_MAX + 4] = {"cgm", "--timeout", "1"};
	int out = memfd_create("out", 0), err = memfd_create("err", 0), status, n = 3;
	pid_t pid;

	assert_true(out >= 0 && err >= 0);
	while (*words)
		argv[n++] = *words++;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		setenv("CGM_ADDRESS", address, 1);
		dup2(out_fd >= 0 ? out_fd : out, STDOUT_FILENO);
		dup2(err, STDERR_FILENO);
		_exit(cgm_run(n, (char *const *)argv));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	ret->status = WEXITSTATUS(status);
	read_back(out, ret->out);
	read_back(err, ret->err);
}

static void run(const char *const *words, struct result *ret)
{
	run_to(server_address.sun_path, words, -1, ret);
}

static void test_answers(void **state)
{
	static const struct {
		const char *words[WORDS_MAX];
		const char *out;
	} rows[] = {
		{{"ping"}, ""},
		{{"apiversion"}, "10\n"},
		{{"listcontrollers"}, "cpu,cpuacct\nmemory\n"},
		{{"create", "memory", "old"}, "Path existed\n"},
		{{"create", "memory", "new"}, ""},
		{{"remove", "memory", "old"}, ""},
		{{"remove", "memory", "new", "0"}, "Path did not exist\n"},
		{{"chown", "memory", "a", "0", "-1"}, ""},
		{{"chmod", "memory", "a", "755"}, ""},
		{{"chmodfile", "memory", "a", "tasks", "644"}, ""},
		{{"movepid", "memory", "a", "1"}, ""},
		{{"movepidabs", "memory", "/a", "1"}, ""},
		{{"getpidcgroup", "memory", "1"}, "/a\033b\n"},
		{{"getpidcgroupabs", "memory", "1"}, "/a\033b\n"},
		{{"getvalue", "memory", "a", "k"}, "cache 1\nrss\t2\n"},
		{{"setvalue", "memory", "a", "k", "v"}, ""},
		{{"gettasks", "memory"}, "1\n20\n300\n"},
		{{"gettasksrecursive", "memory", "a"}, ""},
		{{"listchildren", "memory"}, "z\n\033a\n"},
		{{"removeonempty", "memory", "a"}, ""},
		{{"prune", "memory"}, ""},
		{{"listkeys", "memory"}, "tasks 0 1000 100644\nk -1 4000000000 100600\n"},
		{{"device", "list", "a"}, "RULE                 CGROUP   WHOSE\n"
					  "default deny         /own/a   cgmd\n"
					  "allow gpu:render rw  /own/a   cgmd\n"
					  "unknown              (above)  unknown program \033x\n"},
		{{"device", "set", "a", "first", "second"}, "Widened first\n"},
		{{"device", "clear", "a"}, ""},
		{{"device", "allow", "a", "kvm", "rw"}, "Widened /own/b\nWidened \033c\n"},
		{{"device", "deny", "a", "kvm", "rw"}, ""},
		{{"device", "explain", "yes", "c 10:232", "rw"}, "allowed\n"},
		{{"device", "add", "a", "kvm"}, "kvm rw\n"},
		{{"device", "add", "--uid=0", "--gid", "4294967294", "--mode=0660", "--path=/dev/k",
			 "--access=r", "a", "kvm"},
			"kvm r uid=0 gid=4294967294 mode=432 path=/dev/k\n"},
		{{"device", "remove", "a", "kvm"}, ""},
		{{"device", "resolve", "gpu"}, "c 226:128 /dev/dri/renderD128\nb 7:*\n"},
		{{"gpu", "list"},
			"ADDRESS       ID         DRIVER  PMU              REGION                  "
			"NODES\n"
			"0000:03:00.0  8086:56a0  xe      xe_0000_03_00.0  drm/0000:03:00.0/vram0  "
			"/dev/dri/card1 /dev/dri/renderD128\n"
			"vgem          -          vgem    -                -                       "
			"-\n"},
		{{"--json", "gettasks", "memory"}, "[\n  1,\n  20,\n  300\n]\n"},
		{{"gettasksrecursive", "--json", "memory", "a"}, "[]\n"},
		{{"listcontrollers", "--json"}, "[\n  \"cpu,cpuacct\",\n  \"memory\"\n]\n"},
		{{"--json", "apiversion"}, "10\n"},
		{{"--json", "getvalue", "memory", "a", "k"}, "\"cache 1\\nrss\\t2\"\n"},
		{{"device", "set", "--json", "a", "first"}, "[\n  \"first\"\n]\n"},
		{{"--json", "device", "add", "a", "kvm"}, "\"kvm rw\"\n"},
		{{"device", "explain", "--json", "yes", "c 10:232", "rw"},
			"{\n  \"cgroup\": null,\n  \"why\": \"allowed\",\n  \"verdict\": "
			"\"allowed\"\n}\n"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct result result;

		run(rows[i].words, &result);
		assert_string_equal(result.err, "");
		assert_string_equal(result.out, rows[i].out);
		assert_int_equal(result.status, 0);
	}
}

static void test_failures(void **state)
{
	static const struct {
		const char *words[WORDS_MAX];
		const char *err; /* how it begins */
		int status;	 /* 0: the usual */
	} rows[] = {
		{{"create", "refuse", "x"}, "cgm: Create x: the cgroup belongs to somebody else\n"},
		{{"gettasks", "refuse"}, "cgm: GetTasks x: the cgroup belongs to somebody else\n"},
		{{"prune", "wordless"}, "cgm: org.freedesktop.DBus.Error.InvalidArgs\n"},
		{{"create", "wrong", "x"}, "cgm: create: the answer of unix:path=/tmp/test-cgm-"},
		{{"prune", "wrong"}, "cgm: prune: the answer of unix:path=/tmp/test-cgm-"},
		{{"prune", "hangup"}, "cgm: prune: unix:path=/tmp/test-cgm-"},
		{{"prune", "mute"}, "cgm: prune: no answer from unix:path=/tmp/test-cgm-"},
		{{"frobnicate"}, "cgm: unknown verb \"frobnicate\"; see `cgm --help`\n", 2},
		{{"movepid", "memory", "a", "x"}, "cgm: movepid: PID must be a process id: ", 2},
		{{"device", "set", "refuse", "x"},
			"cgm: SetDevices x: the cgroup belongs to somebody else\n"},
		{{"device", "list", "wrong"}, "cgm: device list: the answer of unix:path=/tmp/"},
		{{"device", "set", "a"}, "cgm: device set: RULE is missing\n", 2},
		/* nothing that goes wrong is a "no" */
		{{"device", "explain", "refuse", "c 10:232", "rw"},
			"cgm: CheckDevice x: the cgroup belongs to somebody else\n", 2},
		{{"device", "explain", "wrong", "c 10:232", "rw"},
			"cgm: device explain: the answer of unix:path=/tmp/", 2},
		{{"device", "explain", "hangup", "c 10:232", "rw"},
			"cgm: device explain: unix:path=/tmp/", 2},
		{{"device", "explain", "mute", "c 10:232", "rw"},
			"cgm: device explain: no answer from ", 2},
		{{"device", "explain", "a", "c 10:232"}, "cgm: device explain: ACCESS is missing\n",
			2},
		{{"device", "explian", "a", "c 10:232", "rw"},
			"cgm: unknown verb \"device explian\"; see `cgm device --help`\n", 2},
		{{"--jsn", "device", "explain", "a", "c 10:232", "rw"},
			"cgm: unknown option \"--jsn\"; see `cgm --help`\n", 2},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct result result;

		run(rows[i].words, &result);
		assert_string_equal(result.out, "");
		assert_memory_equal(result.err, rows[i].err, strlen(rows[i].err));
		assert_int_equal(result.status, rows[i].status ? rows[i].status : 1);
	}
}

/* What explain says, and says by its status. */
static void test_explain(void **state)
{
	static const struct {
		const char *words[WORDS_MAX];
		int status;
		const char *out;
	} rows[] = {
		{{"device", "explain", "no", "c 10:232", "rw"}, 1,
			"denied: by cgmd's rules\ncgroup /own/no\n"},
		{{"device", "explain", "above", "c 10:232", "rw"}, 1,
			"denied: by what is above\ncgroup (above)\n"},
		{{"device", "explain", "maps", "c 10:232", "rw"}, 3,
			"unknown: it uses maps\ncgroup /own/x\n"},
		{{"device", "explain", "--json", "no", "c 10:232", "rw"}, 1,
			"{\n  \"cgroup\": \"/own/no\",\n  \"why\": \"denied: by cgmd's rules\",\n"
			"  \"verdict\": \"denied\"\n}\n"},
		{{"--json", "device", "explain", "maps", "c 10:232", "rw"}, 3,
			"{\n  \"cgroup\": \"/own/x\",\n  \"why\": \"unknown: it uses maps\",\n"
			"  \"verdict\": \"unknown\"\n}\n"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct result result;

		run(rows[i].words, &result);
		assert_string_equal(result.err, "");
		assert_string_equal(result.out, rows[i].out);
		assert_int_equal(result.status, rows[i].status);
	}
}

/* On stderr, for people; the status is that of success. */
static void test_notes(void **state)
{
#define PARENT                                                                                \
	"cgm: note: on this cgroup itself is a program that is not cgmd's. Set rules on its " \
	"parent"
	static const struct {
		const char *words[WORDS_MAX];
		const char *err; /* how it begins */
	} rows[] = {
		{{"device", "list", "bare"}, "cgm: note: no device rules are in force"},
		{{"device", "list", "--json", "bare"}, "cgm: note: no device rules are in force"},
		{{"device", "resolve", "gone"}, "cgm: note: the name is known, but"},
		{{"device", "list", "given"}, PARENT},
		{{"device", "list", "/own/given"}, PARENT},
		{{"device", "set", "given", "x"}, PARENT},
		{{"device", "allow", "given", "kvm", "rw"}, PARENT},
		{{"device", "deny", "given", "kvm", "rw"}, PARENT},
		{{"device", "list", "other/given"}, ""},
		{{"device", "set", "/given", "x"}, ""},
		{{"device", "clear", "given"}, PARENT},
		{{"device", "remove", "given", "kvm"}, ""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct result result;

		run(rows[i].words, &result);
		assert_memory_equal(result.err, rows[i].err, strlen(rows[i].err));
		assert_int_equal(!result.err[0], !rows[i].err[0]);
		assert_int_equal(result.status, 0);
	}
}

static const char *const ping[] = {"ping", NULL};

/* Without a daemon, and whatever is said of its address. */
static void test_translate(void **state)
{
	static const struct {
		const char *words[WORDS_MAX];
		int status;
		const char *text; /* what is printed, or how the complaint begins */
	} rows[] = {
		{{"translate", "memory.limit_in_bytes", "256Mi"}, 0,
			"neutral  memory.max 268435456\n"
			"v1       memory.limit_in_bytes 268435456\n"
			"v2       memory.max 268435456\n"},
		{{"translate", "memory.memsw.limit_in_bytes", "2G", "memory.max", "1G"}, 0,
			"neutral  memory.swap.max 1073741824\n"
			"v1       memory.memsw.limit_in_bytes 2147483648\n"
			"v2       memory.swap.max 1073741824\n"
			"note     memory.memsw.limit_in_bytes is memory.max and memory.swap.max "
			"together\n"},
		{{"translate", "cpu.cpus"}, 0,
			"neutral  cpu.cpus\n"
			"v1       cpu.cfs_quota_us\n"
			"         cpu.cfs_period_us\n"
			"v2       cpu.max\n"},
		{{"translate", "memory.swappiness", "60"}, 0,
			"neutral  none\n"
			"v1       memory.swappiness 60\n"
			"v2       none: cgroup v2 has no swappiness by cgroup\n"},
		{{"translate", "memory.max", "lots"}, 1,
			"cgm: translate: memory.max lots: the value is not one that this key takes "
			"(a number of bytes, "},
		{{"translate", "memory.max", "1G", "memory.swap.max", "lots"}, 1,
			"cgm: translate: memory.swap.max lots: the value is not one that "},
		{{"translate", "memory.memsw.limit_in_bytes", "1G", "memory.max", "2G"}, 1,
			"cgm: translate: memory.memsw.limit_in_bytes 1G: the value is not one that "
			"this key takes (memory.memsw.limit_in_bytes would be below "},
		{{"translate", "io.max", "/dev/null rbps=1M"}, 1,
			"cgm: translate: io.max /dev/null rbps=1M: there is no such block "
			"device\n"},
		{{"translate", "memory.current", "5"}, 1,
			"cgm: translate: memory.current 5: this key is not among those that cgmd "
			"sets (this is a statistic, "},
		{{"translate", "memory.maximum"}, 1,
			"cgm: translate: no setting is named \"memory.maximum\"; see KEYS in "
			"cgm(1)\n"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct result result;

		run_to("bad", rows[i].words, -1, &result);
		assert_int_equal(result.status, rows[i].status);
		assert_string_equal(result.status ? result.out : result.err, "");
		if (result.status)
			assert_memory_equal(result.err, rows[i].text, strlen(rows[i].text));
		else
			assert_string_equal(result.out, rows[i].text);
	}
}

static void test_no_connection(void **state)
{
	struct sockaddr_un address;
	struct result result;
	int fd = listen_at("dead", &address, 1);

	run_to("/nowhere/socket", ping, -1, &result);
	assert_int_equal(result.status, 1);
	assert_string_equal(result.err,
		"cgm: cannot connect to unix:path=/nowhere/socket: No such file or directory; is "
		"cgmd running? Start it, or name its socket with --address or CGM_ADDRESS\n");

	close(fd);
	run_to(address.sun_path, ping, -1, &result);
	assert_int_equal(result.status, 1);
	assert_non_null(strstr(result.err, "Connection refused; is cgmd running?"));
	unlink(address.sun_path);

	run_to("/nowhere/socket",
		(const char *const[]){"device", "explain", "a", "kvm", "rw", NULL}, -1, &result);
	assert_int_equal(result.status, 2);
	assert_non_null(strstr(result.err, "cannot connect"));

	run_to("socket", ping, -1, &result);
	assert_int_equal(result.status, 2);
	assert_memory_equal(result.err, "cgm: CGM_ADDRESS must be", 24);
}

/* A daemon that is stopped: first it does not authenticate, then its backlog is full as well. */
static void test_stopped_server(void **state)
{
	struct sockaddr_un address;
	struct result result;
	int fd = listen_at("mute", &address, 0), n = 0, clients[8];

	run_to(address.sun_path, ping, -1, &result);
	assert_int_equal(result.status, 1);
	assert_non_null(strstr(result.err, ": no answer in time; is cgmd stopped or overloaded?"));

	for (; n < 8; n++) {
		clients[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (connect(clients[n], (struct sockaddr *)&address, sizeof(address)) < 0)
			break;
	}
	assert_true(n < 8);
	assert_int_equal(errno, EAGAIN);
	run_to(address.sun_path, ping, -1, &result);
	assert_int_equal(result.status, 1);
	assert_non_null(strstr(result.err, ": no answer in time; is cgmd stopped or overloaded?"));

	for (; n >= 0; n--)
		close(clients[n]);
	close(fd);
	unlink(address.sun_path);
}

static void test_second_address(void **state)
{
	char *good = NULL;
	const char *used = NULL;
	sd_bus *bus = NULL;

	assert_true(asprintf(&good, "unix:path=%s/a%%20socket", directory) > 0);
	{
		const char *const addresses[] = {"unix:path=/nowhere/socket", good, NULL};
		const char *const refuses[] = {"unix:path=/dev/null", good, NULL};

		assert_int_equal(link_open(addresses, false, link_deadline(5), &bus, &used), 0);
		assert_string_equal(used, good);
		sd_bus_close_unref(bus);

		/* it exists, so it is the one that was meant */
		bus = NULL;
		assert_int_equal(
			link_open(refuses, false, link_deadline(5), &bus, &used), -ECONNREFUSED);
		assert_null(bus);
		assert_string_equal(used, refuses[0]);
	}
	free(good);
}

static void test_output_that_fails(void **state)
{
	static const char *const list[] = {"listcontrollers", NULL};
	struct result result;
	int ends[2], full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	assert_true(full >= 0);
	run_to(server_address.sun_path, list, full, &result);
	assert_int_equal(result.status, 1);
	assert_string_equal(result.err, "cgm: cannot write the output: No space left on device\n");
	close(full);

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	close(ends[0]);
	run_to(server_address.sun_path, list, ends[1], &result);
	assert_int_equal(result.status, 1);
	assert_string_equal(result.err, "cgm: cannot write the output: Broken pipe\n");
	close(ends[1]);
}

static void test_terminal(void **state)
{
	static const char *const list[] = {"listchildren", "memory", NULL};
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	char buf[64] = "";
	struct result result;

	if (master < 0)
		skip();
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(slave >= 0);
	run_to(server_address.sun_path, list, slave, &result);
	assert_int_equal(result.status, 0);
	assert_true(read(master, buf, sizeof(buf) - 1) > 0);
	assert_string_equal(buf, "z\r\n\\x1ba\r\n");
	close(slave);
	close(master);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_explain),
		cmocka_unit_test(test_notes),
		cmocka_unit_test(test_translate),
		cmocka_unit_test(test_no_connection),
		cmocka_unit_test(test_stopped_server),
		cmocka_unit_test(test_second_address),
		cmocka_unit_test(test_output_that_fails),
		cmocka_unit_test(test_terminal),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
