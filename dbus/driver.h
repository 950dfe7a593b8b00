/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * org.freedesktop.DBus: as much of a message bus as clients that insist on one ask for.
 *
 * Each connection is a bus of its own with two on it, the service and the client: of other clients
 * nothing tells, so a unique name is drawn at random, not counted. The service has a well-known
 * name for each interface, and no others are given. No signal is ever sent, so match rules are
 * taken and forgotten.
 *
 * Ids are told as the client's own namespaces have them or not at all; see dispatch_ops.ids.
 */
#pragma once

#include "dispatch.h"

#define DRIVER_NAME "org.freedesktop.DBus"
#define DRIVER_PATH "/org/freedesktop/DBus"
#define DRIVER_INTERFACE "org.freedesktop.DBus"
#define DRIVER_SERVICE_NAME CGM_SERVICE
/* For messages. */
#define DRIVER_SERVICE_NAMES CGM_SERVICE ", which is " NATIVE_SERVICE " as well"
#define DRIVER_SERVICE_UNIQUE ":1.0"

struct driver_call {
	sd_bus_message *m;
	const struct dispatch_ops *ops;
	void *userdata;
};

struct driver_method {
	const char *name, *in, *out;
	int (*run)(const struct driver_call *c);
	const char *interface; /* NULL: DRIVER_INTERFACE; others are not introspected */
};

extern const struct driver_method driver_methods[];
extern const unsigned driver_methods_n;

/* NULL: there is none. `interface` may be NULL. */
const struct driver_method *driver_find(const char *interface, const char *member);

/* The destination is the service, by a name that it has on the bus. */
bool driver_is_service(const char *destination);
