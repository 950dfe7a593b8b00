/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* write-xml INTERFACE: prints it as XML. Meson installs the checked-in copy, and a test holds that
 * to what this prints. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "introspect.h"

static const struct interface *interface_find(const char *name)
{
	for (unsigned i = 0; i < INTERFACE_MAX; i++)
		if (strcmp(interfaces[i].name, name) == 0)
			return &interfaces[i];
	return NULL;
}

int main(int argc, char **argv)
{
	const struct interface *interface = argc == 2 ? interface_find(argv[1]) : NULL;
	char *text;

	if (!interface) {
		fprintf(stderr, "usage: write-xml INTERFACE; there are");
		for (unsigned i = 0; i < INTERFACE_MAX; i++)
			fprintf(stderr, " %s", interfaces[i].name);
		fputc('\n', stderr);
		return EXIT_FAILURE;
	}
	text = introspect_document(interface);
	if (!text)
		return EXIT_FAILURE;
	fputs(text, stdout);
	free(text);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
