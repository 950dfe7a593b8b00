/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device node in a running container's /dev.
 *
 * A node that is made on a file system of a user namespace cannot be opened, and a bind of the
 * host's node shares its owner and mode. So a node of its own is made on a small tmpfs of the
 * initial user namespace, and bound into the container's mount namespace (open_tree(2),
 * move_mount(2), 5.2). A short-lived child of the inspector does it, since what lies at the
 * container's /dev may keep whoever looks waiting; it acts there with the rights of /dev's owner,
 * follows no link, and is ended after DEVNODE_SECONDS.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "inspect.h"

#define DEVNODE_PATH_MAX 128
#define DEVNODE_SECONDS 5
#define DEVNODE_OWNER UINT32_MAX

struct devnode {
	pid_t task; /* of the container, as the daemon sees it */
	int pidfd;  /* of the same; borrowed */
	/* Whose call it is: the task's mount namespace must be owned by its user namespace or one
	 * below. 0: host root's. */
	pid_t requestor;
	bool remove;
	bool is_char;
	uint32_t major, minor;
	mode_t mode; /* permission bits */
	uid_t uid;   /* as the host has them; DEVNODE_OWNER: as /dev there has */
	gid_t gid;
	/* Below /dev: "fuse", "dri/renderD128"; remove: "" is wherever adding put the device. */
	char path[DEVNODE_PATH_MAX];
};

/*
 * For worker threads: waits. Adding what is there already replaces it if it is ours, and is done if
 * it is the same device. Removing takes away what adding made, the mount point too.
 * -ESRCH: the task is gone. -EXDEV: it lives in the daemon's or in process 1's mount namespace,
 * or has the host's own /dev: nothing has to be given. -EPERM: its mount namespace is not the
 * requestor's, or its user namespace does not map the owner of its /dev. -EEXIST: something else is
 * there. -ENOENT: no /dev, or (remove) nothing of ours is there. -ELOOP, -ENOTDIR: a link or a file
 * is on the way. -ETIMEDOUT: whatever lies there does not answer.
 */
int devnode_change(struct inspector *i, const struct devnode *node);

/* "dri/card1" of "/dev/dri/card1" or of itself, into `ret` of DEVNODE_PATH_MAX; false: it is no
 * path below /dev ("..", "", too long). */
bool devnode_path(const char *text, char *ret);
