/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bus driver, asked by a real client library over a socketpair: once as on a bus, which says
 * Hello by itself, once as a peer that says none. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "../../dbus/driver.h"
#include "../../dbus/errors.h"

#define NAME DRIVER_SERVICE_NAME
#define UNIQUE "\001" /* in a row: the client's own unique name */

struct bed {
	sd_bus *server, *client;
	uint64_t unique;
	struct dispatch_ids daemon, of_client;
	enum reason reason; /* with which calls are answered */
	char own[64];
};

static void on_call(void *userdata, sd_bus_message *m, struct request *request)
{
	struct reply reply = {.reason = ((struct bed *)userdata)->reason};

	assert_true(dispatch_reply(m, request, &reply) >= 0);
}

static void on_refused(void *userdata, sd_bus_message *m, enum reason reason)
{
	(void)userdata;
	(void)m;
	(void)reason;
}

static bool on_may_know_host(void *userdata)
{
	(void)userdata;
	return false;
}

static uint64_t *on_unique(void *userdata)
{
	return &((struct bed *)userdata)->unique;
}

static void on_ids(void *userdata, bool of_client, struct dispatch_ids *ret)
{
	struct bed *bed = userdata;

	*ret = of_client ? bed->of_client : bed->daemon;
}

static void on_property(void *userdata, enum property_id id, struct reply *ret)
{
	(void)userdata;
	if (id == PROPERTY_Scope)
		ret->reason = REASON_REQUESTOR_GONE;
	else
		ret->number = 10;
}

static const struct dispatch_ops ops = {
	.call = on_call,
	.refused = on_refused,
	.may_know_host = on_may_know_host,
	.unique = on_unique,
	.ids = on_ids,
	.property = on_property,
};

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	(void)error;
	/* Its own, of the connection's end. */
	if (sd_bus_is_open(((struct bed *)userdata)->server) <= 0)
		return 1;
	assert_int_equal(dispatch_message(m, &ops, userdata), 1);
	return 1;
}

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	(void)error;
	*(sd_bus_message **)userdata = sd_bus_message_ref(m);
	return 1;
}

static void turn(struct bed *bed)
{
	assert_true(sd_bus_process(bed->client, NULL) >= 0);
	assert_true(sd_bus_process(bed->server, NULL) >= 0);
}

static void bed_open(struct bed *bed, bool hello)
{
	const char *name;
	sd_id128_t id;
	int pair[2];

	*bed = (struct bed){};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_true(sd_id128_randomize(&id) >= 0);
	assert_true(sd_bus_new(&bed->server) >= 0);
	assert_true(sd_bus_set_fd(bed->server, pair[0], pair[0]) >= 0);
	assert_true(sd_bus_set_server(bed->server, 1, id) >= 0);
	assert_true(sd_bus_set_anonymous(bed->server, 1) >= 0);
	assert_true(sd_bus_add_filter(bed->server, NULL, on_message, bed) >= 0);
	assert_true(sd_bus_start(bed->server) >= 0);
	assert_true(sd_bus_new(&bed->client) >= 0);
	assert_true(sd_bus_set_fd(bed->client, pair[1], pair[1]) >= 0);
	assert_true(sd_bus_set_bus_client(bed->client, hello) >= 0);
	assert_true(sd_bus_start(bed->client) >= 0);
	while (sd_bus_is_ready(bed->client) == 0)
		turn(bed);
	if (!hello)
		return;
	assert_true(sd_bus_get_unique_name(bed->client, &name) >= 0);
	snprintf(bed->own, sizeof(bed->own), "%s", name);
}

static void bed_close(struct bed *bed)
{
	sd_bus_close(bed->client);
	sd_bus_unref(bed->client);
	sd_bus_close(bed->server);
	sd_bus_unref(bed->server);
}

struct row {
	const char *destination, *path, *interface, *member;
	const char *arg;    /* the first one, a name; NULL: there is none */
	const char *more;   /* "u": a number follows */
	const char *answer; /* "@" and an error's name, or a signature */
	const char *text;   /* a part of the error's, or the first string; NULL: any */
};

