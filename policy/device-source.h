/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rules as they were written, packed: what a policy holds behind its tables. For each rule one byte
 * with what it is (below), then a name's length and bytes, or numbers of seven bits a byte, lowest
 * first, the last without the top bit.
 */
#pragma once

#include "device.h"

/* The first byte: 1 allow, access << 1, types << 4, form << 6. */
enum device_source_form {
	DEVICE_SOURCE_NAME,
	DEVICE_SOURCE_ONE,   /* major and minor */
	DEVICE_SOURCE_MAJOR, /* a major, with any minor */
	DEVICE_SOURCE_RANGE, /* major + 1, or 0 for any; first, last */
};

/* *ret_used bytes of the `size` there are; -E2BIG. */
int device_source_put(const struct device_rules *r, uint8_t *buf, size_t size, size_t *ret_used);

/* n rules out of all of the `size` bytes, appended to `r`, whose default and v1 are set. -EINVAL,
 * -ENOMEM; then r is to be freed all the same. */
int device_source_get(const uint8_t *buf, size_t size, unsigned n, struct device_rules *r);
