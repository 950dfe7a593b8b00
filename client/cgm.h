/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command: one invocation from its words to its exit status. */
#pragma once

/* Prints to stdout and stderr. EXIT_SUCCESS, or EXIT_FAILURE with a message on stderr. */
int cgm_run(int argc, char *const *argv);