/* The caller unrefs. */
static sd_bus_message *ask(struct bed *bed, const struct row *row)
{
	sd_bus_message *m = NULL, *reply = NULL;
	const char *arg = row->arg;

	if (arg && strcmp(arg, UNIQUE) == 0)
		arg = bed->own;
	assert_true(sd_bus_message_new_method_call(bed->client, &m, row->destination, row->path,
			    row->interface, row->member) >= 0);
	if (arg)
		assert_true(sd_bus_message_append(m, "s", arg) >= 0);
	if (row->more)
		assert_true(sd_bus_message_append(m, row->more, 0) >= 0);
	assert_true(sd_bus_call_async(bed->client, NULL, m, on_reply, &reply, 0) >= 0);
	sd_bus_message_unref(m);
	while (!reply)
		turn(bed);
	return reply;
}

static void row_check(struct bed *bed, const struct row *row)
{
	sd_bus_message *reply = ask(bed, row);
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	const char *text = error ? error->message : NULL, *wanted = row->text;

	if (wanted && strcmp(wanted, UNIQUE) == 0)
		wanted = bed->own;
	if (row->answer[0] == '@') {
		assert_non_null(error);
		assert_string_equal(error->name, row->answer + 1);
	} else {
		assert_null(error);
		assert_string_equal(sd_bus_message_get_signature(reply, 1), row->answer);
		if (row->answer[0] == 's')
			assert_true(sd_bus_message_read(reply, "s", &text) >= 0);
	}
	if (wanted)
		assert_non_null(strstr(text, wanted));
	if (row->destination)
		assert_string_equal(sd_bus_message_get_sender(reply),
			strcmp(row->destination, DRIVER_NAME) == 0 ? DRIVER_NAME : ":1.0");
	else
		assert_null(sd_bus_message_get_sender(reply));
	sd_bus_message_unref(reply);
}

#define D DRIVER_NAME, DRIVER_PATH, DRIVER_INTERFACE
#define S NAME, CGM_PATH, CGM_INTERFACE
#define N NATIVE_SERVICE, NATIVE_PATH, NATIVE_INTERFACE
#define NP NATIVE_SERVICE, NATIVE_PATH, "org.freedesktop.DBus.Properties"
#define PROPERTIES DRIVER_NAME, DRIVER_PATH, "org.freedesktop.DBus.Properties"
#define INTROSPECTABLE "org.freedesktop.DBus.Introspectable"
#define E(name) "@org.freedesktop.DBus.Error." name

