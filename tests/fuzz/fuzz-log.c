/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a client may have written into the log: a method and a cgroup, which must stay in their
 * fields, and in one line. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../daemon/cleanup.h"
#include "../../daemon/log.h"
#include "clock.h"
#include "fuzz.h"

#define LINE_SIZE 1024

/* What goes to standard error meanwhile, which is the fuzzer's own too. */
static size_t capture(const struct log_denial *d, char *buf, size_t size)
{
	_cleanup_close_ int saved = dup(STDERR_FILENO);
	int fds[2];
	ssize_t n;

	CHECK(saved >= 0 && pipe(fds) == 0);
	CHECK(dup2(fds[1], STDERR_FILENO) >= 0);
	log_denial(d);
	CHECK(dup2(saved, STDERR_FILENO) >= 0);
	close(fds[1]);
	n = read(fds[0], buf, size);
	close(fds[0]);
	CHECK(n > 0);
	return (size_t)n;
}

/* " NAME=\"...\"", where no quote is inside; gives what follows. */
static const char *field(const char *at, const char *name)
{
	size_t len = strlen(name);
	const char *end;

	CHECK(at[0] == ' ' && strncmp(at + 1, name, len) == 0);
	at += 1 + len;
	CHECK(strncmp(at, "=\"", 2) == 0);
	end = strchr(at + 2, '"');
	CHECK(end);
	return end + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char ids[] = " REQUESTOR_PID=7 REQUESTOR_UID=8";
	struct input in = {data, size};
	_cleanup_free_ char *method = input_text(&in);
	_cleanup_free_ char *cgroup = input_text(&in);
	struct log_denial d = {
		.method = method, .cgroup = cgroup, .reason = "QUOTA", .pid = 7, .uid = 8};
	char line[2 * LINE_SIZE];
	const char *at;
	size_t n;

	/* a new second, so that it is written */
	clock_skip(1000000);
	n = capture(&d, line, sizeof(line) - 1);
	CHECK(n <= LINE_SIZE && line[n - 1] == '\n');
	line[n - 1] = '\0';
	CHECK(strlen(line) == n - 1);
	for (at = line; *at; at++)
		CHECK(*at >= 0x20 && *at < 0x7f);
	at = strstr(line, "denied");
	CHECK(at);
	at = field(at + strlen("denied"), "METHOD");
	CHECK(strncmp(at, ids, sizeof(ids) - 1) == 0);
	at = field(at + sizeof(ids) - 1, "REASON");
	CHECK(*field(at, "CGROUP") == '\0');
	return 0;
}
