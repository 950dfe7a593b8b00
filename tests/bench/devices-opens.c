/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What opening a device costs more in a governed cgroup than in one that is not: in cgroups with
 * policies of the daemon's, and with chains of rules as crun builds them. A process stands in each;
 * they take turns in short blocks, measured in processor time, so that what else runs on the
 * machine does not count.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "devices.h"
#include "jobs.h"
#include "measure.h"
#include "place.h"

#define ROUNDS 101
#define BLOCK 2000
#define STANDS_MAX 16
#define MANY_RULES 1500
#define CHAIN_MAX 500
#define NODE "/dev/null"
#define AIM 60

/* One way of being governed. */
struct stand {
	const char *label;
	char path[64]; /* below BASE */
	unsigned rules, chain;
	double aim;
	pid_t pid;
	int sock;
};

/*
 * Rules.
 */

/* The device that is opened comes last, as in a list that begins with a container's own. */
static void rules_many(unsigned n, char (*text)[32], const char **ret)
{
	for (unsigned i = 0; i < n; i++) {
		if (i == n - 1)
			snprintf(text[i], sizeof(text[i]), "allow c 1:3 rwm");
		else
			snprintf(text[i], sizeof(text[i]), "allow c %u:%u rwm", 10 + i, 3 * i);
		ret[i] = text[i];
	}
	ret[n] = NULL;
}

static void stand_policy(sd_bus *bus, const char *path, unsigned rules)
{
	char name[128], text[MANY_RULES][32];
	const char *list[MANY_RULES + 1];

	snprintf(name, sizeof(name), "/" BASE "/%s", path);
	rules_many(rules, text, list);
	need(rules_give(bus, name, list), name);
}

static void insn(struct bpf_insn *insns, size_t *n, struct bpf_insn i)
{
	insns[(*n)++] = i;
}

#define ADD(...) insn(insns, &n, (struct bpf_insn){__VA_ARGS__})
#define LOAD(dst, offset) \
	ADD(.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = (dst), .src_reg = 1, .off = (offset))
#define OP(op, dst, constant) \
	ADD(.code = BPF_ALU | (op) | BPF_K, .dst_reg = (dst), .imm = (constant))
#define RETURN(verdict)                                                           \
	ADD(.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = (verdict)); \
	ADD(.code = BPF_JMP | BPF_EXIT)
#define UNLESS_SKIP(reg, constant, behind) \
	ADD(.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = (reg), .imm = (constant), .off = (behind))

/* A block a rule: type, major, minor (and the access if it is not all, with which the verifier
 * takes a second for 100 rules and refuses 500); the first that matches returns. */
static size_t chain_build(unsigned rules, struct bpf_insn *insns)
{
	size_t n = 0;

	LOAD(2, offsetof(struct bpf_cgroup_dev_ctx, access_type));
	OP(BPF_AND, 2, 0xffff);
	LOAD(3, offsetof(struct bpf_cgroup_dev_ctx, access_type));
	OP(BPF_RSH, 3, 16);
	LOAD(4, offsetof(struct bpf_cgroup_dev_ctx, major));
	LOAD(5, offsetof(struct bpf_cgroup_dev_ctx, minor));
	for (unsigned i = 0; i < rules; i++) {
		bool last = i == rules - 1;

		UNLESS_SKIP(2, BPF_DEVCG_DEV_CHAR, 4);
		UNLESS_SKIP(4, last ? 1 : (int)(10 + i), 3);
		UNLESS_SKIP(5, last ? 3 : (int)(3 * i), 2);
		RETURN(1);
	}
	RETURN(0);
	return n;
}

static void stand_chain(int dir, unsigned rules)
{
	LIBBPF_OPTS(bpf_prog_attach_opts, options, .flags = BPF_F_ALLOW_MULTI);
	struct bpf_insn *insns = calloc(16 + CHAIN_MAX * 5, sizeof(*insns));
	double start = now_usec();
	size_t n;
	int fd;

	if (!insns)
		need(-ENOMEM, "chain");
	n = chain_build(rules, insns);
	fd = need(bpf_prog_load(BPF_PROG_TYPE_CGROUP_DEVICE, "", "GPL", insns, n, NULL),
		"loading a chain");
	need(bpf_prog_attach_opts(fd, dir, BPF_CGROUP_DEVICE, &options), "attaching a chain");
	printf("a chain of %u rules is loaded and attached in %.0f us\n", rules,
		now_usec() - start);
	close(fd);
	free(insns);
}

/*
 * Those who stand there.
 */

struct order {
	bool open; /* or ask with faccessat() */
	unsigned n;
};

static double cpu_usec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void block_run(const struct order *order)
{
	for (unsigned i = 0; i < order->n; i++) {
		if (order->open)
			close(need_errno(open(NODE, O_RDWR | O_CLOEXEC), NODE));
		else
			need_errno(faccessat(AT_FDCWD, NODE, R_OK | W_OK, 0), NODE);
	}
}

