/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-id128.h>

#include "answer.h"

#define TEXT_MAX 512
#define UNIQUE_MAX sizeof(":1.18446744073709551615")
#define PROPERTIES "org.freedesktop.DBus.Properties"
#define MONITORING "org.freedesktop.DBus.Monitoring"
#define ERROR(name) "org.freedesktop.DBus.Error." name

/* D-Bus specification, "Message Bus Messages" */
enum {
	RELEASE_NAME_NON_EXISTENT = 2,
	RELEASE_NAME_NOT_OWNER = 3,
	START_REPLY_ALREADY_RUNNING = 2,
};

enum owner { OWNER_NONE, OWNER_DRIVER, OWNER_SERVICE, OWNER_CLIENT };

/* The client's unique name; "" before Hello. */
static void unique_name(const struct driver_call *c, char buf[UNIQUE_MAX])
{
	uint64_t unique = *c->ops->unique(c->userdata);

	buf[0] = '\0';
	if (unique != 0)
		snprintf(buf, UNIQUE_MAX, ":1.%" PRIu64, unique);
}

bool driver_is_service(const char *destination)
{
	for (unsigned i = 0; i < INTERFACE_MAX; i++)
		if (strcmp(destination, interfaces[i].service) == 0)
			return true;
	return strcmp(destination, DRIVER_SERVICE_UNIQUE) == 0;
}

static enum owner owner_of(const struct driver_call *c, const char *name)
{
	char own[UNIQUE_MAX];

	if (strcmp(name, DRIVER_NAME) == 0)
		return OWNER_DRIVER;
	if (driver_is_service(name))
		return OWNER_SERVICE;
	unique_name(c, own);
	return own[0] && strcmp(name, own) == 0 ? OWNER_CLIENT : OWNER_NONE;
}

/* The first argument, which is a name, and who has it. */
static int read_name(const struct driver_call *c, const char **ret_name, enum owner *ret_owner)
{
	int r = sd_bus_message_read(c->m, "s", ret_name);

	if (r < 0)
		return r;
	*ret_owner = owner_of(c, *ret_name);
	return 0;
}

/* "METHOD: 'NAME' WHY", without the name if it is none: then it may be any text, of any length. */
static int refuse_name(
	const struct driver_call *c, const char *error, const char *name, const char *why)
{
	const char *member = sd_bus_message_get_member(c->m);
	char text[TEXT_MAX];

	if (sd_bus_service_name_is_valid(name) > 0)
		snprintf(text, sizeof(text), "%s: '%s' %s", member, name, why);
	else
		snprintf(text, sizeof(text), "%s: this name %s", member, why);
	return answer_error(c->m, error, text);
}

/* The same of a name that somebody has: 1. Else that is answered, or it failed: what to return. */
static int read_owned_name(
	const struct driver_call *c, const char **ret_name, enum owner *ret_owner)
{
	int r = read_name(c, ret_name, ret_owner);

	if (r < 0)
		return r;
	if (*ret_owner != OWNER_NONE)
		return 1;
	r = refuse_name(c, ERROR("NameHasNoOwner"), *ret_name,
		"is nobody's here; ListNames tells which names there are");
	return r < 0 ? r : 0;
}

static int hello(const struct driver_call *c)
{
	uint64_t *unique = c->ops->unique(c->userdata);
	char name[UNIQUE_MAX];
	sd_id128_t id;
	int r;

	if (*unique != 0)
		return answer_error(
			c->m, ERROR("Failed"), "Hello: this connection has its name already");
	r = sd_id128_randomize(&id);
	if (r < 0)
		return r;
	/* Never 0, which is the service: an id has some bits that are set. */
	*unique = id.qwords[0];
	unique_name(c, name);
	return answer_values(c->m, "s", name);
}

/* Not AccessDenied, as a bus would have it: for that sd-bus' clients print a text of their own. */
static int request_name(const struct driver_call *c)
{
	return answer_error(c->m, ERROR("NotSupported"),
		"RequestName: there is one service here, " DRIVER_SERVICE_NAMES
		"; names are not given to clients");
}

