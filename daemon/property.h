/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the properties of properties.def hold, for one client. */
#pragma once

#include "../dbus/method.h"
#include "peer.h"

/* Scope is told as GetPidCgroupAbs tells it of the client itself; a hierarchy in which it has no
 * place that it may know of is left out. */
void property_value(struct peer *peer, enum property_id id, struct reply *ret);