static _Noreturn void stand_serve(int sock)
{
	struct order order;

	while (recv(sock, &order, sizeof(order), 0) == sizeof(order)) {
		double start = cpu_usec(), ns;

		block_run(&order);
		ns = (cpu_usec() - start) * 1000 / order.n;
		if (send(sock, &ns, sizeof(ns), MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}

static void stand_start(struct stand *s, int base)
{
	int pair[2];

	need_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), "socketpair");
	fflush(stdout);
	s->pid = need_errno(fork(), "fork");
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[0]);
		stand_serve(pair[1]);
	}
	close(pair[1]);
	s->sock = pair[0];
	need(place_move(base, s->path, s->pid), s->path);
}

static double stand_run(const struct stand *s, bool open, unsigned n)
{
	struct order order = {.open = open, .n = n};
	double ns;

	need_errno((int)send(s->sock, &order, sizeof(order), MSG_NOSIGNAL), s->label);
	if (recv(s->sock, &ns, sizeof(ns), 0) != sizeof(ns))
		need(-EPIPE, s->label);
	return ns;
}

static void stand_make(struct stand *s, sd_bus *bus, int base)
{
	int dir;

	need_errno(mkdirat(base, s->path, 0755), s->path);
	dir = need_errno(openat(base, s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), s->path);
	if (s->rules)
		stand_policy(bus, s->path, s->rules);
	if (s->chain)
		stand_chain(dir, s->chain);
	close(dir);
	stand_start(s, base);
}

static void stand_end(struct stand *s, int base)
{
	close(s->sock);
	waitpid(s->pid, NULL, 0);
	need_errno(unlinkat(base, s->path, AT_REMOVEDIR), s->path);
}

/*
 * The measure.
 */

static void print_stand(const struct stand *s, double *ns, const double *free_ns, double least)
{
	double more[ROUNDS], fastest = ns[0];

	for (size_t k = 0; k < ROUNDS; k++) {
		more[k] = ns[k] - free_ns[k];
		fastest = ns[k] < fastest ? ns[k] : fastest;
	}
	printf("    %s: %.0f ns more, the fastest %.0f", s->label, median(more, ROUNDS),
		fastest - least);
	if (s->aim > 0)
		printf(", aim %.0f", s->aim);
	puts("");
}

static void compare_stands(const struct stand *s, size_t n, bool open)
{
	double ns[STANDS_MAX][ROUNDS], sorted[ROUNDS];

	for (size_t i = 0; i < n; i++)
		(void)stand_run(&s[i], open, BLOCK);
	for (size_t k = 0; k < ROUNDS; k++)
		for (size_t i = 0; i < n; i++)
			ns[i][k] = stand_run(&s[i], open, BLOCK);
	memcpy(sorted, ns[0], sizeof(sorted));
	printf("%s of " NODE ", not governed: %.0f ns", open ? "open and close" : "faccessat",
		median(sorted, ROUNDS));
	printf(", the fastest %.0f\n", sorted[0]);
	for (size_t i = 1; i < n; i++)
		print_stand(&s[i], ns[i], ns[0], sorted[0]);
	fflush(stdout);
}

void bench_opens(sd_bus *bus, int base)
{
	struct stand stands[] = {
		{.label = "", .path = "free"},
		{.label = "15 rules", .path = "n1", .rules = 15, .aim = AIM},
		{.label = "1,500 rules", .path = "many", .rules = MANY_RULES, .aim = AIM},
		{.label = "15 rules at each of 2 levels", .path = "n1/n2", .rules = 15},
		{.label = "at each of 3", .path = "n1/n2/n3", .rules = 15},
		{.label = "at each of 4", .path = "n1/n2/n3/n4", .rules = 15},
		{.label = "at each of 5", .path = "n1/n2/n3/n4/n5", .rules = 15},
		{.label = "at each of 6", .path = "n1/n2/n3/n4/n5/n6", .rules = 15},
		{.label = "at each of 7", .path = "n1/n2/n3/n4/n5/n6/n7", .rules = 15},
		{.label = "at each of 8", .path = "n1/n2/n3/n4/n5/n6/n7/n8", .rules = 15},
		{.label = "crun's chain of 10", .path = "chain10", .chain = 10},
		{.label = "crun's chain of 100", .path = "chain100", .chain = 100},
		{.label = "crun's chain of 500", .path = "chain500", .chain = CHAIN_MAX},
	};
	const size_t n = sizeof(stands) / sizeof(stands[0]);

	for (size_t i = 0; i < n; i++)
		stand_make(&stands[i], bus, base);
	compare_stands(stands, n, false);
	compare_stands(stands, n, true);
	for (size_t i = n; i-- > 0;)
		stand_end(&stands[i], base);
}
