/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processes in nested namespaces, for tests that run as root. */
#pragma once

#include <stdint.h>

/* A process with new namespaces, its child with those and further ones, and so on. They end with
 * the first, or with us. */
int32_t nest(const int *flags, unsigned levels);
void nest_end(int32_t pid);

/* The only child of a process, as the host has it. */
int32_t child_of(int32_t pid);
