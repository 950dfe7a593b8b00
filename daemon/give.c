/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "give.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../policy/controller.h"
#include "../policy/key.h"
#include "cgroupfs.h"

struct gift {
	const struct subject *to;
	unsigned controllers;
};

/* Not what makes the host run something, not what is the host's to set, and not what only cgmd's
 * judging keeps below the ancestors' limits. */
static bool is_given(const char *name)
{
	const struct key *key = key_find(name);

	return !(key && (key->class == KEY_HOST || (key->flags & KEY_THROTTLE))) &&
	       strcmp(name, "notify_on_release") != 0 && strcmp(name, "release_agent") != 0;
}

static int give_file(void *userdata, int dirfd, const char *name)
{
	const struct gift *gift = userdata;

	if (gift->controllers && !(controller_of_file(name) & gift->controllers))
		return 0;
	if (is_given(name) &&
		fchownat(dirfd, name, gift->to->uid, gift->to->gid, AT_SYMLINK_NOFOLLOW) < 0 &&
		errno != ENOENT)
		return -errno;
	return 0;
}

static bool needs_nothing(const struct subject *s)
{
	return s->uid == 0 && s->gid == 0;
}

int give_files(int fd, const struct subject *s, unsigned controllers)
{
	struct gift gift = {s, controllers};

	return needs_nothing(s) ? 0 : cgroup_each(fd, false, give_file, &gift);
}

int give(int fd, const struct subject *s)
{
	int r = give_files(fd, s, 0);

	if (r >= 0 && !needs_nothing(s) && fchown(fd, s->uid, s->gid) < 0)
		r = -errno;
	return r;
}
