/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The addresses of the daemon's socket, as people write them and as D-Bus does. */
#pragma once

/*
 * A D-Bus address of a unix socket ("unix:KEY=VALUE...") is copied; an absolute path becomes
 * unix:path=, with what the D-Bus specification ("Server Addresses") wants escaped as %XX. -EINVAL:
 * neither; -ENAMETOOLONG: longer than a socket's path can be (unix(7)); -ENOMEM.
 */
int address_make(const char *text, char **ret);
