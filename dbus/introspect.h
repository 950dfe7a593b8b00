/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Introspection data, made from the rows of methods.def, properties.def and options.def. */
#pragma once

#include "method.h"

/* An interface as installed in share/dbus-1/interfaces: a whole document. Caller frees; NULL: no
 * memory. */
char *introspect_document(const struct interface *interface);

/* What Introspect answers for an object path: the interfaces at the path of one of `interfaces`,
 * the next children above them. NULL: no memory, or (errno ENOENT) there is no such object. Caller
 * frees. */
char *introspect_path(const char *path);

/* The same for the bus driver (driver.h), which is at DRIVER_PATH. */
char *introspect_driver(const char *path);
