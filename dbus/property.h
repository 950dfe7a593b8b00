/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* org.freedesktop.DBus.Properties of the service's objects: what properties.def says is there. */
#pragma once

#include "dispatch.h"

struct property_call {
	sd_bus_message *m;
	const struct interface *interface; /* whose object it is */
	const struct dispatch_ops *ops;
	void *userdata;
};

/* Each answers; the arguments' types were checked. */
int property_get(const struct property_call *c);
int property_get_all(const struct property_call *c);
int property_set(const struct property_call *c);
