/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"

enum kind { FLAG, OFF, TEXT, PATH, NUMBER, SECONDS, SOCKET, DEVICES, HELP, VERSION };

static const struct row {
	const char *name;
	char letter;
	enum kind kind;
	const char *argument, *help;
	size_t offset;
	unsigned min, max;
} rows[] = {
#define AT(field) offsetof(struct options, field)
	{"socket", 's', SOCKET, "PATH",
		"listen there (repeatable; default /run/cgmd/socket, and where /sys/fs/cgroup is a "
		"tmpfs /sys/fs/cgroup/cgmanager/sock)",
		0, 0, 0},
	{"mount", 'm', TEXT, "LIST",
		"v1 controllers or name=X to manage though nobody has mounted them", AT(mount), 0,
		0},
	{"ignore", 'M', TEXT, "LIST",
		"controllers to leave alone; without v1's devices cgroup v2 has them, by programs",
		AT(ignore), 0, 0},
	{"policy", 0, PATH, "FILE",
		"what cgroups may be given beyond what those above them allow "
		"(/etc/cgmd/policy.conf)",
		AT(policy), 0, 0},
	{"max-depth", 0, NUMBER, "N", "how deep clients may create cgroups (16)", AT(max_depth), 1,
		128},
	{"max-clients", 0, NUMBER, "N", "connections in all (16384)", AT(max_peers), 1, 1 << 20},
	{"max-clients-per-uid", 0, NUMBER, "N",
		"connections of one host uid, or of one container with all its uids (4096, and a "
		"quarter of all at most)",
		AT(max_peers_uid), 1, 1 << 20},
	{"message-max", 0, NUMBER, "BYTES", "the longest message taken (65536)",
		AT(limits.message_max), 1024, 65536},
	{"queue-max", 0, NUMBER, "N",
		"replies that may wait for a client to read; with so many it is dropped (64)",
		AT(limits.replies_max), 2, 4096},
	{"auth-timeout", 0, SECONDS, "SECONDS", "from connecting to the end of authentication (5)",
		AT(limits.auth_usec), 1, 600},
	{"scm-timeout", 0, SECONDS, "SECONDS",
		"each step of a call that passes credentials over a socket (2)", AT(scm_usec), 1,
		60},
	{"bpffs", 0, PATH, "PATH",
		"keep device programs there, so that nobody else detaches them; a mounted bpffs "
		"(/sys/fs/bpf)",
		AT(bpffs), 0, 0},
	{"device-programs", 0, DEVICES, "KIND",
		"how rules for devices are kept on cgroup v2: storage (one program for all), "
		"programs (one for each list of rules, where the kernel has no such storage), off "
		"(storage, or what the kernel has)",
		AT(device_programs), 0, 0},
	{"perf", 0, OFF, "on|off", "open perf events for containers that have a grant (on)",
		AT(perf_off), 0, 0},
	{"perf-events-max", 0, NUMBER, "N",
		"perf events that may be open of one cgroup with a grant and on one CPU, and 16 "
		"times as many of tasks (64)",
		AT(perf_events_max), 1, 4096},
	{"perf-rate", 0, NUMBER, "N",
		"trapped calls of perf_event_open answered in a second, of one listener (2000)",
		AT(perf_rate), 1, 1000000},
	{"perf-listeners-max", 0, NUMBER, "N",
		"seccomp listeners of one account, as cgm perf run and containers have them (64)",
		AT(perf_listeners_max), 1, 256},
	{"perf-keeper", 0, PATH, "PATH",
		"the socket of the process that holds seccomp listeners while the daemon is away "
		"(/run/cgmd-keeper/socket)",
		AT(perf_keeper), 0, 0},
	{"perf-gate", 0, FLAG, NULL,
		"where perf_event_paranoid is lowered: refuse perf events to containers without a "
		"grant, by a BPF LSM program",
		AT(perf_gate), 0, 0},
	{"lxc-socket", 0, PATH, "PATH",
		"listen there for LXC's lxc.seccomp.notify.proxy (/run/cgmd/lxc.sock)",
		AT(lxc_socket), 0, 0},
	{"lxc-next", 0, PATH, "PATH",
		"another seccomp proxy of LXC's, which gets what is not perf_event_open",
		AT(lxc_next), 0, 0},
	{"oci-socket", 0, PATH, "PATH",
		"listen there for the listenerPath of OCI runtimes (/run/cgmd/oci.sock)",
		AT(oci_socket), 0, 0},
	{"strict-identity", 0, FLAG, NULL,
		"refuse clients where the kernel cannot tell for sure who they are (before 6.5)",
		AT(strict), 0, 0},
	{"daemon", 0, FLAG, NULL, "go to the background once clients are answered", AT(daemonize),
		0, 0},
	{"pidfile", 'p', TEXT, "PATH", "write the process id there", AT(pidfile), 0, 0},
	{"ready-fd", 0, NUMBER, "FD", "write a newline to it, and close it, when ready",
		AT(ready_fd), 0, INT_MAX},
	{"sigstop", 0, FLAG, NULL, "stop by SIGSTOP when ready (upstart's \"expect stop\")",
		AT(sigstop), 0, 0},
	{"debug", 'd', FLAG, NULL, "log more", AT(debug), 0, 0},
	{"no-sandbox", 0, FLAG, NULL, "keep capabilities and system calls, for debuggers",
		AT(no_sandbox), 0, 0},
	{"help", 'h', HELP, NULL, "print this", 0, 0, 0},
	{"version", 0, VERSION, NULL, "print the version", 0, 0, 0},
#undef AT
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static void print_help(void)
{
	printf("Usage: cgmd [OPTION]...\n"
	       "Manages cgroups for containers and unprivileged users over D-Bus on a unix "
	       "socket.\n\n");
	for (size_t i = 0; i < N_ROWS; i++) {
		const struct row *row = &rows[i];
		char left[64];

		snprintf(left, sizeof(left), "%c%c%s--%s%s%s", row->letter ? '-' : ' ',
			row->letter ? row->letter : ' ', row->letter ? ", " : "  ", row->name,
			row->argument ? " " : "", row->argument ? row->argument : "");
		printf("  %-30s %s\n", left, row->help);
	}
	printf("\nSockets are also taken from LISTEN_FDS. SIGHUP reads the policy file "
	       "again.\nSIGTERM ends the daemon; cgroups and their state stay.\n");
}

static bool number_parse(const char *text, unsigned min, unsigned max, unsigned *ret)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-' || text[0] == '+' || value < min ||
		value > max)
		return false;
	*ret = (unsigned)value;
	return true;
}