static void test_on_a_bus(void **state)
{
	static const struct row rows[] = {
		{D, "Hello", NULL, NULL, E("Failed"), "already"},
		{D, "RequestName", "a.b", "u", E("NotSupported"), "one service here"},
		{D, "ReleaseName", "a.b", NULL, "u", NULL},
		{D, "ReleaseName", NAME, NULL, "u", NULL},
		{D, "ReleaseName", UNIQUE, NULL, E("InvalidArgs"), "cannot be released"},
		{D, "ReleaseName", DRIVER_NAME, NULL, E("InvalidArgs"), NULL},
		{D, "StartServiceByName", NAME, "u", "u", NULL},
		{D, "StartServiceByName", "a.b", "u", E("ServiceUnknown"), "'a.b'"},
		{D, "ListNames", NULL, NULL, "as", NULL},
		{D, "ListActivatableNames", NULL, NULL, "as", NULL},
		{D, "NameHasOwner", "a.b", NULL, "b", NULL},
		{D, "GetNameOwner", NAME, NULL, "s", ":1.0"},
		{D, "GetNameOwner", ":1.0", NULL, "s", ":1.0"},
		{D, "GetNameOwner", DRIVER_NAME, NULL, "s", DRIVER_NAME},
		{D, "GetNameOwner", UNIQUE, NULL, "s", UNIQUE},
		{D, "GetNameOwner", ":1.1", NULL, E("NameHasNoOwner"), "':1.1'"},
		{D, "GetNameOwner", "", NULL, E("NameHasNoOwner"), "this name"},
		{D, "GetNameOwner", "\xe2\x82\xac", NULL, E("NameHasNoOwner"), "this name"},
		{D, "ListQueuedOwners", NAME, NULL, "as", NULL},
		{D, "ListQueuedOwners", "a.b", NULL, E("NameHasNoOwner"), NULL},
		{D, "AddMatch", "type='signal'", NULL, "", NULL},
		{D, "RemoveMatch", "type='signal'", NULL, "", NULL},
		{D, "GetConnectionSELinuxSecurityContext", NAME, NULL,
			E("SELinuxSecurityContextUnknown"), "none is told"},
		{D, "GetId", NULL, NULL, "s", NULL},
		{D, "Nosuch", NULL, NULL, E("UnknownMethod"), DRIVER_PATH},
		{D, "GetNameOwner", NULL, NULL, E("InvalidArgs"), "'s'"},
		/* No interface, or the path alone, tells too; and any path, by the destination. */
		{DRIVER_NAME, DRIVER_PATH, NULL, "GetId", NULL, NULL, "s", NULL},
		{NULL, DRIVER_PATH, NULL, "GetId", NULL, NULL, "s", NULL},
		{DRIVER_NAME, "/", DRIVER_INTERFACE, "GetId", NULL, NULL, "s", NULL},
		{DRIVER_NAME, DRIVER_PATH, "org.freedesktop.DBus.Monitoring", "BecomeMonitor", NULL,
			NULL, E("InvalidArgs"), NULL},
		{PROPERTIES, "GetAll", DRIVER_INTERFACE, NULL, "a{sv}", NULL},
		{PROPERTIES, "GetAll", "a.b", NULL, "a{sv}", NULL},
		{DRIVER_NAME, DRIVER_PATH, "org.freedesktop.DBus.Peer", "Ping", NULL, NULL, "",
			NULL},
		{DRIVER_NAME, "/", INTROSPECTABLE, "Introspect", NULL, NULL, "s",
			"<node name=\"org\"/>"},
		{DRIVER_NAME, "/org", INTROSPECTABLE, "Introspect", NULL, NULL, "s",
			"<node name=\"freedesktop\"/>"},
		{DRIVER_NAME, DRIVER_PATH, INTROSPECTABLE, "Introspect", NULL, NULL, "s",
			"type=\"a{sv}\" direction=\"out\""},
		{DRIVER_NAME, CGM_PATH, INTROSPECTABLE, "Introspect", NULL, NULL,
			E("UnknownMethod"), NULL},
		/* The service, by each of its names and by none. */
		{S, "Ping", NULL, "i", "", NULL},
		{":1.0", CGM_PATH, CGM_INTERFACE, "Ping", NULL, "i", "", NULL},
		{NULL, CGM_PATH, CGM_INTERFACE, "Ping", NULL, "i", "", NULL},
		{NAME, "/org", INTROSPECTABLE, "Introspect", NULL, NULL, "s",
			"<node name=\"linuxcontainers\"/>"},
		{NAME, CGM_PATH, DRIVER_INTERFACE, "GetId", NULL, NULL, E("UnknownMethod"), NULL},
		/* Its other object, by any of its names. */
		{D, "GetNameOwner", NATIVE_SERVICE, NULL, "s", ":1.0"},
		{D, "NameHasOwner", NATIVE_SERVICE, NULL, "b", NULL},
		{N, "ListDevices", "", NULL, "a(sss)", NULL},
		{NAME, NATIVE_PATH, NATIVE_INTERFACE, "ListGpus", NULL, NULL, "a(sssssas)", NULL},
		{":1.0", NATIVE_PATH, NULL, "ResolveDevice", "fuse", NULL, "a(suus)", NULL},
		{N, "ListDevices", NULL, NULL, E("InvalidArgs"), "'s'"},
		{N, "Ping", NULL, "i", E("UnknownMethod"), NATIVE_PATH},
		{NATIVE_SERVICE, NATIVE_PATH, CGM_INTERFACE, "Ping", NULL, "i", E("UnknownMethod"),
			NULL},
		{NATIVE_SERVICE, CGM_PATH, CGM_INTERFACE, "Ping", NULL, "i", "", NULL},
		{NATIVE_SERVICE, CGM_PATH, NATIVE_INTERFACE, "ListGpus", NULL, NULL,
			E("UnknownMethod"), NULL},
		{NATIVE_SERVICE, "/org", INTROSPECTABLE, "Introspect", NULL, NULL, "s",
			"<node name=\"cgmd1\"/>"},
		{NP, "GetAll", NATIVE_INTERFACE, NULL, "@" ERROR_PREFIX "AccessDenied", "Scope"},
		{NP, "GetAll", CGM_INTERFACE, NULL, "a{sv}", NULL},
		/* Nothing is passed on. */
		{"a.b", CGM_PATH, CGM_INTERFACE, "Ping", NULL, "i", E("ServiceUnknown"), NAME},
		{":1.1", CGM_PATH, CGM_INTERFACE, "Ping", NULL, "i", E("ServiceUnknown"), NAME},
	};
	struct bed bed;

	(void)state;
	bed_open(&bed, true);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		row_check(&bed, &rows[i]);
	bed_close(&bed);
}

