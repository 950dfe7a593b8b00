/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Introspection data, made from the rows of methods.def. */
#pragma once

/* The interface as installed in share/dbus-1/interfaces: a whole document. Caller frees; NULL: no
 * memory. */
char *introspect_document(void);

/* What Introspect answers for an object path: the interfaces at CGM_PATH, the next child above it.
 * NULL: no memory, or (errno ENOENT) there is no such object. Caller frees. */
char *introspect_path(const char *path);

/* The same for the bus driver (driver.h), which is at DRIVER_PATH. */
char *introspect_driver(const char *path);
