/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gives the files of a cgroup to whom it was made for, as if he had made it himself. */
#pragma once

#include "../policy/subject.h"

/* The files of these controllers, or all if the set is empty; not those that are the host's to set.
 * Nothing to do for the host's root. */
int give_files(int fd, const struct subject *s, unsigned controllers);

/* All files and then the directory: before that its new owner can do nothing with the rest. */
int give(int fd, const struct subject *s);