/* Who never said Hello has no name, and may write to whatever destination it likes, as before. */
static void test_as_a_peer(void **state)
{
	static const struct row rows[] = {
		{NULL, CGM_PATH, CGM_INTERFACE, "Ping", NULL, "i", "", NULL},
		{NULL, CGM_PATH, NULL, "Ping", NULL, "i", "", NULL},
		{"a.b", CGM_PATH, CGM_INTERFACE, "Ping", NULL, "i", "", NULL},
		{NULL, "/org", INTROSPECTABLE, "Introspect", NULL, NULL, "s",
			"<node name=\"linuxcontainers\"/>"},
		{D, "NameHasOwner", "", NULL, "b", NULL},
		{D, "GetNameOwner", "", NULL, E("NameHasNoOwner"), NULL},
		{D, "ListNames", NULL, NULL, "as", NULL},
	};
	struct bed bed;

	(void)state;
	bed_open(&bed, false);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		row_check(&bed, &rows[i]);
	assert_int_equal(bed.unique, 0);
	bed_close(&bed);
}

static void numbers_check(struct bed *bed, const char *member, const char *name, bool known,
	uint32_t number, const char *error)
{
	struct row row = {D, member, name, NULL, "u", NULL};
	sd_bus_message *reply = ask(bed, &row);
	uint32_t got;

	if (known) {
		assert_true(sd_bus_message_read(reply, "u", &got) > 0);
		assert_int_equal(got, number);
	} else {
		assert_true(sd_bus_message_is_method_error(reply, error));
	}
	sd_bus_message_unref(reply);
}

/* In GetConnectionCredentials: "" or what is there. */
static void credentials_check(struct bed *bed, const char *name, const struct dispatch_ids *ids)
{
	struct row row = {D, "GetConnectionCredentials", name, NULL, "a{sv}", NULL};
	sd_bus_message *reply = ask(bed, &row);
	unsigned have = 0;
	const char *key;
	uint32_t got;

	assert_true(sd_bus_message_enter_container(reply, 'a', "{sv}") >= 0);
	while (sd_bus_message_enter_container(reply, 'e', "sv") > 0) {
		assert_true(sd_bus_message_read(reply, "sv", &key, "u", &got) > 0);
		assert_true(sd_bus_message_exit_container(reply) >= 0);
		have |= strcmp(key, "UnixUserID") == 0 ? 1U : 2U;
		assert_int_equal(got, strcmp(key, "UnixUserID") == 0 ? ids->uid : ids->pid);
	}
	assert_int_equal(have, (ids->have_uid ? 1U : 0U) | (ids->have_pid ? 2U : 0U));
	sd_bus_message_unref(reply);
}

static void test_ids(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, true);
	for (unsigned i = 0; i < 16; i++) {
		bed.daemon = (struct dispatch_ids){i & 1, i & 2, 0, 17};
		bed.of_client = (struct dispatch_ids){i & 4, i & 8, 1000, 4};
		for (unsigned of_client = 0; of_client < 2; of_client++) {
			const struct dispatch_ids *ids = of_client ? &bed.of_client : &bed.daemon;
			const char *name = of_client ? UNIQUE : i & 1 ? NAME : DRIVER_NAME;

			numbers_check(&bed, "GetConnectionUnixUser", name, ids->have_uid, ids->uid,
				"org.freedesktop.DBus.Error.Failed");
			numbers_check(&bed, "GetConnectionUnixProcessID", name, ids->have_pid,
				ids->pid, "org.freedesktop.DBus.Error.UnixProcessIdUnknown");
			credentials_check(&bed, name, ids);
		}
	}
	bed_close(&bed);
}

