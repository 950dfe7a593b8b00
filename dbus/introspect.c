/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "introspect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "method.h"

static const char doctype[] =
	"<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n"
	" \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n";

static const char standard_interfaces[] =
	" <interface name=\"org.freedesktop.DBus.Peer\">\n"
	"  <method name=\"Ping\"/>\n"
	"  <method name=\"GetMachineId\"><arg name=\"machine_uuid\" type=\"s\" "
	"direction=\"out\"/></method>\n"
	" </interface>\n"
	" <interface name=\"org.freedesktop.DBus.Introspectable\">\n"
	"  <method name=\"Introspect\"><arg name=\"data\" type=\"s\" direction=\"out\"/></method>\n"
	" </interface>\n"
	" <interface name=\"org.freedesktop.DBus.Properties\">\n"
	"  <method name=\"Get\">\n"
	"   <arg name=\"interface\" type=\"s\" direction=\"in\"/>\n"
	"   <arg name=\"property\" type=\"s\" direction=\"in\"/>\n"
	"   <arg name=\"value\" type=\"v\" direction=\"out\"/>\n"
	"  </method>\n"
	"  <method name=\"GetAll\">\n"
	"   <arg name=\"interface\" type=\"s\" direction=\"in\"/>\n"
	"   <arg name=\"properties\" type=\"a{sv}\" direction=\"out\"/>\n"
	"  </method>\n"
	"  <method name=\"Set\">\n"
	"   <arg name=\"interface\" type=\"s\" direction=\"in\"/>\n"
	"   <arg name=\"property\" type=\"s\" direction=\"in\"/>\n"
	"   <arg name=\"value\" type=\"v\" direction=\"in\"/>\n"
	"  </method>\n"
	" </interface>\n";

/* A container is one value: none holds another of its kind. Without names the driver's are, as
 * those of a message bus. */
static void write_args(FILE *f, const char *sig, const char *const *names, const char *direction)
{
	while (*sig) {
		size_t len = 1;

		if (*sig == 'a')
			len = sig[1] == '(' || sig[1] == '{' ? strcspn(sig, ")}") + 1 : 2;
		fputs("   <arg ", f);
		if (names)
			fprintf(f, "name=\"%s\" ", *names++);
		fprintf(f, "type=\"%.*s\" direction=\"%s\"/>\n", (int)len, sig, direction);
		sig += len;
	}
}

static void write_method(FILE *f, const struct method *method)
{
	fprintf(f, "  <method name=\"%s\">\n", method->name);
	write_args(f, method->in, method->in_names, "in");
	write_args(f, method->out, method->out_names, "out");
	fprintf(f, "  </method>\n");
}

static void write_interface(FILE *f)
{
	fprintf(f, " <interface name=\"%s\">\n", CGM_INTERFACE);
	for (unsigned i = 0; i < METHOD_MAX; i++) {
		write_method(f, &methods[i]);
		if (method_twin(i))
			write_method(f, method_twin(i));
	}
	fprintf(f, "  <property name=\"api_version\" type=\"i\" access=\"read\">\n"
		   "   <annotation name=\"org.freedesktop.DBus.Property.EmitsChangedSignal\" "
		   "value=\"const\"/>\n"
		   "  </property>\n"
		   " </interface>\n");
}

static void write_driver(FILE *f)
{
	static const char *const properties[] = {"Features", "Interfaces"};

	fprintf(f, " <interface name=\"%s\">\n", DRIVER_INTERFACE);
	for (unsigned i = 0; i < driver_methods_n; i++) {
		const struct driver_method *method = &driver_methods[i];

		if (method->interface)
			continue;
		fprintf(f, "  <method name=\"%s\">\n", method->name);
		write_args(f, method->in, NULL, "in");
		write_args(f, method->out, NULL, "out");
		fprintf(f, "  </method>\n");
	}
	for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
		fprintf(f, "  <property name=\"%s\" type=\"as\" access=\"read\"/>\n",
			properties[i]);
	fprintf(f, " </interface>\n");
}

static char *finish(FILE *f, char **text)
{
	int failed = ferror(f);

	if (fclose(f) != 0 || failed) {
		free(*text);
		errno = ENOMEM;
		return NULL;
	}
	return *text;
}

char *introspect_document(void)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	fprintf(f, "<!-- SPDX-License-Identifier: LGPL-2.1-or-later -->\n"
		   "<!-- Made from dbus/methods.def by dbus/write-xml. -->\n");
	fputs(doctype, f);
	fprintf(f, "<node name=\"%s\">\n", CGM_PATH);
	write_interface(f);
	fputs("</node>\n", f);
	return finish(f, &text);
}

/* The component of `top` that follows `path`, if that is a proper prefix by components. */
static const char *next_child(const char *top, const char *path, size_t *ret_len)
{
	size_t len = strcmp(path, "/") == 0 ? 0 : strlen(path);

	if (strncmp(top, path, len) != 0 || top[len] != '/')
		return NULL;
	*ret_len = strcspn(&top[len + 1], "/");
	return &top[len + 1];
}

/* Of a tree with one object, which is at `top`. */
static char *introspect(const char *top, void (*write)(FILE *f), const char *path)
{
	size_t child_len = 0, size = 0;
	const char *child = next_child(top, path, &child_len);
	int here = strcmp(path, top) == 0;
	char *text = NULL;
	FILE *f;

	if (!here && !child) {
		errno = ENOENT;
		return NULL;
	}
	f = open_memstream(&text, &size);
	if (!f)
		return NULL;
	fputs(doctype, f);
	fputs("<node>\n", f);
	fputs(standard_interfaces, f);
	if (here)
		write(f);
	else
		fprintf(f, " <node name=\"%.*s\"/>\n", (int)child_len, child);
	fputs("</node>\n", f);
	return finish(f, &text);
}

char *introspect_path(const char *path)
{
	return introspect(CGM_PATH, write_interface, path);
}

char *introspect_driver(const char *path)
{
	return introspect(DRIVER_PATH, write_driver, path);
}
