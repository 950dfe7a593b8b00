/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* perf_event_open(2), as the kernel answers it or, once it is trapped, the daemon. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jobs.h"
#include "measure.h"

#define FLOODS 8

#if defined __x86_64__
#	define ARCH AUDIT_ARCH_X86_64
#elif defined __aarch64__
#	define ARCH AUDIT_ARCH_AARCH64
#else
#	define ARCH 0
#endif

static pid_t floods[FLOODS];

static int listen_here(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_perf_event_open, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	};
	const struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	need_errno(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	return need_errno(
		(int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
			&program),
		"seccomp");
}

void perf_trap(struct bench_client *c, unsigned i)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	int fd = listen_here();
	int r = sd_bus_call_method(c->bus, NULL, "/org/cgmd1", "org.cgmd1.Manager",
		"AttachPerfListener", &error, NULL, "h", fd);

	if (r < 0)
		fprintf(stderr, "bench: %s\n", error.message);
	need(r, "AttachPerfListener");
	close(fd);
}

void perf_before(struct bench_client *c, unsigned n)
{
	c->held = realloc(c->held, n * sizeof(*c->held));
	if (!c->held)
		need(-ENOMEM, "events");
}

void perf_after(struct bench_client *c, unsigned n)
{
	while (c->n_held > 0)
		close(c->held[--c->n_held]);
}

static int event_open(struct perf_event_attr *attr, pid_t pid, int cpu)
{
	attr->type = PERF_TYPE_SOFTWARE;
	attr->size = sizeof(*attr);
	attr->disabled = 1;
	attr->exclude_kernel = 1;
	return need_errno(
		(int)syscall(SYS_perf_event_open, attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC),
		"perf_event_open");
}

static int count_all(void)
{
	struct perf_event_attr attr = {.config = PERF_COUNT_SW_CPU_CLOCK};

	return event_open(&attr, -1, 0);
}

void perf_count_all(struct bench_client *c, unsigned i)
{
	c->held[c->n_held++] = count_all();
}

void perf_count_own(struct bench_client *c, unsigned i)
{
	struct perf_event_attr attr = {.config = PERF_COUNT_SW_TASK_CLOCK};

	c->held[c->n_held++] = event_open(&attr, 0, -1);
}

void perf_sample_all(struct bench_client *c, unsigned i)
{
	struct perf_event_attr attr = {.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = 1000000,
		.sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_TID};

	c->held[c->n_held++] = event_open(&attr, -1, 0);
}

void perf_sample_own(struct bench_client *c, unsigned i)
{
	struct perf_event_attr attr = {.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = 1000000,
		.sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_TID};

	c->held[c->n_held++] = event_open(&attr, 0, -1);
}

void perf_flood(struct bench_client *c, unsigned i)
{
	for (unsigned k = 0; k < FLOODS; k++) {
		floods[k] = need_errno(fork(), "fork");
		if (floods[k] > 0)
			continue;
		need_errno(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
		for (;;)
			close(count_all());
	}
}

void perf_flood_end(struct bench_client *c, unsigned i)
{
	for (unsigned k = 0; k < FLOODS; k++)
		kill(floods[k], SIGKILL);
}

/* A system call that does nearly nothing. */
void call_other(struct bench_client *c, unsigned i)
{
	(void)syscall(SYS_getppid);
}
