/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Process 1 of the virtual machine; static, with the kernel's modules alone in the initrd that
 * build makes.
 *
 * Loads /modules/NN-NAME.ko, mounts the host's root (9p, read-only) under a tmpfs, and the kernel's
 * own filesystems: of cgroups nothing but cgroup2, at /sys/fs/cgroup. Runs /machine/command, which
 * run wrote, on the virtio console, and says its exit status on the second serial line. With
 * machine.systemd on the kernel's command line it becomes systemd instead, where a unit that run
 * wrote does the same.
 *
 * Whatever fails ends the machine without a status; what failed stands in the kernel's log.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define PLAN9 "trans=virtio,version=9p2000.L,msize=512000"
#define ROOT "/new"
#define CONSOLE "/dev/hvc0"
#define STATUS "/dev/ttyS1"

static void stop(void)
{
	sync();
	reboot(RB_AUTOBOOT); /* which ends qemu, for it runs with -no-reboot */
	for (;;)
		pause();
}

static void need(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "init: %s: %s\n", what, strerror(errno));
	stop();
}

static void give(const char *type, const char *where, unsigned long flags, const char *options)
{
	mkdir(where, 0755);
	need(mount(type, where, type, flags, options), where);
}

/* What not every kernel has; the tests see for themselves. */
static void offer(const char *type, const char *where, const char *options)
{
	mkdir(where, 0755);
	if (mount(type, where, type, 0, options) < 0)
		fprintf(stderr, "init: %s: %s, ignoring\n", where, strerror(errno));
}

static void give_shared(const char *tag, const char *where, unsigned long flags, const char *cache)
{
	char options[128];

	mkdir(where, 0755);
	snprintf(options, sizeof(options), PLAN9 ",cache=%s", cache);
	need(mount(tag, where, "9p", flags, options), where);
}

/* The value of `key=` on the kernel's command line, or NULL. */
static char *argument(const char *key)
{
	static char line[4096];
	size_t length = strlen(key);

	if (!line[0]) {
		int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

		need(fd, "/proc/cmdline");
		need((int)read(fd, line, sizeof(line) - 1), "/proc/cmdline");
		close(fd);
	}
	for (char *at = line; (at = strstr(at, key)); at += length)
		if ((at == line || at[-1] == ' ') && at[length] == '=')
			return strndup(at + length + 1, strcspn(at + length + 1, " \n"));
	return NULL;
}

static void load_modules(void)
{
	struct dirent **files;
	int n = scandir("/modules", &files, NULL, alphasort);

	need(n, "/modules");
	for (int i = 0; i < n; i++) {
		char path[300];
		int fd;

		if (files[i]->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/modules/%s", files[i]->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		need(fd, path);
		if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
			need(-1, path);
		close(fd);
	}
}

static void copy_file(const char *from, const char *to)
{
	char block[65536];
	ssize_t n;
	int in = open(from, O_RDONLY | O_CLOEXEC), out;

	need(in, from);
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	need(out, to);
	while ((n = read(in, block, sizeof(block))) > 0)
		need(write(out, block, (size_t)n) == n ? 0 : -1, to);
	need((int)n, from);
	close(in);
	close(out);
}

/* The files of a directory that has no others in it. */
static void copy_files(const char *from, const char *to)
{
	char source[600], target[600];
	struct dirent *entry;
	DIR *dir = opendir(from);

	need(dir ? 0 : -1, from);
	mkdir(to, 0755);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(source, sizeof(source), "%s/%s", from, entry->d_name);
		snprintf(target, sizeof(target), "%s/%s", to, entry->d_name);
		copy_file(source, target);
	}
	closedir(dir);
}

static void mount_root(void)
{
	char *shared;

	give_shared("root", "/lower", MS_RDONLY, "loose");
	give("tmpfs", "/upper", 0, "mode=755");
	need(mkdir("/upper/files", 0755), "/upper/files");
	need(mkdir("/upper/work", 0755), "/upper/work");
	give("overlay", ROOT, 0, "lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work");
	copy_files("/machine", ROOT "/machine");
	shared = argument("machine.share");
	if (shared) {
		char path[600];

		snprintf(path, sizeof(path), ROOT "%s", shared);
		give_shared("share", path, 0, "none");
		free(shared);
	}
	give("tmpfs", ROOT "/run", MS_NOSUID | MS_NODEV, "mode=755");
}

