/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cgmd's command line: one row of a table each. */
#pragma once

#include "manager.h"

enum options_result {
	OPTIONS_RUN,
	OPTIONS_DONE,  /* --help, --version: printed */
	OPTIONS_WRONG, /* a message went to standard error */
};

enum options_result options_parse(int argc, char **argv, struct options *ret);