static int release_name(const struct driver_call *c)
{
	const char *name;
	enum owner owner;
	int r = read_name(c, &name, &owner);

	if (r < 0)
		return r;
	if (owner == OWNER_DRIVER || name[0] == ':')
		return refuse_name(c, ERROR("InvalidArgs"), name, "cannot be released");
	return answer_values(c->m, "u",
		(uint32_t)(owner == OWNER_NONE ? RELEASE_NAME_NON_EXISTENT
					       : RELEASE_NAME_NOT_OWNER));
}

static int list_names(const struct driver_call *c)
{
	char own[UNIQUE_MAX];

	unique_name(c, own);
	/* The last is left out where the client has none. */
	return answer_values(c->m, "as", own[0] ? 5 : 4, DRIVER_NAME, CGM_SERVICE, NATIVE_SERVICE,
		DRIVER_SERVICE_UNIQUE, own);
}

static int list_activatable_names(const struct driver_call *c)
{
	return answer_values(c->m, "as", 1, DRIVER_NAME);
}

static int name_has_owner(const struct driver_call *c)
{
	const char *name;
	enum owner owner;
	int r = read_name(c, &name, &owner);

	return r < 0 ? r : answer_values(c->m, "b", (int)(owner != OWNER_NONE));
}

static int get_name_owner(const struct driver_call *c)
{
	const char *name;
	enum owner owner;
	int r = read_owned_name(c, &name, &owner);

	if (r <= 0)
		return r;
	return answer_values(c->m, "s", owner == OWNER_SERVICE ? DRIVER_SERVICE_UNIQUE : name);
}

static int list_queued_owners(const struct driver_call *c)
{
	const char *name;
	enum owner owner;
	int r = read_owned_name(c, &name, &owner);

	if (r <= 0)
		return r;
	return answer_values(c->m, "as", 1, owner == OWNER_SERVICE ? DRIVER_SERVICE_UNIQUE : name);
}

static int start_service(const struct driver_call *c)
{
	const char *name;
	enum owner owner;
	int r = read_name(c, &name, &owner);

	if (r < 0)
		return r;
	if (owner == OWNER_NONE)
		return refuse_name(c, ERROR("ServiceUnknown"), name,
			"is no service here; there is " DRIVER_SERVICE_NAMES ", and it runs");
	return answer_values(c->m, "u", (uint32_t)START_REPLY_ALREADY_RUNNING);
}

/* What it asks for never happens, and so need not be remembered. */
static int match(const struct driver_call *c)
{
	return answer_values(c->m, "");
}

static int get_unix_user(const struct driver_call *c)
{
	struct dispatch_ids ids = {};
	const char *name;
	enum owner owner;
	int r = read_owned_name(c, &name, &owner);

	if (r <= 0)
		return r;
	c->ops->ids(c->userdata, owner == OWNER_CLIENT, &ids);
	if (!ids.have_uid)
		return refuse_name(c, ERROR("Failed"), name,
			"has a uid that your user namespace does not map");
	return answer_values(c->m, "u", ids.uid);
}

static int get_process_id(const struct driver_call *c)
{
	struct dispatch_ids ids = {};
	const char *name;
	enum owner owner;
	int r = read_owned_name(c, &name, &owner);

	if (r <= 0)
		return r;
	c->ops->ids(c->userdata, owner == OWNER_CLIENT, &ids);
	if (!ids.have_pid)
		return refuse_name(c, ERROR("UnixProcessIdUnknown"), name,
			"is a process that your pid namespace does not show");
	return answer_values(c->m, "u", ids.pid);
}

static int get_credentials(const struct driver_call *c)
{
	struct dispatch_ids ids = {};
	const char *name;
	enum owner owner;
	int r = read_owned_name(c, &name, &owner);

	if (r <= 0)
		return r;
	c->ops->ids(c->userdata, owner == OWNER_CLIENT, &ids);
	if (ids.have_uid && ids.have_pid)
		return answer_values(
			c->m, "a{sv}", 2, "UnixUserID", "u", ids.uid, "ProcessID", "u", ids.pid);
	if (ids.have_uid)
		return answer_values(c->m, "a{sv}", 1, "UnixUserID", "u", ids.uid);
	if (ids.have_pid)
		return answer_values(c->m, "a{sv}", 1, "ProcessID", "u", ids.pid);
	return answer_values(c->m, "a{sv}", 0);
}

static int get_selinux_context(const struct driver_call *c)
{
	const char *name;
	enum owner owner;
	int r = read_owned_name(c, &name, &owner);

	if (r <= 0)
		return r;
	return refuse_name(c, ERROR("SELinuxSecurityContextUnknown"), name,
		"may have a security context, but none is told");
}