/* A native call fails by the name of its reason's kind, from which sd-bus makes the errno; an old
 * one by one name. */
static void test_failures(void **state)
{
	static const struct row native = {N, "ListGpus", NULL, NULL, NULL, NULL};
	static const struct row old = {S, "ListControllers", NULL, NULL, NULL, NULL};
	struct bed bed;

	(void)state;
	assert_int_equal(errors_register(), 0);
	bed_open(&bed, false);
	for (int r = REASON_OK + 1; r < REASON_MAX; r++) {
		const struct reason_row *row = reason_row((enum reason)r);
		sd_bus_error wanted = SD_BUS_ERROR_NULL;
		sd_bus_message *reply;

		bed.reason = (enum reason)r;
		reply = ask(&bed, &native);
		assert_true(sd_bus_message_is_method_error(reply, error_name(row->kind)));
		sd_bus_error_set_const(&wanted, error_name(row->kind), "");
		assert_int_equal(sd_bus_message_get_errno(reply), sd_bus_error_get_errno(&wanted));
		assert_true(row->kind == KIND_FAILED || sd_bus_message_get_errno(reply) != EIO);
		assert_non_null(strstr(sd_bus_message_get_error(reply)->message, row->why));
		sd_bus_message_unref(reply);
		reply = ask(&bed, &old);
		assert_true(sd_bus_message_is_method_error(reply, SD_BUS_ERROR_INVALID_ARGS));
		sd_bus_message_unref(reply);
	}
	bed_close(&bed);
}

/* Get, and the whole of GetAll, with each value in its type. */
static void test_properties(void **state)
{
	static const struct row all = {NAME, CGM_PATH, "org.freedesktop.DBus.Properties", "GetAll",
		CGM_INTERFACE, NULL, "a{sv}", NULL};
	struct bed bed;
	sd_bus_message *reply, *m = NULL;
	const char *name;
	int32_t version;

	(void)state;
	bed_open(&bed, false);
	reply = ask(&bed, &all);
	assert_true(sd_bus_message_read(reply, "a{sv}", 1, &name, "i", &version) > 0);
	assert_string_equal(name, "api_version");
	assert_int_equal(version, 10);
	sd_bus_message_unref(reply);
	for (unsigned i = 0; i < PROPERTY_MAX; i++) {
		const struct interface *interface = &interfaces[properties[i].interface];

		if (i == PROPERTY_Scope)
			continue;
		assert_true(
			sd_bus_message_new_method_call(bed.client, &m, interface->service,
				interface->path, "org.freedesktop.DBus.Properties", "Get") >= 0);
		assert_true(
			sd_bus_message_append(m, "ss", interface->name, properties[i].name) >= 0);
		reply = NULL;
		assert_true(sd_bus_call_async(bed.client, NULL, m, on_reply, &reply, 0) >= 0);
		m = sd_bus_message_unref(m);
		while (!reply)
			turn(&bed);
		assert_true(sd_bus_message_enter_container(reply, 'v', properties[i].type) > 0);
		sd_bus_message_unref(reply);
	}
	bed_close(&bed);
}

/* Drawn, not counted: a client cannot tell from its name how many others there are. */
static void test_unique_names(void **state)
{
	struct bed one, two;

	(void)state;
	bed_open(&one, true);
	bed_open(&two, true);
	assert_int_equal(strncmp(one.own, ":1.", 3), 0);
	assert_string_not_equal(one.own, two.own);
	assert_true(one.unique + 1 != two.unique);
	bed_close(&one);
	bed_close(&two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_on_a_bus),
		cmocka_unit_test(test_as_a_peer),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_properties),
		cmocka_unit_test(test_unique_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
