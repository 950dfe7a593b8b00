/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CLIENT plain|scm [OPTION]: runs all cases at CGM_CONFORMANCE_ADDRESS, plain or as twins over each
 * type of socket, as TAP. CGM_CONFORMANCE_TOP is the directory of the memory cgroup that we run in;
 * CGM_CONFORMANCE_PROXY is set if the address is a proxy's.
 */
#include <err.h>
#include <limits.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "cases.h"
#include "client.h"
#include "twin.h"

#define OBJECT "/org/linuxcontainers/cgmanager"
#define INTERFACE "org.linuxcontainers.cgmanager0_0"
#define NO_TASK 3999999
#define OVERFLOW_ID 65534
#define WAIT_SECONDS 30

struct run {
	struct connection *c;
	const char *mode, *top;
	int type; /* of the twins' sockets, or 0 */
	bool proxy, v2;
	pid_t low, high;
	unsigned n, failed;
};

void answer_done(struct answer *a)
{
	free(a->error);
	free(a->message);
	free(a->signature);
	bytes_done(&a->body);
	*a = (struct answer){};
}

static long long number_of(const struct run *run, const char *text)
{
	if (strcmp(text, "$low") == 0)
		return run->low;
	if (strcmp(text, "$high") == 0)
		return run->high;
	return strcmp(text, "$none") == 0 ? NO_TASK : strtoll(text, NULL, 10);
}

/* Texts of the table with their variables replaced, NULL-terminated. */
struct resolved {
	const char *items[9];
	char numbers[8][16];
};

static void resolve(const struct run *run, const char *const *texts, struct resolved *ret)
{
	size_t n = 0;

	for (; n < 8 && texts[n]; n++) {
		ret->items[n] = texts[n];
		if (texts[n][0] != '$')
			continue;
		snprintf(
			ret->numbers[n], sizeof(ret->numbers[n]), "%lld", number_of(run, texts[n]));
		ret->items[n] = ret->numbers[n];
	}
	ret->items[n] = NULL;
}

static void make_call(const struct test_case *k, const struct resolved *args, struct call *ret)
{
	const char *type = k->in;

	*ret = (struct call){.path = k->path ?: OBJECT,
		.interface = k->flags & CASE_NO_INTERFACE ? NULL : k->interface ?: INTERFACE,
		.member = k->member,
		.signature = k->in,
		.no_reply = k->expect == EXPECT_NOTHING};
	for (; *type; type += type_length(type)) {
		const char *text = args->items[ret->n_values];

		ret->values[ret->n_values++] = (struct value){.type = *type,
			.text = text,
			.number = strchr("ix", *type) ? strtoll(text, NULL, 10) : 0};
	}
}

static const char *show(const struct answer *a)
{
	static char text[2048];
	struct texts texts = {};
	size_t at;

	if (a->error) {
		snprintf(text, sizeof(text), "%s: %s", a->error, a->message);
		return text;
	}
	if (!a->signature)
		return "nothing";
	at = snprintf(text, sizeof(text), "'%s', %zu bytes:", a->signature, a->body.size);
	if (texts_from(a->signature, &a->body, &texts) < 0)
		return "malformed";
	for (size_t i = 0; i < texts.n && at < sizeof(text); i++)
		at += snprintf(text + at, sizeof(text) - at, " %.200s", texts.items[i]);
	texts_done(&texts);
	return text;
}

static bool equal_exact(const struct answer *a, const char *signature, const char *const *value)
{
	__attribute__((cleanup(bytes_done))) struct bytes wanted = {};

	if (*signature)
		bytes_from_texts(&wanted, signature, &value);
	return wanted.size == a->body.size &&
	       (!wanted.size || memcmp(wanted.data, a->body.data, wanted.size) == 0);
}