/* The same as in the authentication's OK. */
static int get_id(const struct driver_call *c)
{
	char text[SD_ID128_STRING_MAX];
	sd_id128_t id;
	int r = sd_bus_get_bus_id(sd_bus_message_get_bus(c->m), &id);

	return r < 0 ? r : answer_values(c->m, "s", sd_id128_to_string(id, text));
}

static int become_monitor(const struct driver_call *c)
{
	return answer_error(c->m, ERROR("NotSupported"),
		"BecomeMonitor: there is nothing to watch; each client is alone with the service");
}

static bool is_ours(const char *interface)
{
	return interface[0] == '\0' || strcmp(interface, DRIVER_INTERFACE) == 0;
}

static bool is_property(const char *interface, const char *property)
{
	return is_ours(interface) &&
	       (strcmp(property, "Features") == 0 || strcmp(property, "Interfaces") == 0);
}

static int refuse_property(const struct driver_call *c)
{
	return answer_error(c->m, SD_BUS_ERROR_UNKNOWN_PROPERTY,
		"There is no such property; " DRIVER_INTERFACE " has Features and Interfaces");
}

/* Both are lists of what is beyond the bare bus: nothing. */
static int get(const struct driver_call *c)
{
	const char *interface, *property;
	int r = sd_bus_message_read(c->m, "ss", &interface, &property);

	if (r < 0)
		return r;
	if (!is_property(interface, property))
		return refuse_property(c);
	return answer_values(c->m, "v", "as", 0);
}

static int get_all(const struct driver_call *c)
{
	const char *interface;
	int r = sd_bus_message_read(c->m, "s", &interface);

	if (r < 0)
		return r;
	if (!is_ours(interface))
		return answer_values(c->m, "a{sv}", 0);
	return answer_values(c->m, "a{sv}", 2, "Features", "as", 0, "Interfaces", "as", 0);
}

static int set(const struct driver_call *c)
{
	const char *interface, *property;
	int r = sd_bus_message_read(c->m, "ss", &interface, &property);

	if (r < 0)
		return r;
	if (!is_property(interface, property))
		return refuse_property(c);
	return answer_error(
		c->m, SD_BUS_ERROR_PROPERTY_READ_ONLY, "Set: the property cannot be changed");
}

const struct driver_method driver_methods[] = {
	{"Hello", "", "s", hello, NULL},
	{"RequestName", "su", "u", request_name, NULL},
	{"ReleaseName", "s", "u", release_name, NULL},
	{"StartServiceByName", "su", "u", start_service, NULL},
	{"NameHasOwner", "s", "b", name_has_owner, NULL},
	{"ListNames", "", "as", list_names, NULL},
	{"ListActivatableNames", "", "as", list_activatable_names, NULL},
	{"AddMatch", "s", "", match, NULL},
	{"RemoveMatch", "s", "", match, NULL},
	{"GetNameOwner", "s", "s", get_name_owner, NULL},
	{"ListQueuedOwners", "s", "as", list_queued_owners, NULL},
	{"GetConnectionUnixUser", "s", "u", get_unix_user, NULL},
	{"GetConnectionUnixProcessID", "s", "u", get_process_id, NULL},
	{"GetConnectionCredentials", "s", "a{sv}", get_credentials, NULL},
	{"GetConnectionSELinuxSecurityContext", "s", "ay", get_selinux_context, NULL},
	{"GetId", "", "s", get_id, NULL},
	{"BecomeMonitor", "asu", "", become_monitor, MONITORING},
	{"Get", "ss", "v", get, PROPERTIES},
	{"GetAll", "s", "a{sv}", get_all, PROPERTIES},
	{"Set", "ssv", "", set, PROPERTIES},
};
const unsigned driver_methods_n = sizeof(driver_methods) / sizeof(driver_methods[0]);

const struct driver_method *driver_find(const char *interface, const char *member)
{
	for (unsigned i = 0; i < driver_methods_n; i++) {
		const struct driver_method *method = &driver_methods[i];
		const char *of = method->interface ?: DRIVER_INTERFACE;

		if (strcmp(method->name, member) == 0 && (!interface || strcmp(of, interface) == 0))
			return method;
	}
	return NULL;
}
