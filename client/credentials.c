/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>

#include "credentials.h"
#include "own.h"
#include "text.h"

#ifndef CAP_PERFMON
#	define CAP_PERFMON 38
#endif

#define STATUS_MAX 8192
/* So few are missing that it is shorter to say which. */
#define MISSING_FEW 8

const char *const cap_set_names[CAP_SET_MAX] = {
	[CAP_SET_INHERITABLE] = "inheritable",
	[CAP_SET_PERMITTED] = "permitted",
	[CAP_SET_EFFECTIVE] = "effective",
	[CAP_SET_BOUNDING] = "bounding",
	[CAP_SET_AMBIENT] = "ambient",
};

static const char *const cap_set_fields[CAP_SET_MAX] = {
	[CAP_SET_INHERITABLE] = "CapInh",
	[CAP_SET_PERMITTED] = "CapPrm",
	[CAP_SET_EFFECTIVE] = "CapEff",
	[CAP_SET_BOUNDING] = "CapBnd",
	[CAP_SET_AMBIENT] = "CapAmb",
};

/* What stands behind "NAME:\t", or NULL. */
static const char *field_find(const char *status, const char *name)
{
	size_t len = strlen(name);

	for (const char *line = status; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, len) == 0 && line[len] == ':' && line[len + 1] == '\t')
			return line + len + 2;
	}
	return NULL;
}

static bool field_number(const char *status, const char *name, unsigned base, uint64_t *ret)
{
	const char *text = field_find(status, name);
	char *end;

	if (!text || !isxdigit((unsigned char)*text))
		return false;
	errno = 0;
	*ret = strtoull(text, &end, (int)base);
	return errno == 0 && (*end == '\n' || *end == '\0');
}

static bool field_ids(const char *status, const char *name, uid_t ids[4])
{
	const char *text = field_find(status, name);

	return text && sscanf(text, "%u\t%u\t%u\t%u", &ids[0], &ids[1], &ids[2], &ids[3]) == 4;
}

int credentials_parse(const char *status, struct credentials *ret)
{
	const char *name = field_find(status, "Name");
	struct credentials c = {.chain = ret->chain};
	uint64_t n;

	if (!name || !field_number(status, "Pid", 10, &n))
		return -EBADMSG;
	snprintf(c.name, sizeof(c.name), "%.*s", (int)strcspn(name, "\n"), name);
	/* any bytes may be a process' name */
	for (char *p = c.name; !word_is_utf8(c.name) && *p; p++)
		if (*p & 0x80)
			*p = '?';
	c.pid = (pid_t)n;
	if (!field_number(status, "PPid", 10, &n))
		return -EBADMSG;
	c.parent = (pid_t)n;
	if (!field_ids(status, "Uid", c.uid) || !field_ids(status, "Gid", c.gid))
		return -EBADMSG;
	for (unsigned i = 0; i < CAP_SET_MAX; i++)
		if (!field_number(status, cap_set_fields[i], 16, &c.sets[i]))
			return -EBADMSG;
	c.no_new_privs = field_number(status, "NoNewPrivs", 10, &n) && n;
	c.seccomp = field_number(status, "Seccomp", 10, &n) ? (unsigned)n : 0;
	c.filters = field_number(status, "Seccomp_filters", 10, &n) ? (int)n : -1;
	*ret = c;
	return 0;
}

int credentials_get(pid_t pid, struct credentials *ret)
{
	struct credentials c = {0};
	char proc[32] = "/proc/self", path[48], status[STATUS_MAX];
	OWN(own_fd) int fd = -EBADF;
	ssize_t n;
	int r;

	if (pid)
		snprintf(proc, sizeof(proc), "/proc/%d", pid);
	snprintf(path, sizeof(path), "%s/status", proc);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, status, sizeof(status) - 1);
	if (n < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	status[n] = '\0';
	r = credentials_parse(status, &c);
	if (r < 0)
		return r;
	/* one that may not be seen has none */
	userns_chain_get(proc, &c.chain);
	*ret = c;
	return 0;
}

static bool set_has(uint64_t set, int cap)
{
	return set >> cap & 1;
}

bool credentials_have_perf(const struct credentials *c)
{
	return set_has(c->sets[CAP_SET_EFFECTIVE], CAP_PERFMON) ||
	       set_has(c->sets[CAP_SET_EFFECTIVE], CAP_SYS_ADMIN);
}

bool credentials_count_for_perf(const struct credentials *c)
{
	return credentials_have_perf(c) && c->chain.n > 0 && userns_is_initial(&c->chain.ns[0]);
}

static void print_caps(FILE *out, uint64_t set)
{
	const char *gap = "";

	for (int i = 0; i < 64; i++) {
		char *name = set_has(set, i) ? cap_to_name(i) : NULL;

		if (name)
			fprintf(out, "%s%s", gap, name);
		gap = name ? " " : gap;
		cap_free(name);
	}
}

char *cap_set_text(uint64_t set)
{
	uint64_t all = (UINT64_C(1) << cap_max_bits()) - 1, missing = all & ~set;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	if (set == 0)
		fputs("none", out);
	else if (missing == 0)
		fputs("all", out);
	else if (__builtin_popcountll(missing) <= MISSING_FEW)
		fputs("all but ", out);
	if (missing && set && __builtin_popcountll(missing) <= MISSING_FEW)
		print_caps(out, missing);
	else if (missing)
		print_caps(out, set);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

json_t *cap_set_json(uint64_t set)
{
	json_t *array = json_array();

	for (int i = 0; array && i < 64; i++) {
		char *name = set_has(set, i) ? cap_to_name(i) : NULL;

		if (name)
			json_array_append_new(array, json_string(name));
		cap_free(name);
	}
	return array;
}
