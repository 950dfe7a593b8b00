/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "manager.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "../dbus/errors.h"
#include "cleanup.h"
#include "conf.h"
#include "devname.h"
#include "governed.h"
#include "log.h"
#include "op.h"
#include "peer.h"
#include "perf/grants.h"
#include "perf/keeper.h"
#include "perf/perf.h"
#include "perf/registry.h"
#include "proc.h"
#include "sandbox.h"
#include "scm.h"

#define SOCKET_DEFAULT "/run/cgmd/socket"
#define SOCKET_LEGACY "/sys/fs/cgroup/cgmanager/sock"
#define STOP_USEC (2 * 1000 * 1000)
/* The initial user namespace (PROC_USER_INIT_INO in the kernel's proc_ns.h). */
#define INIT_USER_INO 0xEFFFFFFDU
/* A client holds its socket, and what its messages are read from. */
#define FDS_PER_PEER 2
/* One that called lately holds a pidfd, a /proc directory, its cgroup file there and perhaps a pid
 * namespace. */
#define FDS_PER_RECENT 4
#define RECENT_MAX 512
/* A socket that was passed, and the same four of the process that is spoken for. */
#define FDS_PER_EXCHANGE 5
/* Among them two for each porter that there may be, and one for each that is to end. */
#define FDS_OWN 512
/* A listener, its worker's channel and pidfd. */
#define FDS_PERF (3 * PERF_SLOTS_MAX)
/* A call that waits for a worker holds two directories a hierarchy, or one hierarchy's file too,
 * its victim and a pid namespace. */
#define FDS_PER_HIERARCHY 2
#define FDS_PER_OP 3
#define KEPT_PEERS 64

static int fail(int r, const char *what)
{
	log_line(LOG_ERR, "%s: %s", what, strerror(-r));
	return r;
}

/* Ids in uid_map are the host's only for a reader in the initial user namespace. */
static int check_place(void)
{
	struct stat st;

	if (geteuid() != 0) {
		log_line(LOG_ERR, "cgmd must be started as root");
		return -EPERM;
	}
	if (stat("/proc/self/ns/user", &st) < 0)
		return fail(-errno, "/proc/self/ns/user");
	if (st.st_ino != INIT_USER_INO) {
		log_line(LOG_ERR,
			"cgmd must run in the initial user namespace; containers use the host's "
			"daemon through its socket");
		return -EPERM;
	}
	return 0;
}

/* The limit on open files, raised to what is wanted, and as far as may be: by it the kernel also
 * judges whether we may send one, while others of our uid may have many in flight (unix(7),
 * ETOOMANYREFS). */
static rlim_t raise_fd_limit(rlim_t wanted)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	if (limit.rlim_max < wanted) {
		const struct rlimit more = {wanted, wanted};

		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			return wanted;
	}
	/* Without CAP_SYS_RESOURCE, and above fs.nr_open, the hard limit is what there is. */
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_max;
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* No client gets a connection for which, or for whose calls, there would be no fds. */
static void bound_peers(struct manager *m)
{
	const struct options *o = m->options;
	struct accounts *as = &m->accounts;
	unsigned max = o->max_peers;
	rlim_t op = (rlim_t)m->hierarchies.n * FDS_PER_HIERARCHY + FDS_PER_OP;
	rlim_t ops = op * (WORKERS_QUEUE_MAX + WORKERS_MAX);
	rlim_t recent = RECENT_MAX * FDS_PER_RECENT, exchanges = EXCHANGES_MAX * FDS_PER_EXCHANGE;
	rlim_t perf = m->options->perf_off ? 0 : FDS_PERF;
	rlim_t wanted = FDS_OWN + perf + ops + recent + exchanges + (rlim_t)max * FDS_PER_PEER;
	rlim_t have = raise_fd_limit(wanted);

	if (have < wanted) {
		rlim_t own;

		/* Where there are few, a sixteenth each must do for what calls leave open, for
		 * exchanges and for perf, and an eighth for calls that wait, which are never that
		 * many. */
		recent = have / 16 < recent ? have / 16 : recent;
		exchanges = have / 16 < exchanges ? have / 16 : exchanges;
		ops = have / 8 < ops ? have / 8 : ops;
		perf = have / 16 < perf ? have / 16 : perf;
		own = (have / 4 < FDS_OWN ? have / 4 : FDS_OWN) + perf + ops + recent + exchanges;
		max = least(max, (unsigned)((have - own) / FDS_PER_PEER));
		log_line(LOG_NOTICE, "the limit on open files allows %u clients, not %u", max,
			o->max_peers);
	}
	m->max_recent = least(RECENT_MAX, (unsigned)(recent / FDS_PER_RECENT));
	as->exchanges_max = (unsigned)(exchanges / FDS_PER_EXCHANGE);
	as->connections_max = max < 1 ? 1 : max;
	as->connections_kept = least(KEPT_PEERS, max / 4);
	as->connections_max_account = least(o->max_peers_uid, max < 4 ? 1 : max / 4);
}