static void mount_kernel(void)
{
	static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"}, {"fd/0", "/dev/stdin"},
		{"fd/1", "/dev/stdout"}, {"fd/2", "/dev/stderr"}};

	give("devpts", "/dev/pts", 0, "ptmxmode=666,gid=5,mode=620");
	give("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, NULL);
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		need(symlink(links[i][0], links[i][1]), links[i][1]);
	give("cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	offer("mqueue", "/dev/mqueue", NULL);
	offer("bpf", "/sys/fs/bpf", "mode=700");
	offer("securityfs", "/sys/kernel/security", NULL);
	offer("debugfs", "/sys/kernel/debug", NULL);
	offer("tracefs", "/sys/kernel/tracing", NULL);
}

static void enter_root(void)
{
	static const char *const moved[] = {"/dev", "/proc", "/sys"};
	char target[64];

	for (size_t i = 0; i < sizeof(moved) / sizeof(moved[0]); i++) {
		snprintf(target, sizeof(target), ROOT "%s", moved[i]);
		need(mount(moved[i], target, NULL, MS_MOVE, NULL), target);
	}
	need(chdir(ROOT), ROOT);
	need(mount(".", "/", NULL, MS_MOVE, NULL), "/");
	need(chroot("."), "chroot");
	need(chdir("/"), "/");
}

/* A link: a mount there would keep containers without privilege from binding /lib. */
static void link_modules(void)
{
	char *modules = argument("machine.modules"), path[600];
	struct utsname name;

	if (!modules)
		return;
	need(uname(&name), "uname");
	snprintf(path, sizeof(path), "/lib/modules/%s", name.release);
	mkdir("/lib/modules", 0755);
	if (symlink(modules, path) < 0 && errno != EEXIST)
		need(-1, path);
	free(modules);
}

static void become_systemd(void)
{
	/* With it systemd takes the machine for a container, and does not read the kernel's command
	 * line. */
	unlink("/.dockerenv");
	mkdir("/run/systemd", 0755);
	copy_files("/machine", "/run/systemd/system");
	execl("/lib/systemd/systemd", "systemd", NULL);
	need(-1, "/lib/systemd/systemd");
}

/* In the child: the console as it is given, without a terminal's additions. */
static void run_command(void)
{
	struct termios mode;
	int fd;

	setsid();
	fd = open(CONSOLE, O_RDWR);
	if (fd < 0)
		_exit(127);
	ioctl(fd, TIOCSCTTY, 0);
	if (tcgetattr(fd, &mode) == 0) {
		mode.c_oflag &= ~(tcflag_t)OPOST;
		mode.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(fd, TCSANOW, &mode);
	}
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
	execl("/bin/bash", "bash", "/machine/command", NULL);
	_exit(127);
}

static void tell_status(int status)
{
	int fd = open(STATUS, O_WRONLY | O_NOCTTY | O_CLOEXEC);

	need(fd, STATUS);
	dprintf(fd, "%d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	tcdrain(fd);
}

static void loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	need(fd, "socket");
	need(ioctl(fd, SIOCSIFFLAGS, &request), "loopback");
	close(fd);
}

int main(void)
{
	pid_t pid, ended;
	int status = 0;

	give("proc", "/proc", 0, NULL);
	give("sysfs", "/sys", 0, NULL);
	give("devtmpfs", "/dev", 0, NULL);
	load_modules();
	mount_root();
	mount_kernel();
	enter_root();
	link_modules();
	if (argument("machine.systemd"))
		become_systemd();
	need(sethostname("machine", strlen("machine")), "hostname");
	loopback_up();
	pid = fork();
	need(pid, "fork");
	if (pid == 0)
		run_command();
	do
		ended = wait(&status);
	while (ended != pid && !(ended < 0 && errno == ECHILD));
	tell_status(status);
	stop();
}
