/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* As much of a D-Bus message as must be known before sd-bus is given it (D-Bus specification,
 * "Message Format"). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER 16 /* the fixed part, up to and with the length of the fields' array */
#define FRAME_FIELD_FDS 9

/* The size of a message from its first 16 bytes; 0: none that we take. sd-bus computes the same. */
size_t frame_size(const unsigned char *p, uint32_t max);

/* Where in a whole message's header the code of the field is that says it carries one fd; 0: there
 * is no such field, or more than one, or fields that cannot be passed over. */
size_t frame_fd_field(const unsigned char *p);