static bool equal_set(const struct answer *a, const char *const *value)
{
	__attribute__((cleanup(texts_done))) struct texts got = {}, wanted = {};
	bool same;

	for (; *value; value++)
		texts_add(&wanted, strdup(*value));
	if (texts_from(a->signature, &a->body, &got) < 0)
		return false;
	texts_sort(&got);
	texts_sort(&wanted);
	same = got.n == wanted.n;
	for (size_t i = 0; same && i < got.n; i++)
		same = strcmp(got.items[i], wanted.items[i]) == 0;
	return same;
}

static bool includes(const struct answer *a, const char *const *value)
{
	__attribute__((cleanup(texts_done))) struct texts got = {};
	bool found = true;

	if (texts_from(a->signature, &a->body, &got) < 0)
		return false;
	for (; found && *value; value++) {
		found = false;
		for (size_t i = 0; !found && i < got.n; i++)
			found = *a->signature == 'a' ? strcmp(got.items[i], *value) == 0
						     : strstr(got.items[i], *value) != NULL;
	}
	return found;
}

static unsigned shown_id(unsigned id)
{
	return id == OVERFLOW_ID ? (unsigned)-1 : id;
}

/* Each file of the cgroup, with its ids as our user namespace has them and its whole mode. */
static bool equal_keys(const struct run *run, const struct answer *a, const char *cgroup)
{
	__attribute__((cleanup(texts_done))) struct texts got = {}, wanted = {};
	char path[PATH_MAX];
	struct dirent *entry;
	struct stat st;
	bool same;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", run->top, cgroup);
	d = opendir(path);
	if (!d || texts_from(a->signature, &a->body, &got) < 0)
		return false;
	while ((entry = readdir(d))) {
		char *text;

		if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			!S_ISREG(st.st_mode))
			continue;
		if (asprintf(&text, "%s %u %u %u", entry->d_name, shown_id(st.st_uid),
			    shown_id(st.st_gid), st.st_mode) < 0)
			err(1, "asprintf");
		texts_add(&wanted, text);
	}
	closedir(d);
	texts_sort(&got);
	texts_sort(&wanted);
	same = got.n == wanted.n;
	for (size_t i = 0; i < got.n && i < wanted.n; i++)
		if (strcmp(got.items[i], wanted.items[i]) != 0) {
			printf("# got key '%s', not '%s'\n", got.items[i], wanted.items[i]);
			same = false;
		}
	return same;
}

static bool as_expected(const struct run *run, const struct test_case *k, const struct answer *a)
{
	struct resolved value;

	resolve(run, k->value, &value);
	switch (k->expect) {
	case EXPECT_NOTHING:
		return !a->error && !a->signature;
	case EXPECT_REFUSED:
		return a->error && strcmp(a->error, INVALID_ARGS) == 0 && *a->message;
	case EXPECT_ERROR:
		return a->error && strcmp(a->error, k->value[0]) == 0 && *a->message;
	default:
		break;
	}
	if (!a->signature || strcmp(a->signature, k->out) != 0)
		return false;
	if (k->expect == EXPECT_EXACT)
		return equal_exact(a, k->out, value.items);
	if (k->expect == EXPECT_SET)
		return equal_set(a, value.items);
	if (k->expect == EXPECT_INCLUDES)
		return includes(a, value.items);
	return equal_keys(run, a, k->value[0]);
}

/* What the case says of a file afterwards. */
static bool left_so(const struct run *run, const char *after)
{
	char path[PATH_MAX], name[256], *base;
	unsigned uid, gid, mode;
	struct stat st;

	if (!after)
		return true;
	if (sscanf(after, "%240s %u %u %o", name, &uid, &gid, &mode) != 4)
		return false;
	base = strrchr(name, '/');
	if (run->v2 && base && strcmp(base, "/tasks") == 0)
		strcpy(base, "/cgroup.threads");
	snprintf(path, sizeof(path), "%s/%s", run->top, name);
	if (stat(path, &st) < 0) {
		printf("# there is no %s\n", name);
		return false;
	}
	if (st.st_uid == uid && st.st_gid == gid && (st.st_mode & 07777) == mode)
		return true;
	printf("# %s is %u %u %o\n", name, st.st_uid, st.st_gid, st.st_mode & 07777);
	return false;
}