static int delegation_add(struct manager *m, const char *name)
{
	if (m->n_delegation == DELEGATION_FILES_MAX)
		return 0;
	m->delegation[m->n_delegation] = strdup(name);
	return m->delegation[m->n_delegation++] ? 0 : -ENOMEM;
}

/* What the kernel says may be delegated (cgroup-v2.rst, "Delegation Containment"; since 4.15),
 * without memory.reclaim, which acts on the host's memory. */
static int delegation_read(struct manager *m)
{
	static const char fallback[] = "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n";
	char text[4096], *state = NULL, *name;
	int r = 0;

	if (proc_read(AT_FDCWD, "/sys/kernel/cgroup/delegate", text, sizeof(text)) <= 0)
		memcpy(text, fallback, sizeof(fallback));
	for (name = strtok_r(text, "\n", &state); r >= 0 && name;
		name = strtok_r(NULL, "\n", &state))
		if (strcmp(name, "memory.reclaim") != 0)
			r = delegation_add(m, name);
	return r;
}

/* A /proc of our own, which no path shows: one that is mounted with hidepid would hide clients from
 * a core without SYS_PTRACE. */
static int proc_mount(void)
{
	_cleanup_close_ int context = fsopen("proc", FSOPEN_CLOEXEC);
	int fd;

	if (context < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(context, FSMOUNT_CLOEXEC,
		MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_procs(struct manager *m)
{
	m->proc_fd = proc_mount();
	if (m->proc_fd < 0)
		m->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (m->proc_fd < 0)
		return fail(-errno, "/proc");
	m->pidns_fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	return m->pidns_fd < 0 ? fail(-errno, "/proc/self/ns/pid") : 0;
}

/* Where tracepoints have their numbers: its own mount point, or the older one. */
static int open_tracefs(void)
{
	static const char *const places[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};
	struct statfs fs;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int fd = open(places[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == TRACEFS_MAGIC)
			return fd;
		close_fd(&fd);
	}
	return -EBADF;
}

static int open_sys(struct manager *m)
{
	m->sys_fd = open("/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	m->tracefs_fd = open_tracefs();
	return m->sys_fd < 0 ? fail(-errno, "/sys") : 0;
}

static void on_accepted(void *userdata, int fd)
{
	peer_accept(userdata, fd);
}

static uint64_t on_pause(void *userdata)
{
	return peers_pause(userdata);
}

static const struct listener_ops listener_ops = {.accepted = on_accepted, .pause = on_pause};

static int listen_path(struct manager *m, const char *path)
{
	int r;

	if (m->n_listeners == LISTENERS_MAX)
		return fail(-E2BIG, path);
	r = listener_new_path(
		m->event, m->porters, path, &listener_ops, m, &m->listeners[m->n_listeners]);
	if (r == -EADDRINUSE) {
		log_line(LOG_ERR, "another instance serves %s; it was left alone", path);
		return r;
	}
	if (r < 0)
		return fail(r, path);
	m->n_listeners++;
	return 0;
}

/* Old clients look for the socket there, where that is not itself a cgroup file system. */
static bool legacy_possible(void)
{
	struct statfs fs;

	return statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

/* What an earlier daemon left with systemd for perf is no socket. perf_new() takes it, if there is
 * somebody to serve it. */
static bool is_perfs(const struct manager *m, const char *name, int fd)
{
	if (!keeper_inherited(name))
		return false;
	if (!m->spawner) {
		keeper_disown(name);
		close(fd);
	}
	return true;
}

static int listen_inherited(struct manager *m, char **names, int n)
{
	int r = 0;

	for (int i = 0; r >= 0 && i < n; i++) {
		if (is_perfs(m, names[i], SD_LISTEN_FDS_START + i))
			continue;
		if (m->n_listeners == LISTENERS_MAX)
			return fail(-E2BIG, "inherited sockets");
		r = listener_new_fd(m->event, m->porters, SD_LISTEN_FDS_START + i, &listener_ops, m,
			&m->listeners[m->n_listeners]);
		if (r < 0)
			return fail(r, "an inherited file descriptor is no listening unix stream "
				       "socket");
		m->n_listeners++;
	}
	return r;
}

static int listen_all(struct manager *m)
{
	const struct options *o = m->options;
	char **names = NULL;
	int n = sd_listen_fds_with_names(0, &names), r;

	if (n < 0)
		return fail(n, "LISTEN_FDS");
	r = listen_inherited(m, names, n);
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
	n = m->n_listeners;
	for (unsigned i = 0; r >= 0 && i < o->n_sockets; i++)
		r = listen_path(m, o->sockets[i]);
	if (r < 0 || o->n_sockets > 0)
		return r;
	if (n == 0)
		r = listen_path(m, SOCKET_DEFAULT);
	if (r < 0 || !legacy_possible())
		return r;
	/* A convenience for old clients, on a tmpfs that may be read-only: nobody named it. */
	r = listen_path(m, SOCKET_LEGACY);
	return r == -EADDRINUSE ? r : 0;
}

static int discover(struct manager *m)
{
	char what[512] = "";
	int r = hierarchies_discover(
		&m->hierarchies, m->options->mount, m->options->ignore, what, sizeof(what));

	if (r == -ENODEV && !what[0])
		log_line(LOG_ERR, "no cgroup hierarchy is mounted whole here; mount one, or name "
				  "controllers with -m");
	else if (r < 0)
		fail(r, what[0] ? what : "cgroup hierarchies");
	return r;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct manager *m = userdata;

	return sd_event_exit(m->event, 0);
}

/* Its errors are in the log; what was granted before then stays. */
static void read_policy(struct manager *m)
{
	int r = conf_load(m->options->policy, &m->grants);

	if (r == 0 && m->grants.n > 0)
		log_line(LOG_INFO, "%s: %u sections", m->options->policy, m->grants.n);
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct manager *m = userdata;

	read_policy(m);
	/* What root has written by hand counts from now on, too. */
	perf_records_forget();
	perf_changed(m->perf);
	return 0;
}

static void on_devices(void *userdata)
{
	struct manager *m = userdata;

	governed_changed(m->governed);
	perf_changed(m->perf);
}

static int on_inspector_end(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	manager_fail(userdata, -EPIPE, "the inspector has ended");
	return 0;
}

static int on_zygote_end(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	manager_fail(userdata, -EPIPE, "the porters' zygote has ended");
	return 0;
}

static int start_porters(struct manager *m)
{
	int fd = zygote_pidfd(m->zygote), r = porters_new(m->event, m->zygote, &m->porters);

	return r < 0 ? r : sd_event_add_io(m->event, NULL, fd, EPOLLIN, on_zygote_end, m);
}

static int watch_inspector(struct manager *m)
{
	int fd = inspector_pidfd(m->inspector);

	/* Without, its end shows at the next question. */
	return fd < 0 ? 0 : sd_event_add_io(m->event, NULL, fd, EPOLLIN, on_inspector_end, m);
}

static int add_signals(struct manager *m)
{
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	r = sd_event_add_signal(m->event, NULL, SIGTERM, on_signal, m);
	if (r >= 0)
		r = sd_event_add_signal(m->event, NULL, SIGHUP, on_reload, m);
	return r < 0 ? r : sd_event_add_signal(m->event, NULL, SIGINT, on_signal, m);
}

/* After the children have been forked: only the core has the programs' fds. */
static int start_devprog(struct manager *m)
{
	static const enum devprog_kind forced[] = {
		[DEVICES_STORAGE] = DEVPROG_STORAGE, [DEVICES_PROGRAMS] = DEVPROG_PROGRAMS};
	const struct options *o = m->options;
	int r;

	if (!hierarchy_find(&m->hierarchies, "unified", strlen("unified")))
		return devprog_off("no cgroup v2 hierarchy is mounted here", &m->devprog);
	if (o->device_programs == DEVICES_OFF)
		return devprog_off("turned off by --device-programs=off", &m->devprog);
	r = devprog_new(o->bpffs, forced[o->device_programs], &m->devprog);
	if (r >= 0 && devprog_kind(m->devprog) == DEVPROG_NONE)
		log_line(
			LOG_NOTICE, "no device programs on cgroup v2: %s", devprog_why(m->devprog));
	else if (r >= 0)
		r = hierarchies_by_program(&m->hierarchies);
	return r;
}

/* NULL: it runs. */
static const char *start_spawner(struct manager *m)
{
	int r;

	if (m->options->perf_off)
		return "turned off by --perf=off";
	if (!perf_hierarchy(m) && m->hierarchies.v1_perf)
		return "v1's perf_event is left alone (-M), or is not mounted whole";
	if (!perf_hierarchy(m))
		return "there is neither cgroup v2 nor v1's perf_event, which -m mounts";
	r = spawner_start(!m->options->no_sandbox, &m->spawner);
	if (r == -EOPNOTSUPP)
		return "the kernel has no perf_event_open";
	if (r < 0)
		log_line(LOG_WARNING, "starting perf's spawner: %s", strerror(-r));
	return r < 0 ? "its processes could not be started; the log says why" : NULL;
}

static int confine(const struct manager *m)
{
	struct sandbox_bpf bpf;
	int r;

	if (m->options->no_sandbox)
		return 0;
	devprog_rights(m->devprog, &bpf);
	bpf.keys = perf_gated(m->perf);
	r = sandbox_capabilities(&bpf);
	if (r < 0)
		return fail(r, "giving up capabilities");
	r = sandbox_syscalls(&bpf);
	if (r < 0)
		log_line(LOG_NOTICE, "no system call filter: %s, ignoring", strerror(-r));
	return 0;
}

static int manager_start(struct manager *m)
{
	const char *no_perf;
	int r = check_place();

	if (r >= 0)
		r = discover(m);
	if (r >= 0)
		r = delegation_read(m);
	if (r >= 0)
		r = open_procs(m);
	if (r >= 0)
		r = open_sys(m);
	if (r < 0)
		return r;
	bound_peers(m);
	/* Before threads and clients: it is a copy of this process. */
	r = inspector_start(&m->hierarchies, &m->inspector);
	if (r < 0)
		return fail(r, "starting the inspector");
	r = zygote_start(!m->options->no_sandbox, &m->zygote);
	if (r < 0)
		return fail(r, "starting the porters' zygote");
	no_perf = start_spawner(m);
	r = devlocks_new(&m->devlocks);
	if (r >= 0)
		r = start_devprog(m);
	if (r < 0)
		return fail(r, "loading the device programs");
	r = sd_event_new(&m->event);
	if (r >= 0)
		r = add_signals(m);
	if (r >= 0)
		r = watch_inspector(m);
	if (r >= 0)
		r = start_porters(m);
	if (r >= 0)
		r = peers_init(m);
	if (r >= 0)
		r = workers_new(m->event, &m->workers);
	if (r >= 0)
		r = watch_new(m->event, m->inspector, &m->hierarchies, &m->watch);
	if (r >= 0)
		r = governed_new(m, &m->governed);
	if (r >= 0)
		r = devnames_new(m->event, on_devices, m, &m->devnames);
	if (r < 0)
		return fail(r, "starting the event loop");
	read_policy(m);
	r = listen_all(m);
	if (r < 0)
		return r;
	r = perf_new(m, m->spawner, no_perf, &m->perf);
	if (r < 0)
		return fail(r, "starting perf");
	r = confine(m);
	if (r < 0)
		return r;
	r = governed_walk(m->governed);
	if (r < 0)
		log_line(LOG_WARNING, "not all cgroups could be looked at for device rules: %s",
			strerror(-r));
	r = watch_scan(m->watch);
	return r < 0 ? fail(r, "looking for marked cgroups") : 0;
}

int manager_new(const struct options *options, struct manager **ret)
{
	struct manager *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->options = options;
	m->proc_fd = m->pidns_fd = m->sys_fd = m->tracefs_fd = -EBADF;
	r = errors_register();
	if (r >= 0)
		r = manager_start(m);
	if (r < 0) {
		manager_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

struct manager *manager_free(struct manager *m)
{
	if (!m)
		return NULL;
	while (m->n_listeners > 0)
		listener_free(m->listeners[--m->n_listeners]);
	peers_done(m);
	if (m->devlocks)
		devlocks_end(m->devlocks);
	/* A write that waits for reclaim cannot be called back; the process may end all the same.
	 */
	if (m->workers && workers_stop(m->workers, STOP_USEC) < 0)
		log_line(LOG_WARNING, "a write still waits in the kernel, ignoring");
	if (m->workers)
		workers_finish(m->workers);
	scm_finish(m);
	unread_done(m);
	perf_free(m->perf);
	/* Exchanges outlive their peers, and so do their accounts. */
	accounts_done(&m->accounts);
	watch_free(m->watch);
	devnames_free(m->devnames);
	governed_free(m->governed);
	workers_free(m->workers);
	porters_free(m->porters);
	devprog_free(m->devprog);
	devlocks_free(m->devlocks);
	spawner_free(m->spawner);
	zygote_free(m->zygote);
	inspector_free(m->inspector);
	grants_done(&m->grants);
	hierarchies_done(&m->hierarchies);
	sd_event_unref(m->event);
	close_fd(&m->proc_fd);
	close_fd(&m->pidns_fd);
	close_fd(&m->sys_fd);
	close_fd(&m->tracefs_fd);
	for (unsigned i = 0; i < m->n_delegation; i++)
		free(m->delegation[i]);
	free(m->spare_op);
	free(m);
	return NULL;
}

int manager_run(struct manager *m)
{
	int r = sd_event_loop(m->event);

	sd_notify(0, "STOPPING=1");
	return r;
}

void manager_fail(struct manager *m, int err, const char *what)
{
	fail(err, what);
	sd_event_exit(m->event, err);
}
