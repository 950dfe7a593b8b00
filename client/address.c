/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "address.h"

#define PREFIX "unix:path="

static int address_from_path(const char *path, char **ret)
{
	static const char plain[] = "-_/.\\*0123456789abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t len = strlen(path);
	char *address, *p;

	if (len >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return -ENAMETOOLONG;
	address = malloc(strlen(PREFIX) + 3 * len + 1);
	if (!address)
		return -ENOMEM;
	p = stpcpy(address, PREFIX);
	for (; *path; path++) {
		if (strchr(plain, *path))
			*p++ = *path;
		else
			p += sprintf(p, "%%%02x", (unsigned char)*path);
	}
	*p = '\0';
	*ret = address;
	return 0;
}

int address_make(const char *text, char **ret)
{
	char *address;

	if (text[0] == '/')
		return address_from_path(text, ret);
	/* No other transport tells the daemon who is asking. */
	if (strncmp(text, "unix:", strlen("unix:")) != 0 || !strchr(text, '='))
		return -EINVAL;
	address = strdup(text);
	if (!address)
		return -ENOMEM;
	*ret = address;
	return 0;
}
