/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cgm translate, which asks no daemon, and the lists of settings. */
#pragma once

#include <stdio.h>

#include "invocation.h"

/* The setting in all three formats. -EINVAL: ret_error holds what to tell, which the caller frees.
 * -ENOMEM. */
int translate_print(FILE *out, const struct invocation *inv, char **ret_error);

/* The texts of `cgm --keys` and `cgm --keys=man`. */
void settings_print_list(FILE *out);
void settings_print_man(FILE *out);
