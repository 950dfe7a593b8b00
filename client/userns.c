/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "own.h"
#include "userns.h"

/* PROC_USER_INIT_INO (include/linux/proc_ns.h) */
#define INITIAL_INODE UINT64_C(0xeffffffd)

bool userns_is_initial(const struct userns *ns)
{
	return ns->inode == INITIAL_INODE;
}

bool userns_is_visible(const struct userns_chain *chain)
{
	return chain->n > 0 && userns_is_initial(&chain->ns[chain->n - 1]);
}

static int userns_get(int fd, struct userns *ret)
{
	struct userns ns = {.owner_unknown = true, .owner = (uid_t)-1};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	ns.inode = st.st_ino;
	ns.owner_unknown = ioctl(fd, NS_GET_OWNER_UID, &ns.owner) < 0;
	*ret = ns;
	return 0;
}

int userns_chain_get(const char *proc, struct userns_chain *ret)
{
	struct userns_chain chain = {0};
	OWN(own_string) char *path = NULL;
	int fd, r;

	if (asprintf(&path, "%s/ns/user", proc) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do {
		OWN(own_fd) int child = fd;

		r = userns_get(child, &chain.ns[chain.n++]);
		/* EPERM: the initial one's, or it is out of sight */
		fd = ioctl(child, NS_GET_PARENT);
	} while (r == 0 && fd >= 0 && chain.n < USERNS_DEPTH_MAX);
	if (fd >= 0)
		close(fd);
	if (r < 0)
		return r;
	*ret = chain;
	return 0;
}
