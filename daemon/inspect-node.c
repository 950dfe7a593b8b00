/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The child that puts a node into a container's /dev, or takes it away: see devnode.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "devnode.h"
#include "inspect-core.h"
#include "proc.h"

/* By which a node is known for ours. Nobody in a container can set it. */
#define MARK "trusted.cgmd.node"
#define NAME "node"
#define SOURCE "cgmd"

/* What the child has at hand of the container. */
struct place {
	int root_fd;	/* the task's root */
	int ns_fd;	/* its mount namespace */
	dev_t host_dev; /* of the host's /dev */
	int dev_fd;	/* its /dev */
	int dir_fd;	/* the directory there that has the node */
	uid_t uid;	/* /dev's owner */
	gid_t gid;
	const char *name;
};

static int beneath(int dirfd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)flags | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

/* Ours, process 1's: what is mounted there is the host's. */
static int is_the_hosts(struct child *c, const struct ns_id *id)
{
	struct ns_id own = {0}, first = {0};
	int r = ns_of_pid(c, getpid(), "mnt", &own);

	if (r == 0 && !ns_same(id, &own))
		r = ns_of_pid(c, 1, "mnt", &first);
	/* Of a process 1 that nobody may look at. */
	if (r == -EACCES)
		r = 0;
	if (r < 0)
		return r;
	return ns_same(id, &own) || ns_same(id, &first);
}

/* Whoever asks must be able to mount there himself: the namespace belongs to his user namespace or
 * to one below. */
static int check_owner(struct child *c, int ns_fd, pid_t requestor)
{
	_cleanup_close_ int user = -EBADF;

	if (requestor == 0)
		return 0;
	user = ioctl(ns_fd, NS_GET_USERNS);
	if (user < 0)
		return errno == EPERM ? -EPERM : -errno;
	switch (userns_of_fd_below(c, user, requestor)) {
	case 0:
		return -EPERM;
	case 1:
		return 0;
	default:
		return -ESRCH;
	}
}

