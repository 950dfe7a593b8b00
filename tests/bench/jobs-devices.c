/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The native calls that say which devices a cgroup may use. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jobs.h"
#include "measure.h"

#define CHILD "governed"
/* From this on none is among the usual. */
#define MINOR 300

const char *const rules_usual[] = {
	"allow c *:* m",
	"allow b *:* m",
	"allow c 1:3 rwm",
	"allow c 1:5 rwm",
	"allow c 1:7 rwm",
	"allow c 1:8 rwm",
	"allow c 1:9 rwm",
	"allow c 5:0 rwm",
	"allow c 5:1 rwm",
	"allow c 5:2 rwm",
	"allow c 136:* rwm",
	"allow c 10:200 rwm",
	"allow c 10:232 rw",
	"allow c 226:128 rw",
	"allow c 116:* rw",
	NULL,
};

static const char *const few[] = {"allow c 1:3 rwm", "allow c 1:5 rwm", NULL};

/* Appends what `types` says, and `list` unless that is NULL. */
static int native_call(
	sd_bus *bus, const char *member, const char *const *list, const char *types, ...)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *m = NULL, *reply = NULL;
	va_list args;
	int r = sd_bus_message_new_method_call(
		bus, &m, NULL, "/org/cgmd1", "org.cgmd1.Manager", member);

	va_start(args, types);
	if (r >= 0)
		r = sd_bus_message_appendv(m, types, args);
	va_end(args);
	if (r >= 0 && list)
		r = sd_bus_message_append_strv(m, (char **)list);
	if (r >= 0)
		r = sd_bus_call(bus, m, 0, &error, &reply);
	if (r < 0)
		fprintf(stderr, "bench: %s: %s\n", member, error.message ? error.message : "");
	sd_bus_error_free(&error);
	sd_bus_message_unref(reply);
	sd_bus_message_unref(m);
	return r < 0 ? r : 0;
}

int rules_give(sd_bus *bus, const char *cgroup, const char *const *rules)
{
	return native_call(bus, "SetDevices", rules, "s", cgroup);
}

static void child_make(int dir)
{
	if (dir >= 0 && mkdirat(dir, CHILD, 0755) < 0 && errno != EEXIST)
		need(-errno, CHILD);
}

static void child_with(struct bench_client *c, const char *const *rules)
{
	child_make(c->v2_dir);
	child_make(c->v1_dir);
	need(rules_give(c->bus, CHILD, rules), "SetDevices");
}

void governed_before(struct bench_client *c, unsigned n)
{
	child_with(c, rules_usual);
}

void governed_few_before(struct bench_client *c, unsigned n)
{
	child_with(c, few);
}

void governed_after(struct bench_client *c, unsigned n)
{
	if (c->v2_dir >= 0)
		need_errno(unlinkat(c->v2_dir, CHILD, AT_REMOVEDIR), CHILD);
	if (c->v1_dir >= 0)
		need_errno(unlinkat(c->v1_dir, CHILD, AT_REMOVEDIR), CHILD);
}

void rules_set(struct bench_client *c, unsigned i)
{
	need(rules_give(c->bus, CHILD, i % 2 ? rules_usual : few), "SetDevices");
}

static void change(struct bench_client *c, const char *member, unsigned minor)
{
	char device[32];

	snprintf(device, sizeof(device), "c 10:%u", minor);
	need(native_call(c->bus, member, NULL, "sss", CHILD, device, "rw"), member);
}

/* Each takes away the other's effect, so that there is something to do. */
void rule_change(struct bench_client *c, unsigned i)
{
	change(c, i % 2 ? "DenyDevices" : "AllowDevices", MINOR);
}

/* Another one each time, for the same reason. */
void rule_allow(struct bench_client *c, unsigned i)
{
	change(c, "AllowDevices", MINOR + i);
}

void rule_deny(struct bench_client *c, unsigned i)
{
	change(c, "DenyDevices", MINOR + i);
}

void rule_ask(struct bench_client *c, unsigned i)
{
	need(native_call(c->bus, "CheckDevice", NULL, "sss", CHILD, "c 1:3", "rw"), "CheckDevice");
}

void rules_list(struct bench_client *c, unsigned i)
{
	need(native_call(c->bus, "ListDevices", NULL, "s", CHILD), "ListDevices");
}
