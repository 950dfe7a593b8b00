/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ids that a client asks the bus driver for. */
#pragma once

#include "../dbus/dispatch.h"
#include "peer.h"

/*
 * The client's own uid and pid as the kernel gave them when it connected, or the daemon's: told as
 * the client's own user and pid namespaces have them. What these do not map or show is left out,
 * and never told as the host's number or as the overflow id, which in a container is somebody's.
 */
void whoami(struct peer *peer, bool of_client, struct dispatch_ids *ret);