static int place_find(struct child *c, const struct inspect_request *q, int pidfd, struct place *p)
{
	struct pollfd alive = {.fd = pidfd, .events = POLLIN};
	struct ns_id id = {0};
	struct stat st;
	char path[32];
	int r;

	if (fstatat(c->root_fd, "dev", &st, 0) == 0)
		p->host_dev = st.st_dev;
	p->ns_fd = ns_open(c, q->pid, "mnt");
	r = p->ns_fd < 0 ? p->ns_fd : ns_of_fd(p->ns_fd, &id);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%d/root", q->pid);
	p->root_fd = openat(c->proc_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (p->root_fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	/* Alive now: it was this task's number, and these are its own. */
	if (poll(&alive, 1, 0) != 0)
		return -ESRCH;
	r = is_the_hosts(c, &id);
	if (r != 0)
		return r < 0 ? r : -EXDEV;
	return check_owner(c, p->ns_fd, q->other);
}

/* What the node is made on: attached in a mount namespace of our own, for before Linux 6.15 nothing
 * can be cloned out of a mount that is attached nowhere. */
static int tmpfs_make(const struct child *c)
{
	_cleanup_close_ int context = -EBADF;
	_cleanup_close_ int fd = -EBADF;

	/* The inspector may sit in a directory that is no mount, where helpers show nothing. */
	if (fchdir(c->root_fd) < 0 || chroot(".") < 0)
		return -errno;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "source", SOURCE, 0) < 0 ||
		fsconfig(context, FSCONFIG_SET_STRING, "size", "4k", 0) < 0 ||
		fsconfig(context, FSCONFIG_SET_STRING, "nr_inodes", "8", 0) < 0 ||
		fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	if (fd < 0 || move_mount(fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* A mount of the node alone, attached nowhere. */
static int node_make(const struct child *c, const struct inspect_node *n, const struct place *p)
{
	_cleanup_close_ int fs = tmpfs_make(c);
	mode_t type = n->is_char ? S_IFCHR : S_IFBLK;
	int tree;

	if (fs < 0)
		return fs;
	if (fchdir(fs) < 0 ||
		mknodat(fs, NAME, type | (n->mode & 0777), makedev(n->major, n->minor)) < 0 ||
		fchownat(fs, NAME, n->uid == DEVNODE_OWNER ? p->uid : n->uid,
			n->gid == DEVNODE_OWNER ? p->gid : n->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
		lsetxattr(NAME, MARK, "1", 1, 0) < 0)
		return -errno;
	tree = open_tree(fs, NAME, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return tree < 0 ? -errno : tree;
}

/* From here on as the owner of /dev: what it may not do there, this may not. */
static int become(uid_t uid, gid_t gid)
{
	setfsgid(gid);
	setfsuid(uid);
	return setfsuid((uid_t)-1) == (int)uid && setfsgid((gid_t)-1) == (int)gid ? 0 : -EPERM;
}

static int dir_enter(int *fd, const char *name, bool make)
{
	int next = beneath(*fd, name, O_PATH | O_DIRECTORY);

	if (next == -ENOENT && make) {
		if (mkdirat(*fd, name, 0755) < 0 && errno != EEXIST)
			return -errno;
		next = beneath(*fd, name, O_PATH | O_DIRECTORY);
	}
	if (next < 0)
		return next;
	close_fd(fd);
	*fd = next;
	return 0;
}

/* Does the task's user namespace map it? */
static int is_mapped(struct child *c, pid_t pid, const char *name, uint32_t id)
{
	_cleanup_free_ struct idmap *map = malloc(sizeof(*map));
	char path[32];
	uint32_t inside;
	int fd, r;

	if (!map)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%d", pid);
	fd = openat(c->proc_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -ESRCH;
	r = proc_idmap_read(fd, name, map);
	close(fd);
	return r < 0 ? r : idmap_to_inside(map, id, &inside);
}

/* What its root could not do there by itself, nobody does for it: a host's directory may be mounted
 * there. */
static int dev_open(struct child *c, pid_t pid, struct place *p)
{
	struct stat st;
	int r;

	p->dev_fd = beneath(p->root_fd, "dev", O_PATH | O_DIRECTORY);
	if (p->dev_fd < 0)
		return p->dev_fd;
	if (fstat(p->dev_fd, &st) < 0)
		return -errno;
	if (st.st_dev == p->host_dev)
		return -EXDEV;
	p->uid = st.st_uid;
	p->gid = st.st_gid;
	r = is_mapped(c, pid, "uid_map", p->uid);
	if (r > 0)
		r = is_mapped(c, pid, "gid_map", p->gid);
	return r < 0 ? r : r ? 0 : -EPERM;
}

/* To the directory of a node below /dev; `text` loses its slashes. */
static int dir_find(struct place *p, char *text, bool make)
{
	char *slash;
	int r = 0;

	close_fd(&p->dir_fd);
	p->dir_fd = beneath(p->dev_fd, ".", O_PATH | O_DIRECTORY);
	if (p->dir_fd < 0)
		return p->dir_fd;
	for (p->name = text; r >= 0 && (slash = strchr(p->name, '/')); p->name = slash + 1) {
		*slash = '\0';
		r = dir_enter(&p->dir_fd, p->name, make);
	}
	if (r >= 0 && fchdir(p->dir_fd) < 0)
		r = -errno;
	return r;
}

static bool is_device(const struct inspect_node *n, const struct stat *st)
{
	return (st->st_mode & S_IFMT) == (n->is_char ? S_IFCHR : S_IFBLK) &&
	       st->st_rdev == makedev(n->major, n->minor);
}

static bool is_ours(const struct place *p)
{
	char value[4];

	return lgetxattr(p->name, MARK, value, sizeof(value)) > 0;
}

/* The mount, and the empty file below it. */
static int take_away(const struct place *p)
{
	struct stat st;

	if (umount2(p->name, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
		return -errno;
	if (fstatat(p->dir_fd, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
		st.st_size == 0)
		unlinkat(p->dir_fd, p->name, 0);
	return 0;
}

/* What the node is mounted on: an empty file, *ret_made: of our making. 1: the device is there
 * already. */
static int point_open(const struct inspect_node *n, const struct place *p, int *ret, bool *ret_made)
{
	struct stat st;
	int fd = beneath(p->dir_fd, p->name, O_PATH | O_NOFOLLOW), made = -EBADF;

	/* Another node of the device may be one that cannot be opened, and trying that could set
	 * something off. */
	if (fd >= 0 && fstat(fd, &st) == 0 && is_ours(p)) {
		int r = take_away(p);

		close_fd(&fd);
		if (r < 0)
			return r;
		fd = beneath(p->dir_fd, p->name, O_PATH | O_NOFOLLOW);
	} else if (fd >= 0 && is_device(n, &st) && st.st_dev == p->host_dev) {
		close(fd);
		return 1;
	}
	if (fd == -ENOENT) {
		made = openat(p->dir_fd, p->name,
			O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0);
		if (made < 0)
			return -errno;
		close(made);
		fd = beneath(p->dir_fd, p->name, O_PATH | O_NOFOLLOW);
	}
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size != 0) {
		close(fd);
		return -EEXIST;
	}
	*ret = fd;
	*ret_made = made >= 0;
	return 0;
}

static int node_add(const struct inspect_node *n, const struct place *p, int tree)
{
	_cleanup_close_ int point = -EBADF;
	bool made = false;
	int r = point_open(n, p, &point, &made);

	if (r != 0)
		return r < 0 ? r : 0;
	if (move_mount(tree, "", point, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
		0) {
		r = -errno;
		if (made)
			unlinkat(p->dir_fd, p->name, 0);
	}
	return r;
}

static int node_remove(const struct inspect_node *n, const struct place *p)
{
	struct stat st;

	if (fstatat(p->dir_fd, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return is_device(n, &st) && is_ours(p) ? take_away(p) : -ENOENT;
}

/* The mount point of a line of mountinfo if that may be a node of ours, below /dev; in place. */
static char *line_point(char *line)
{
	char *field[5], *state = NULL, *to;
	unsigned n = 0;

	/* " - TYPE SOURCE OPTIONS" comes behind a variable number of fields. */
	if (!strstr(line, " - tmpfs " SOURCE " "))
		return NULL;
	for (char *at = strtok_r(line, " ", &state); at && n < 5; at = strtok_r(NULL, " ", &state))
		field[n++] = at;
	if (n < 5 || strcmp(field[3], "/" NAME) != 0 || strncmp(field[4], "/dev/", 5) != 0)
		return NULL;
	/* Blanks and the like are written as three octal digits (proc(5)). */
	to = field[4];
	for (const char *at = to; *at; at++, to++) {
		*to = *at;
		if (*at == '\\' && at[1] && at[2] && at[3]) {
			*to = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
			at += 3;
		}
	}
	*to = '\0';
	return field[4] + 5;
}

/* All of the device that adding made, wherever that was. */
static int nodes_remove(struct child *c, pid_t pid, const struct inspect_node *n, struct place *p)
{
	char path[32], *line = NULL;
	size_t size = 0;
	int fd, r = 0, removed = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%d/mountinfo", pid);
	fd = openat(c->proc_fd, path, O_RDONLY | O_CLOEXEC);
	file = fd < 0 ? NULL : fdopen(fd, "r");
	if (!file) {
		close_fd(&fd);
		return -ESRCH;
	}
	/* Who umounts reads on in a list that has changed; it says of each line what is true. */
	while (r >= 0 && getline(&line, &size, file) > 0) {
		char *point = line_point(line);

		r = point ? dir_find(p, point, false) : -ENOENT;
		if (r >= 0)
			r = node_remove(n, p);
		removed += r >= 0;
		/* It was another device's, or has gone. */
		r = r == -ENOENT || r == -ENOTDIR || r == -ELOOP ? 0 : r;
	}
	free(line);
	fclose(file);
	return r < 0 ? r : removed > 0 ? 0 : -ENOENT;
}

static int node_change(struct child *c, const struct inspect_request *q, int pidfd)
{
	struct inspect_node n = q->node;
	struct place p = {.root_fd = -EBADF, .ns_fd = -EBADF, .dev_fd = -EBADF, .dir_fd = -EBADF};
	int r = place_find(c, q, pidfd, &p), tree = -EBADF;

	n.path[sizeof(n.path) - 1] = '\0';
	if (r >= 0)
		r = dev_open(c, q->pid, &p);
	if (r >= 0 && !n.remove)
		r = tree = node_make(c, &n, &p);
	if (r >= 0 && setns(p.ns_fd, CLONE_NEWNS) < 0)
		r = -errno;
	if (r >= 0)
		r = become(p.uid, p.gid);
	if (r >= 0 && n.remove && n.path[0] == '\0')
		return nodes_remove(c, q->pid, &n, &p);
	if (r >= 0)
		r = dir_find(&p, n.path, !n.remove);
	if (r < 0)
		return r;
	return n.remove ? node_remove(&n, &p) : node_add(&n, &p, tree);
}

static _Noreturn void node_run(
	struct child *c, const struct inspect_request *q, int pidfd, int sock)
{
	int32_t result;

	/* Whatever lies there: nobody waits for longer. */
	signal(SIGALRM, SIG_DFL);
	alarm(DEVNODE_SECONDS);
	umask(0);
	result = node_change(c, q, pidfd);
	while (send(sock, &result, sizeof(result), MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
	_exit(0);
}

int answer_node(struct child *c, const struct inspect_request *q, int pidfd,
	struct inspect_reply *reply, int *ret_fd)
{
	_cleanup_close_ int theirs = -EBADF;
	_cleanup_close_ int ours = -EBADF;
	int pair[2];
	pid_t pid;

	if (pidfd < 0)
		return -EBADF;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	/* SIGCHLD is ignored, so nobody has to wait for it. */
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		close_fd(&c->sock);
		close_fd(&ours);
		node_run(c, q, pidfd, theirs);
	}
	reply->number = (uint64_t)pid;
	*ret_fd = TAKE_FD(ours);
	return 0;
}
