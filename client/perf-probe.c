/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "connect.h"
#include "filter.h"
#include "link.h"
#include "own.h"
#include "perf-findings.h"
#include "perf-run.h"

/* PROC_CGROUP_INIT_INO, PROC_PID_INIT_INO (include/linux/proc_ns.h) */
#define INITIAL_CGROUPNS UINT64_C(0xeffffffb)
#define INITIAL_PIDNS UINT64_C(0xeffffffc)

static int read_text(const char *path, char *buf, size_t size)
{
	OWN(own_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	if (n < 0) {
		n = -errno;
		buf[0] = '\0';
		return (int)n;
	}
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

static int open_event(struct perf_event_attr *attr, int pid, int cpu, unsigned long flags)
{
	OWN(own_fd) int fd = (int)syscall(SYS_perf_event_open, attr, pid, cpu, -1, flags);

	return fd < 0 ? -errno : 0;
}

/* As perf does: the kernel's side is left out if it is refused. */
static void attempt_open(struct attempt *a)
{
	struct perf_event_attr attr = {.type = a->event.type,
		.size = PERF_ATTR_SIZE_VER0,
		.config = a->event.config,
		.disabled = 1,
		.exclude_user = a->event.kernel,
		.exclude_kernel = a->event.user,
		.exclude_hv = a->event.user};
	bool own = a->target == TARGET_OWN;
	int pid = own ? 0 : -1, cpu = own ? -1 : a->cpu;

	a->result = open_event(&attr, pid, cpu, PERF_FLAG_FD_CLOEXEC);
	if ((a->result != -EACCES && a->result != -EPERM) || a->event.user || a->event.kernel ||
		event_is_uncore(&a->event))
		return;
	attr.exclude_kernel = attr.exclude_hv = 1;
	a->user_only = open_event(&attr, pid, cpu, PERF_FLAG_FD_CLOEXEC) == 0;
	if (a->user_only)
		a->result = 0;
}

/* One that is online: perf_event_open takes no other. */
static int usable_cpu(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		for (int i = 0; i < CPU_SETSIZE; i++)
			if (CPU_ISSET(i, &set))
				return i;
	return 0;
}

static void attempt_make(struct attempt *a)
{
	int cpu;

	a->cpu = usable_cpu();
	a->lookup = event_resolve(&a->event, "/sys", "/sys/kernel/tracing", &cpu);
	if (a->lookup < 0) {
		a->result = 0;
		return;
	}
	if (a->event.kind == EVENT_PMU)
		a->target = cpu >= 0 || event_is_uncore(&a->event) ? TARGET_CPU : TARGET_OWN;
	if (cpu >= 0)
		a->cpu = cpu;
	attempt_open(a);
}

static void probe_kernel(struct findings *f)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
		.size = PERF_ATTR_SIZE_VER0,
		.config = PERF_COUNT_SW_DUMMY,
		.exclude_kernel = 1};
	/* the kernel looks at the flags first of all */
	f->flags_probe = open_event(&attr, 0, -1, ~0UL);
	f->memory_probe = open_event(NULL, 0, -1, 0);
}

static void probe_level(struct findings *f)
{
	char text[32];
	int level;

	f->paranoid_error = read_text("/proc/sys/kernel/perf_event_paranoid", text, sizeof(text));
	if (f->paranoid_error == 0 && sscanf(text, "%d", &level) == 1)
		f->paranoid = level;
}

static uint32_t little_endian(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* struct vfs_ns_cap_data (linux/capability.h). The kernel gives what was stored for this user
 * namespace's root, or for one above, as revision 2, and what is for another's as EOVERFLOW
 * (user_namespaces(7)). */
static void probe_file(struct findings *f)
{
	unsigned char data[XATTR_CAPS_SZ_3];
	ssize_t n;

	if (!f->program[0])
		return;
	n = getxattr(f->program, "security.capability", data, sizeof(data));
	if (n < 0) {
		f->file_caps = errno == EOVERFLOW ? FILE_CAPS_FOREIGN : FILE_CAPS_NONE;
		return;
	}
	if (n < (ssize_t)XATTR_CAPS_SZ_2)
		return;
	f->file_caps = FILE_CAPS_OURS;
	f->file_permitted = (uint64_t)little_endian(data + 12) << 32 | little_endian(data + 4);
	if (n == (ssize_t)XATTR_CAPS_SZ_3)
		f->file_root = little_endian(data + XATTR_CAPS_SZ_2);
}

static void probe_lsm(struct findings *f)
{
	read_text("/proc/self/attr/current", f->label, sizeof(f->label));
	read_text("/sys/kernel/security/lsm", f->lsms, sizeof(f->lsms));
}

static bool is_namespace(const char *path, uint64_t inode)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_ino == inode;
}

/* Of the hierarchy that has perf_event, in the words of a shell; only there where the path is the
 * host's. */
static void probe_cgroup(struct findings *f)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789/_.-@:+,=";
	OWN(own_file) FILE *file = fopen("/proc/self/cgroup", "re");
	char line[TEXT_FOUND_MAX];

	while (file && fgets(line, sizeof(line), file)) {
		char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;

		line[strcspn(line, "\n")] = '\0';
		if (!path || path[1 + strspn(path + 1, plain)])
			continue;
		*path = '\0';
		if (strcmp(names + 1, "perf_event") == 0 || (!names[1] && !f->cgroup[0]))
			snprintf(f->cgroup, sizeof(f->cgroup), "%s", path + 1);
	}
}

