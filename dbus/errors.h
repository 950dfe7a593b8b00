/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The errors of org.cgmd1.Manager, by what kind a reason is of: errors.def. */
#pragma once

#include "../policy/reason.h"

#define ERROR_PREFIX "org.cgmd1.Error."

/* "org.cgmd1.Error.AccessDenied". Not of KIND_OK. */
const char *error_name(enum reason_kind kind);

/* Tells sd-bus which errno each name stands for, in this process: sd_bus_call() and
 * sd_bus_error_get_errno() then give that, and not EIO. Once is enough, more is no harm. 0 or
 * -ENOMEM. */
int errors_register(void);
