/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The names of devices: which forms there are (devices.def), and what the fixed ones stand for.
 * What the others stand for only the kernel knows; see daemon/devname.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "device.h"

enum device_form_kind {
	DEVICE_FORM_FIXED,
	DEVICE_FORM_PROC,
	DEVICE_FORM_GPU,
	DEVICE_FORM_NVIDIA,
	DEVICE_FORM_PATH,
};

struct device_form {
	const char *form;
	enum device_form_kind kind;
	const char *text;
};

/* NULL: no name has this form, or the name is longer than DEVICE_NAME_MAX. */
const struct device_form *device_form_find(const char *name);

/* NULL behind the last. */
const struct device_form *device_form_row(unsigned index);

/* What stands in the name for the form's <...>: its length and where it begins. 0: the form has
 * none. The name is one of this form. */
size_t device_form_word(const struct device_form *f, const char *name, const char **ret);

/* The text of a FIXED or PROC row, range by range: true: *ret is the next one, and *text moved
 * behind it. Of a PROC row *driver and *len are the name that stands for the major, which is
 * DEVICE_ANY then; else *len is 0. */
bool device_form_next(
	const char **text, struct device_range *ret, const char **driver, size_t *len);
