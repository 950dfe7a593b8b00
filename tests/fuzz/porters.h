/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Porters that are no processes, in the place of the daemon's. */
#pragma once

#include "../../daemon/porter.h"

struct porters *porters_fake_new(sd_event *event);
/* What was made and not freed. */
unsigned porters_fake_n(void);