static enum options_result wrong(const struct row *row, const char *argument, const char *must)
{
	fprintf(stderr, "cgmd: --%s %s: it must be %s\n", row->name, argument, must);
	return OPTIONS_WRONG;
}

/* NUMBER is an unsigned, SECONDS a uint64_t of microseconds. */
static enum options_result number_set(const struct row *row, const char *text, struct options *o)
{
	void *field = (char *)o + row->offset;
	char must[64];
	unsigned value;

	if (!number_parse(text, row->min, row->max, &value)) {
		snprintf(must, sizeof(must), "a number from %u to %u", row->min, row->max);
		return wrong(row, text, must);
	}
	if (row->kind == SECONDS)
		*(uint64_t *)field = (uint64_t)value * 1000000;
	else
		*(unsigned *)field = value;
	return OPTIONS_RUN;
}

static enum options_result off_set(const struct row *row, const char *text, struct options *o)
{
	bool off = strcmp(text, "off") == 0;

	if (!off && strcmp(text, "on") != 0)
		return wrong(row, text, "on or off");
	*(bool *)((char *)o + row->offset) = off;
	return OPTIONS_RUN;
}

static enum options_result devices_set(const struct row *row, const char *text, struct options *o)
{
	static const char *const words[] = {"", "storage", "programs", "off"};

	for (unsigned i = DEVICES_STORAGE; i <= DEVICES_OFF; i++)
		if (strcmp(text, words[i]) == 0) {
			o->device_programs = i;
			return OPTIONS_RUN;
		}
	return wrong(row, text, "storage, programs or off");
}

static enum options_result row_apply(const struct row *row, char *argument, struct options *o)
{
	switch (row->kind) {
	case FLAG:
		*(bool *)((char *)o + row->offset) = true;
		return OPTIONS_RUN;
	case OFF:
		return off_set(row, argument, o);
	case TEXT:
		*(const char **)((char *)o + row->offset) = argument;
		return OPTIONS_RUN;
	case PATH:
		if (argument[0] != '/')
			return wrong(row, argument, "an absolute path");
		*(const char **)((char *)o + row->offset) = argument;
		return OPTIONS_RUN;
	case NUMBER:
	case SECONDS:
		return number_set(row, argument, o);
	case DEVICES:
		return devices_set(row, argument, o);
	case SOCKET:
		if (argument[0] != '/')
			return wrong(row, argument, "an absolute path");
		if (o->n_sockets == LISTENERS_MAX)
			return wrong(row, argument, "given 16 times at most");
		o->sockets[o->n_sockets++] = argument;
		return OPTIONS_RUN;
	case HELP:
		print_help();
		return OPTIONS_DONE;
	case VERSION:
		puts("cgmd " CGM_VERSION);
		return OPTIONS_DONE;
	}
	return OPTIONS_WRONG;
}

static const struct row *row_find(int value, int index)
{
	if (index >= 0)
		return &rows[index];
	for (size_t i = 0; i < N_ROWS; i++)
		if (rows[i].letter && rows[i].letter == value)
			return &rows[i];
	return NULL;
}

enum options_result options_parse(int argc, char **argv, struct options *ret)
{
	struct option longs[N_ROWS + 1] = {0};
	char shorts[2 * N_ROWS + 1], *end = shorts;
	struct options o = {
		.policy = CONF_PATH,
		.max_depth = 16,
		.max_peers = 16384,
		.max_peers_uid = 4096,
		.scm_usec = 2000000,
		.ready_fd = -1,
		.perf_keeper = "/run/cgmd-keeper/socket",
		.perf_events_max = 64,
		.perf_rate = 2000,
		.perf_listeners_max = 64,
		.lxc_socket = "/run/cgmd/lxc.sock",
		.oci_socket = "/run/cgmd/oci.sock",
		.limits = transport_limits_default,
	};

	for (size_t i = 0; i < N_ROWS; i++) {
		longs[i].name = rows[i].name;
		longs[i].has_arg = rows[i].argument ? required_argument : no_argument;
		if (rows[i].letter)
			*end++ = rows[i].letter;
		if (rows[i].letter && rows[i].argument)
			*end++ = ':';
	}
	*end = '\0';
	for (;;) {
		int index = -1, value = getopt_long(argc, argv, shorts, longs, &index);
		const struct row *row = value == -1 ? NULL : row_find(value, index);
		enum options_result result;

		if (value == -1)
			break;
		/* getopt_long has said what is wrong. */
		if (!row)
			return OPTIONS_WRONG;
		result = row_apply(row, optarg, &o);
		if (result != OPTIONS_RUN)
			return result;
	}
	if (optind < argc) {
		fprintf(stderr, "cgmd: %s: it takes options alone; see cgmd --help\n",
			argv[optind]);
		return OPTIONS_WRONG;
	}
	*ret = o;
	return OPTIONS_RUN;
}
