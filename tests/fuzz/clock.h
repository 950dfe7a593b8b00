/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The clock that the code under test sees, so that time-outs come when the input wants. */
#pragma once

#include <stdint.h>

void clock_skip(uint64_t usec);
void clock_reset(void);