static void probe_container(struct findings *f)
{
	bool cgroupns = is_namespace("/proc/self/ns/cgroup", INITIAL_CGROUPNS);
	const struct userns_chain *chain = &f->credentials.chain;

	f->container = !cgroupns || !is_namespace("/proc/self/ns/pid", INITIAL_PIDNS) ||
		       chain->n == 0 || !userns_is_initial(&chain->ns[0]);
	f->oci = access("/run/.containerenv", F_OK) == 0 || access("/.dockerenv", F_OK) == 0;
	if (cgroupns)
		probe_cgroup(f);
}

static const struct attempt *first_failed(const struct findings *f)
{
	for (unsigned i = 0; i < f->n; i++)
		if (!f->attempts[i].optional && (f->attempts[i].lookup || f->attempts[i].result))
			return &f->attempts[i];
	return NULL;
}

static void keep_text(char *to, const char *text)
{
	snprintf(to, TEXT_FOUND_MAX, "%s", text ? text : strerror(ENOMEM));
}

static void ask_grant(struct findings *f, sd_bus *bus, uint64_t deadline)
{
	OWN(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
	OWN(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	struct invocation check = {.verb = verb_find("perf check"),
		.values = {{.text = ""}, {.text = f->item}},
		.given = 3};
	const char *cgroup, *why = "";
	int allowed = 0;
	int r = link_call(bus, &check, deadline, &answer, &error);

	if (r == 0)
		r = sd_bus_message_read(answer, "bss", &allowed, &cgroup, &why);
	else
		r = r > 0 ? -EPROTO : r;
	if (r < 0) {
		keep_text(f->grant_text, error.name ? refusal_text(&error) : strerror(-r));
		return;
	}
	keep_text(f->grant_text, why);
	f->grant = allowed ? GRANT_GIVEN : GRANT_MISSING;
}

static void probe_daemon(struct findings *f, const struct invocation *inv)
{
	OWN(sd_bus_close_unrefp) sd_bus *bus = NULL;
	OWN(own_string) char *error = NULL;
	uint64_t deadline = link_deadline(inv->timeout);
	const char *address;
	int r = connect_daemon(inv, false, deadline, &bus, &address, &error);

	f->daemon = r == -ENOENT || r == -ECONNREFUSED ? DAEMON_ABSENT
		    : r < 0			       ? DAEMON_MUTE
						       : DAEMON_THERE;
	/* of the two that were tried the first is the one to have */
	if (f->daemon == DAEMON_ABSENT && !inv->address)
		address = CGM_ADDRESS_DEFAULT;
	keep_text(f->daemon_text, f->daemon == DAEMON_MUTE ? error : address);
	if (r == 0)
		ask_grant(f, bus, deadline);
}

/* In a child, since a filter is for good, and a listener may never answer. What it finds is in *f
 * also if it is ended for that. Its status, or -1: it has none. */
static int in_child(int (*run)(struct findings *f, const struct invocation *inv),
	struct findings *f, const struct invocation *inv)
{
	struct findings *shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = -1;
	pid_t pid;

	if (shared == MAP_FAILED)
		return -1;
	*shared = *f;
	pid = fork();
	if (pid == 0) {
		signal(SIGALRM, SIG_DFL);
		alarm(inv->timeout);
		_exit(run(shared, inv));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		status = -1;
	*f = *shared;
	munmap(shared, sizeof(*shared));
	return status < 0 ? -1 : WEXITSTATUS(status);
}

static int child_tries(struct findings *f, const struct invocation *inv)
{
	(void)inv;
	for (unsigned i = 0; i < f->n; i++)
		f->attempts[i].result = -ETIMEDOUT;
	f->flags_probe = f->memory_probe = -ETIMEDOUT;
	for (unsigned i = 0; i < f->n; i++)
		attempt_make(&f->attempts[i]);
	probe_kernel(f);
	return 0;
}

static int child_is_trapped(struct findings *f, const struct invocation *inv)
{
	int listener;

	(void)inv;
	f->trapped = filter_load(&listener) == -EBUSY;
	return 0;
}

/* What cgm perf run would make of what fails. */
static int child_runs(struct findings *f, const struct invocation *inv)
{
	OWN(own_string) char *error = NULL;

	if (perf_trap(inv, &error) < 0) {
		keep_text(f->run_text, error);
		return 1;
	}
	for (unsigned i = 0; i < f->n; i++) {
		struct attempt a = f->attempts[i];

		if (a.lookup < 0 || a.result == 0)
			continue;
		attempt_open(&a);
		f->attempts[i].through_cgmd = a.result == 0;
	}
	return 0;
}

int findings_gather(struct findings *f, const struct invocation *inv)
{
	const struct attempt *failed;
	int r = credentials_get(0, &f->credentials);

	if (r < 0)
		return r;
	in_child(child_tries, f, inv);
	failed = first_failed(f);
	if (f->n > 0)
		event_item(failed ? &failed->event : &f->attempts[0].event, f->item);
	probe_level(f);
	probe_file(f);
	probe_lsm(f);
	probe_container(f);
	if (f->credentials.seccomp)
		in_child(child_is_trapped, f, inv);
	probe_daemon(f, inv);
	if (failed && f->daemon == DAEMON_THERE && !f->trapped)
		in_child(child_runs, f, inv);
	return 0;
}
