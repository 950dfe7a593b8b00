/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Prints the interface as XML: meson installs its output, and a test holds the checked-in copy to
 * it. */
#include <stdio.h>
#include <stdlib.h>

#include "introspect.h"

int main(void)
{
	char *text = introspect_document();

	if (!text)
		return EXIT_FAILURE;
	fputs(text, stdout);
	free(text);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
