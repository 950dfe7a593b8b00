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

/* Without names the driver's are, as those of a message bus. */
static void write_args(FILE *f, const char *sig, const char *const *names, const char *direction)
{
	for (; *sig; sig += type_length(sig)) {
		fputs("   <arg ", f);
		if (names)
			fprintf(f, "name=\"%s\" ", *names++);
		fprintf(f, "type=\"%.*s\" direction=\"%s\"/>\n", (int)type_length(sig), sig,
			direction);
	}
}

/* What an a{sv} takes, which its type does not tell. */
static void write_options(FILE *f, enum method_id method)
{
	static const struct {
		enum method_id method;
		const char *name;
		char type;
	} options[] = {
#define OPTION(method, name, type) {METHOD_##method, #name, type},
#include "options.def"
#undef OPTION
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (options[i].method == method)
			fprintf(f,
				"   <annotation name=\"" NATIVE_SERVICE ".Option.%s\" "
				"value=\"%c\"/>\n",
				options[i].name, options[i].type);
}

static void write_method(FILE *f, const struct method *method)
{
	fprintf(f, "  <method name=\"%s\">\n", method->name);
	write_args(f, method->in, method->in_names, "in");
	write_args(f, method->out, method->out_names, "out");
	write_options(f, method->id);
	fprintf(f, "  </method>\n");
}

static void write_property(FILE *f, const struct property *property)
{
	fprintf(f,
		"  <property name=\"%s\" type=\"%s\" access=\"read\">\n"
		"   <annotation name=\"org.freedesktop.DBus.Property.EmitsChangedSignal\" "
		"value=\"%s\"/>\n"
		"  </property>\n",
		property->name, property->type, property->changes);
}

static void write_interface(FILE *f, const struct interface *interface)
{
	fprintf(f, " <interface name=\"%s\">\n", interface->name);
	for (unsigned i = 0; i < METHOD_MAX; i++) {
		if (method_interface(&methods[i]) != interface)
			continue;
		write_method(f, &methods[i]);
		if (method_twin(i))
			write_method(f, method_twin(i));
	}
	for (unsigned i = 0; i < PROPERTY_MAX; i++)
		if (properties[i].interface == interface->id)
			write_property(f, &properties[i]);
	fprintf(f, " </interface>\n");
}

static void write_driver(FILE *f)
{
	static const char *const lists[] = {"Features", "Interfaces"};

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
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		fprintf(f, "  <property name=\"%s\" type=\"as\" access=\"read\"/>\n", lists[i]);
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

char *introspect_document(const struct interface *interface)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	fprintf(f, "<!-- SPDX-License-Identifier: LGPL-2.1-or-later -->\n"
		   "<!-- Made from dbus/methods.def by dbus/write-xml. -->\n");
	fputs(doctype, f);
	fprintf(f, "<node name=\"%s\">\n", interface->path);
	write_interface(f, interface);
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

/* One of a tree's objects that have an interface. */
struct object {
	const char *path;
	const struct interface *interface; /* NULL: the driver's */
};

/* Two objects can lie below one child. */
static bool was_child(const struct object *objects, size_t n, const char *path, const char *child,
	size_t child_len)
{
	for (size_t i = 0; i < n; i++) {
		size_t len;
		const char *other = next_child(objects[i].path, path, &len);

		if (other && len == child_len && strncmp(other, child, len) == 0)
			return true;
	}
	return false;
}

/* How much of the tree is at `path` or below it: 0, nothing. */
static unsigned write_node(FILE *f, const struct object *objects, size_t n, const char *path)
{
	unsigned found = 0;

	for (size_t i = 0; i < n; i++)
		if (strcmp(objects[i].path, path) == 0) {
			found++;
			if (objects[i].interface)
				write_interface(f, objects[i].interface);
			else
				write_driver(f);
		}
	for (size_t i = 0; i < n; i++) {
		size_t len;
		const char *child = next_child(objects[i].path, path, &len);

		if (!child)
			continue;
		found++;
		if (!was_child(objects, i, path, child, len))
			fprintf(f, " <node name=\"%.*s\"/>\n", (int)len, child);
	}
	return found;
}

static char *introspect(const struct object *objects, size_t n, const char *path)
{
	size_t size = 0;
	char *text = NULL;
	FILE *f = open_memstream(&text, &size);
	unsigned found;

	if (!f)
		return NULL;
	fputs(doctype, f);
	fputs("<node>\n", f);
	fputs(standard_interfaces, f);
	found = write_node(f, objects, n, path);
	fputs("</node>\n", f);
	text = finish(f, &text);
	if (text && found == 0) {
		free(text);
		errno = ENOENT;
		return NULL;
	}
	return text;
}

char *introspect_path(const char *path)
{
	struct object objects[INTERFACE_MAX];

	for (unsigned i = 0; i < INTERFACE_MAX; i++)
		objects[i] = (struct object){interfaces[i].path, &interfaces[i]};
	return introspect(objects, INTERFACE_MAX, path);
}

char *introspect_driver(const char *path)
{
	static const struct object driver = {DRIVER_PATH, NULL};

	return introspect(&driver, 1, path);
}
