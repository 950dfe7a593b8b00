/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devnode.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>

#include "../policy/path.h"
#include "cleanup.h"

static const char prefix[] = "/dev/";

bool devnode_path(const char *text, char *ret)
{
	size_t len;

	if (strncmp(text, prefix, sizeof(prefix) - 1) == 0)
		text += sizeof(prefix) - 1;
	len = strlen(text);
	if (len == 0 || len >= DEVNODE_PATH_MAX)
		return false;
	for (const char *at = text; *at;) {
		size_t n = strcspn(at, "/");

		/* The last component has no slash behind it, and none is empty. */
		if (n == 0 || (n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		for (size_t i = 0; i < n; i++)
			if ((unsigned char)at[i] < 0x20 || at[i] == 0x7f)
				return false;
		if (at[n] == '/' && at[n + 1] == '\0')
			return false;
		at += n + (at[n] == '/');
	}
	memcpy(ret, text, len + 1);
	return true;
}

/* The child's word; its end without one is its alarm's. */
static int result_wait(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int32_t result;
	ssize_t n;
	int r;

	do
		r = poll(&p, 1, (DEVNODE_SECONDS + 1) * 1000);
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return r < 0 ? -errno : -ETIMEDOUT;
	n = recv(fd, &result, sizeof(result), MSG_DONTWAIT);
	if (n == sizeof(result))
		return result;
	return -ETIMEDOUT;
}

int devnode_change(struct inspector *i, const struct devnode *node)
{
	pid_t child = 0;
	_cleanup_close_ int fd = inspect_node(i, node, &child);
	_cleanup_close_ int pidfd = fd < 0 ? -EBADF : pidfd_open(child, 0);
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};
	int r = fd < 0 ? fd : result_wait(fd);

	/* Whoever is answered finds nothing of ours under way any more. */
	if (r != -ETIMEDOUT && pidfd >= 0)
		(void)poll(&ended, 1, 1000);
	return r;
}
