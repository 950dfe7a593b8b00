/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inspector's own end: a loop over one socket. */
#include "inspect.h"

#include <errno.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "cleanup.h"
#include "inspect-core.h"

/* include/linux/proc_ns.h: the initial cgroup namespace, by number on every kernel */
#define PROC_CGROUP_INIT_INO 0xEFFFFFFBU

#define CACHE_IDLE_SEC 10

bool ns_same(const struct ns_id *a, const struct ns_id *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

static void ns_path(char *buf, size_t size, pid_t pid, const char *name)
{
	snprintf(buf, size, "%d/ns/%s", (int)pid, name);
}

/* What a failure to follow a namespace link means. EACCES is said of a process that ends just now,
 * too. */
static int ns_error(struct child *c, const char *path, int err)
{
	struct stat st;

	if (err == ENOENT)
		return -ESRCH;
	if (err == EACCES && fstatat(c->proc_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -ESRCH;
	return -err;
}

int ns_open(struct child *c, pid_t pid, const char *name)
{
	char path[32];
	int fd;

	ns_path(path, sizeof(path), pid, name);
	fd = openat(c->proc_fd, path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? ns_error(c, path, errno) : fd;
}

int ns_of_fd(int fd, struct ns_id *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*ret = (struct ns_id){.dev = st.st_dev, .ino = st.st_ino};
	return 0;
}

int ns_of_pid(struct child *c, pid_t pid, const char *name, struct ns_id *ret)
{
	char path[32];
	struct stat st;

	ns_path(path, sizeof(path), pid, name);
	if (fstatat(c->proc_fd, path, &st, 0) < 0)
		return ns_error(c, path, errno);
	*ret = (struct ns_id){.dev = st.st_dev, .ino = st.st_ino};
	return 0;
}

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void cache_drop(struct child *c, unsigned i)
{
	close_fd(&c->cache[i].fd);
	c->cache[i] = c->cache[--c->n];
}

static void cache_expire(struct child *c)
{
	time_t t = now();

	for (unsigned i = c->n; i-- > 0;)
		if (t - c->cache[i].used >= CACHE_IDLE_SEC)
			cache_drop(c, i);
}

static struct cached *cache_find(struct child *c, const struct ns_id *id)
{
	for (unsigned i = 0; i < c->n; i++)
		if (ns_same(&c->cache[i].id, id))
			return &c->cache[i];
	return NULL;
}

/* Takes fd. The one that was not used for longest makes room. */
static struct cached *cache_add(struct child *c, const struct ns_id *id, int fd)
{
	struct cached *entry;

	if (c->n == CACHE_MAX) {
		unsigned oldest = 0;

		for (unsigned i = 1; i < c->n; i++)
			if (c->cache[i].used < c->cache[oldest].used)
				oldest = i;
		cache_drop(c, oldest);
	}
	entry = &c->cache[c->n++];
	*entry = (struct cached){.id = *id, .fd = fd};
	return entry;
}

/* Names the hierarchy to a superblock that is being configured: so that it is found, not made. */
static int fs_name_v1(int fs, const struct hierarchy *h)
{
	char text[sizeof(h->proc_name) + sizeof(h->flags) + 1], *save = NULL;
	bool named = false, controllers = false;

	snprintf(text, sizeof(text), "%s,%s", h->proc_name, h->flags);
	for (char *s = strtok_r(text, ",", &save); s; s = strtok_r(NULL, ",", &save)) {
		bool is_name = strncmp(s, "name=", 5) == 0;
		int r;

		if (is_name)
			r = fsconfig(fs, FSCONFIG_SET_STRING, "name", s + 5, 0);
		else
			r = fsconfig(fs, FSCONFIG_SET_FLAG, s, NULL, 0);
		if (r < 0)
			return -errno;
		named = named || is_name;
		controllers = controllers || !is_name;
	}
	if (named && !controllers && fsconfig(fs, FSCONFIG_SET_FLAG, "none", NULL, 0) < 0)
		return -errno;
	return 0;
}

/* The root of the hierarchy as the present cgroup namespace has it: the root of a mount made here.
 */
static int root_here(const struct hierarchy *h, uint64_t *ret)
{
	_cleanup_close_ int fs = -EBADF;
	_cleanup_close_ int mnt = -EBADF;
	struct stat st;
	int r;

	fs = fsopen(h->v2 ? "cgroup2" : "cgroup", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -errno;
	r = h->v2 ? 0 : fs_name_v1(fs, h);
	if (r < 0)
		return r;
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	mnt = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (mnt < 0)
		return -errno;
	if (fstat(mnt, &st) < 0)
		return -errno;
	if (st.st_dev != h->dev)
		return -EXDEV;
	*ret = st.st_ino;
	return 0;
}

static int root_inside(struct child *c, int ns, const struct hierarchy *h, uint64_t *ret)
{
	int r;

	/* Were it not entered, the mount would be made in our own namespace, which may be the
	 * initial one. */
	if (setns(ns, CLONE_NEWCGROUP) < 0)
		return -errno;
	r = root_here(h, ret);
	if (setns(c->cgroupns_fd, CLONE_NEWCGROUP) < 0)
		_exit(1); /* every later answer would be wrong */
	return r;
}

bool is_shortage(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE || err == -EINTR;
}

/* The root of the namespace `id`, which pid is in, in the hierarchy; 0 if it cannot be mounted. */
static int root_find(struct child *c, pid_t pid, const struct ns_id *id, const struct hierarchy *h,
	uint64_t *ret)
{
	struct cached *entry;
	int r;

	cache_expire(c);
	entry = cache_find(c, id);
	if (!entry) {
		_cleanup_close_ int fd = ns_open(c, pid, "cgroup");
		struct ns_id opened = {0};

		if (fd < 0)
			return fd;
		r = ns_of_fd(fd, &opened);
		if (r < 0)
			return r;
		if (!ns_same(&opened, id))
			return -EAGAIN; /* it changes its namespace meanwhile */
		entry = cache_add(c, id, TAKE_FD(fd));
	}
	entry->used = now();
	if (!entry->root[h->index]) {
		r = root_inside(c, entry->fd, h, &entry->root[h->index]);
		if (r < 0 && is_shortage(r))
			return r;
	}
	*ret = entry->root[h->index];
	return 0;
}

static int answer_requestor(
	struct child *c, const struct inspect_request *q, struct inspect_reply *reply)
{
	struct ns_id user = {0}, pid = {0}, cgroup = {0};
	int r;

	r = ns_of_pid(c, q->pid, "user", &user);
	if (r == 0)
		r = ns_of_pid(c, q->pid, "pid", &pid);
	if (r == 0)
		r = ns_of_pid(c, q->pid, "cgroup", &cgroup);
	if (r < 0)
		return r;
	if (q->other > 0) {
		r = userns_below(c, q->other, q->pid);
		if (r < 0 && is_shortage(r))
			return r;
		reply->victim_below = r > 0;
	}
	reply->own_userns = ns_same(&user, &c->userns);
	reply->own_pidns = ns_same(&pid, &c->pidns);
	reply->own_cgroupns = ns_same(&cgroup, &c->cgroupns);
	if (q->number == INSPECT_NO_HIERARCHY || reply->own_cgroupns)
		return 0;
	if (q->number >= c->hierarchies->n)
		return -EINVAL;
	/* A mount of cgroup2 from there rewrites its options, nsdelegate among them, for the whole
	 * host. Its root is the hierarchy's, which is no scope. */
	if (cgroup.ino == PROC_CGROUP_INIT_INO)
		return 0;
	return root_find(c, q->pid, &cgroup, &c->hierarchies->list[q->number], &reply->root_id);
}

/* The kernel parses it and holds it to the parent's rules (security/device_cgroup.c). */
static int answer_write(const struct inspect_request *q, int fd)
{
	size_t left = strnlen(q->text, sizeof(q->text));
	const char *at = q->text;
	struct statfs fs;

	if (fd < 0 || fstatfs(fd, &fs) < 0 || fs.f_type != CGROUP_SUPER_MAGIC)
		return -EBADF;
	do {
		const char *end = q->number ? memchr(at, '\n', left) : NULL;
		size_t len = end ? (size_t)(end - at) : left;

		if (write(fd, at, len) < 0)
			return -errno;
		len += end != NULL;
		at += len;
		left -= len;
	} while (left > 0);
	return 0;
}

static int answer(struct child *c, const struct inspect_request *q, int fd,
	struct inspect_reply *reply, struct wire_tail *tail, int *ret_fd)
{
	int r;

	switch (q->op) {
	case INSPECT_REQUESTOR:
		return answer_requestor(c, q, reply);
	case INSPECT_ACCOUNT:
		return answer_account(c, q, reply);
	case INSPECT_PIDNS:
		r = ns_open(c, q->pid, "pid");
		if (r < 0)
			return r;
		*ret_fd = r;
		return 0;
	case INSPECT_MARK_SET:
	case INSPECT_MARK_CLEAR:
	case INSPECT_MARK_GET:
		return answer_mark(q, fd);
	case INSPECT_NOTE_SET:
	case INSPECT_NOTE_GET:
		return answer_note(q, fd, reply);
	case INSPECT_PERF_GET:
	case INSPECT_PERF_SET:
		return answer_perf(q, fd, tail);
	case INSPECT_SYSTEMD:
		return answer_systemd(c, fd);
	case INSPECT_VICTIMS:
		return answer_victims(c, q, reply);
	case INSPECT_PIDS_IN:
	case INSPECT_PIDS_FROM:
		return answer_translate(c, q, fd, reply);
	case INSPECT_PROGRAM:
	case INSPECT_PROGRAM_FD:
	case INSPECT_PROGRAM_MAP:
		return answer_program(q, reply, ret_fd);
	case INSPECT_WRITE:
		return answer_write(q, fd);
	case INSPECT_PIDS:
		return answer_pids(q, fd);
	case INSPECT_NODE:
		return answer_node(c, q, fd, reply, ret_fd);
	default:
		return -EINVAL;
	}
}

/* Wakes for what expires only while there is something. */
static void time_set(struct child *c)
{
	unsigned wanted = c->n_helpers > 0 ? HELPER_IDLE_MSEC / 1000
			  : c->n > 0	   ? CACHE_IDLE_SEC
					   : 0;
	const struct timeval timeout = {.tv_sec = wanted};

	if (c->timeout == wanted)
		return;
	setsockopt(c->sock, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	c->timeout = wanted;
}

static void serve(struct child *c)
{
	static char bytes[INSPECT_TAIL_MAX];

	for (;;) {
		_cleanup_close_ int fd = -EBADF;
		_cleanup_close_ int out = -EBADF;
		struct inspect_request request;
		struct inspect_reply reply = {0};
		struct wire_tail tail = {bytes, sizeof(bytes)};
		int r;

		time_set(c);
		r = wire_recv_tail(c->sock, &request, sizeof(request), &tail, &fd);
		if (r == -EAGAIN) {
			cache_expire(c);
			helpers_expire(c);
			continue;
		}
		if (r < 0)
			return;
		/* Work of others must not keep them where they can be seen. */
		helpers_expire(c);
		reply.seq = request.seq;
		reply.result = answer(c, &request, fd, &reply, &tail, &out);
		if (request.op != INSPECT_PERF_GET || reply.result <= 0)
			tail.size = 0;
		/* Before the core goes on: ours must not be the last reference to a client's
		 * socket, with what that may have in flight. */
		close_fd(&fd);
		if (wire_send_tail(c->sock, &reply, sizeof(reply), &tail, out) < 0)
			return;
	}
}

static void cap_freep(cap_t *caps)
{
	if (*caps)
		cap_free(*caps);
}

/* What is not there to begin with (a test without root) is not missed before somebody asks for it.
 */
static int caps_reduce(void)
{
	/* The last four are for nodes in containers, see inspect-node.c. */
	static const cap_value_t kept[] = {CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH,
		CAP_SYS_CHROOT, CAP_MKNOD, CAP_CHOWN, CAP_SETUID, CAP_SETGID};
	__attribute__((cleanup(cap_freep))) cap_t have = cap_get_proc();
	__attribute__((cleanup(cap_freep))) cap_t want = cap_init();

	if (!have || !want)
		return -errno;
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
		cap_flag_value_t is_set;

		if (cap_get_flag(have, kept[i], CAP_PERMITTED, &is_set) < 0)
			return -errno;
		if (cap_set_flag(want, CAP_PERMITTED, 1, &kept[i], is_set) < 0 ||
			cap_set_flag(want, CAP_EFFECTIVE, 1, &kept[i], is_set) < 0)
			return -errno;
	}
	/* Nothing is ever executed here; the bounding set needs CAP_SETPCAP, and matters only then.
	 */
	for (cap_value_t cap = 0; cap_get_bound(cap) >= 0; cap++)
		if (cap_drop_bound(cap) < 0)
			break;
	cap_reset_ambient();
	return cap_set_proc(want) < 0 ? -errno : 0;
}

/* As few fds as it can have: its socket becomes 3, all behind it is closed. */
static int fds_reduce(struct child *c, int sock)
{
	if (sock != 3 && dup2(sock, 3) < 0)
		return -errno;
	closefrom(4);
	c->sock = 3;
	c->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	c->root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->proc_fd < 0 || c->root_fd < 0)
		return -errno;
	return chdir("/") < 0 ? -errno : 0;
}

static int child_init(struct child *c, int sock, pid_t parent)
{
	int r;

	prctl(PR_SET_NAME, "cgmd-inspect");
	r = child_signals();
	if (r == 0)
		r = fds_reduce(c, sock);
	if (r < 0)
		return r;
	c->cgroupns_fd = ns_open(c, getpid(), "cgroup");
	if (c->cgroupns_fd < 0)
		return c->cgroupns_fd;
	c->pidns_fd = ns_open(c, getpid(), "pid");
	if (c->pidns_fd < 0)
		return c->pidns_fd;
	r = ns_of_pid(c, getpid(), "user", &c->userns);
	if (r == 0)
		r = ns_of_fd(c->pidns_fd, &c->pidns);
	if (r == 0)
		r = ns_of_fd(c->cgroupns_fd, &c->cgroupns);
	if (r == 0)
		r = caps_reduce();
	if (r < 0)
		return r;
	/* Its helpers are seen in containers, and must not be looked into from the first moment on.
	 */
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	/* After the credentials, for a change of these can take it back. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	return getppid() == parent ? 0 : -EPIPE;
}

_Noreturn void inspect_child_run(int sock, pid_t parent, const struct hierarchies *hierarchies)
{
	struct child *c = calloc(1, sizeof(*c));

	if (!c)
		_exit(1);
	c->hierarchies = hierarchies;
	if (child_init(c, sock, parent) < 0)
		_exit(1);
	serve(c);
	_exit(0);
}