static bool goes(const struct run *run, const char *gone)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	time_t deadline = time(NULL) + WAIT_SECONDS;
	char path[PATH_MAX];

	if (!gone)
		return true;
	snprintf(path, sizeof(path), "%s/%s", run->top, gone);
	while (access(path, F_OK) == 0) {
		if (time(NULL) > deadline) {
			printf("# %s is still there\n", gone);
			return false;
		}
		nanosleep(&pause, NULL);
	}
	return true;
}

static void report(struct run *run, const struct test_case *k, const struct resolved *args, bool ok,
	const struct answer *a)
{
	run->n++;
	run->failed += !ok;
	if (!ok)
		printf("# got %s\n", show(a));
	printf("%s %u - %s %s", ok ? "ok" : "not ok", run->n, run->mode, k->member);
	for (size_t i = 0; args->items[i]; i++)
		printf(" '%s'", strpbrk(args->items[i], "\n#") ? "..." : args->items[i]);
	printf("\n");
	fflush(stdout);
}

static void run_case(struct run *run, const struct test_case *k)
{
	bool own = !k->interface && !k->path && !(k->flags & (CASE_PLAIN | CASE_AS_IS));
	const struct twin *twin = run->type ? twin_find(k->member) : NULL;
	__attribute__((cleanup(answer_done))) struct answer a = {};
	struct resolved args;
	struct call call;
	char member[64];
	int r;

	if (run->proxy && k->flags & CASE_DIRECT)
		return;
	if (k->flags & (run->v2 ? CASE_V1 : CASE_V2))
		return;
	resolve(run, k->args, &args);
	make_call(k, &args, &call);
	if (twin && own) {
		r = twin_call(run->c, &call, twin, run->type, &a);
	} else {
		/* A twin is told of a wrong signature as the method is. */
		snprintf(member, sizeof(member), "%s%s", k->member,
			twin && k->flags & CASE_AS_IS ? "Scm" : "");
		call.member = member;
		r = connection_call(run->c, &call, &a);
	}
	report(run, k, &args,
		r == 0 && as_expected(run, k, &a) && left_so(run, k->after) && goes(run, k->gone),
		&a);
}

/* A task that waits, and ends with us. */
static pid_t start_task(void)
{
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

static void run_all(struct run *run, const char *mode, int type)
{
	pid_t one = start_task(), two = start_task();

	run->mode = mode;
	run->type = type;
	run->low = one < two ? one : two;
	run->high = one < two ? two : one;
	for (size_t i = 0; i < n_cases; i++)
		run_case(run, &cases[i]);
	kill(one, SIGKILL);
	kill(two, SIGKILL);
	waitpid(one, NULL, 0);
	waitpid(two, NULL, 0);
}

int main(int argc, char **argv)
{
	const char *address = getenv("CGM_CONFORMANCE_ADDRESS"),
		   *option = argc > 2 ? argv[2] : NULL;
	struct run run = {.top = getenv("CGM_CONFORMANCE_TOP"),
		.proxy = getenv("CGM_CONFORMANCE_PROXY") != NULL,
		.v2 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0};

	if (argc < 2 || !address || !run.top)
		errx(2, "see the head of driver.c for how to run this");
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	run.c = connection_open(address, option);
	if (!run.c)
		return 1;
	if (strcmp(argv[1], "plain") == 0) {
		run_all(&run, "plain", 0);
	} else {
		run_all(&run, "dgram", SOCK_DGRAM);
		run_all(&run, "stream", SOCK_STREAM);
		run_all(&run, "seqpacket", SOCK_SEQPACKET);
	}
	printf("1..%u\n", run.n);
	connection_close(run.c);
	return run.failed ? 1 : 0;
}
