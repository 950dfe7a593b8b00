/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names in trees that are made up, and paths in mount namespaces of the tests' own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../policy/devices.h"
#include "devices.h"

#define ANY DEVICE_MINOR_MAX
#define IGP "pci0000:00/0000:00:02.0"
#define AMD "pci0000:00/0000:04:00.0"

static struct devnames *d;
static struct devname_entry *found;
static unsigned n_found;

static int setup(void **state)
{
	struct device_roots roots;

	devices_begin();
	roots = devices_roots();
	return devnames_new_at(&roots, NULL, NULL, NULL, &d);
}

static int teardown(void **state)
{
	d = devnames_free(d);
	free(found);
	found = NULL;
	n_found = 0;
	devices_end();
	return 0;
}

static int resolve(const char *name)
{
	free(found);
	found = NULL;
	n_found = 0;
	return devname_resolve(d, name, &found, &n_found);
}

/* Both ways give the same. */
static void look(const char *name, unsigned n)
{
	struct device_range *ranges = NULL;
	unsigned n_ranges = 0;

	assert_int_equal(resolve(name), 0);
	assert_int_equal(n_found, n);
	assert_int_equal(devname_ranges(d, name, &ranges, &n_ranges), 0);
	assert_int_equal(n_ranges, n);
	for (unsigned i = 0; i < n; i++)
		assert_memory_equal(&ranges[i], &found[i].range, sizeof(ranges[i]));
	free(ranges);
}

static void none(const char *name, int err)
{
	struct device_range *ranges = NULL;
	unsigned n_ranges = 0;

	assert_int_equal(resolve(name), err);
	assert_null(found);
	assert_int_equal(n_found, 0);
	assert_int_equal(devname_ranges(d, name, &ranges, &n_ranges), err);
	assert_null(ranges);
	assert_int_equal(n_ranges, 0);
}

static bool has(uint32_t major, uint32_t first, uint32_t last, const char *node)
{
	for (unsigned i = 0; i < n_found; i++) {
		const struct device_range *r = &found[i].range;

		if (r->types != DEVICE_CHAR || r->access != DEVICE_ALL || r->major != major ||
			r->first != first || r->last != last)
			continue;
		if (devices_nodes())
			assert_string_equal(found[i].node, node);
		return true;
	}
	return false;
}

static void test_fixed(void **state)
{
	devices_file("sys/dev/char/10:232/uevent", "MAJOR=10\nMINOR=232\nDEVNAME=kvm\n");
	devices_node("dev/kvm", 10, 232);
	devices_file("sys/dev/char/10:200/uevent", "MAJOR=10\nMINOR=200\nDEVNAME=net/tun\n");
	devices_node("dev/net/tun", 10, 201);
	look("kvm", 1);
	assert_true(has(10, 232, 232, "/dev/kvm"));
	/* a node of that name, but another device's */
	look("tun", 1);
	assert_true(has(10, 200, 200, ""));
	/* known to the kernel under no name */
	look("fuse", 1);
	assert_true(has(10, 229, 229, ""));
	look("snd", 1);
	assert_true(has(116, 0, ANY, ""));
	look("ttyS", 1);
	assert_true(has(4, 64, 255, ""));
	look("loop", 1);
	assert_int_equal(found[0].range.types, DEVICE_BLOCK);
	look("oci-default", 11);
	assert_int_equal(found[0].range.access, DEVICE_MKNOD);
	assert_int_equal(found[0].range.major, DEVICE_ANY);
	assert_int_equal(found[1].range.types, DEVICE_BLOCK);
	assert_true(has(1, 3, 3, ""));
	look("all-mknod", 2);
}

static void test_unknown(void **state)
{
	none("bogus", -EINVAL);
	none("", -EINVAL);
	none("gpu:", -EINVAL);
	none("nvidia:x", -EINVAL);
	none("/etc/passwd", -EINVAL);
	none("gpu@0000:09:00.0", -ENOENT);
	none("gpu@0000:09:00.0:render", -ENOENT);
	none("nvidia:0", -ENOENT);
	/* kinds, of which there are none now */
	look("gpu", 0);
	look("gpu:render", 0);
	look("gpu:i915", 0);
	look("gpu:i915:render", 0);
	look("nvidia", 0);
	look("kfd", 0);
}

static void cards(void)
{
	devices_card(&(struct fake_card){IGP, "i915", "card0", 0});
	devices_card(&(struct fake_card){IGP, "i915", "renderD128", 128});
	devices_card(&(struct fake_card){AMD, "amdgpu", "card1", 1});
	devices_card(&(struct fake_card){AMD, "amdgpu", "renderD129", 129});
	devices_drm("0000:00:02.0", "8086:4680", "card0", "renderD128");
	devices_drm("0000:04:00.0", "1002:73bf", "card1", "renderD129");
	devices_file("proc/devices", "Character devices:\n241 kfd\n");
	devices_file("sys/dev/char/241:0/uevent", "MAJOR=241\nMINOR=0\nDEVNAME=kfd\n");
	devices_node("dev/kfd", 241, 0);
}

static void test_gpu(void **state)
{
	cards();
	look("gpu", 5);
	assert_true(has(226, 0, 0, "/dev/dri/card0"));
	assert_true(has(226, 128, 128, "/dev/dri/renderD128"));
	assert_true(has(226, 1, 1, "/dev/dri/card1"));
	assert_true(has(226, 129, 129, "/dev/dri/renderD129"));
	assert_true(has(241, 0, 0, "/dev/kfd"));
	look("gpu:render", 2);
	assert_true(has(226, 128, 128, "/dev/dri/renderD128"));
	assert_true(has(226, 129, 129, "/dev/dri/renderD129"));
	look("gpu:i915", 2);
	assert_true(has(226, 0, 0, "/dev/dri/card0"));
	look("gpu:i915:render", 1);
	look("gpu:xe", 0);
	look("gpu:i91", 0);
	look("gpu:amdgpu", 3);
	look("gpu@0000:04:00.0", 3);
	assert_true(has(241, 0, 0, "/dev/kfd"));
	look("gpu@0000:04:00.0:render", 1);
	assert_true(has(226, 129, 129, "/dev/dri/renderD129"));
	none("gpu@0000:04:00", -ENOENT);
	look("kfd", 1);
	assert_true(has(241, 0, 0, "/dev/kfd"));
}

/* The same names after another boot: other minors, another major. */
static void test_renumbered(void **state)
{
	cards();
	look("gpu@0000:04:00.0:render", 1);
	assert_true(has(226, 129, 129, "/dev/dri/renderD129"));
	devices_card_gone(&(struct fake_card){IGP, "i915", "renderD128", 128});
	devices_card_gone(&(struct fake_card){AMD, "amdgpu", "renderD129", 129});
	devices_card(&(struct fake_card){AMD, "amdgpu", "renderD128", 128});
	devices_drm_none();
	devices_drm("0000:04:00.0", "1002:73bf", "card1", "renderD128");
	devices_file("proc/devices", "Character devices:\n240 kfd\n");
	look("gpu@0000:04:00.0:render", 1);
	assert_true(has(226, 128, 128, "/dev/dri/renderD128"));
	look("gpu:i915", 1);
	look("kfd", 1);
	assert_true(has(240, 0, 0, ""));
	devices_file("proc/devices", "Character devices:\n");
	look("kfd", 0);
}

static void nvidia(const char *address, const char *minor)
{
	char path[96], text[64];

	snprintf(path, sizeof(path), "proc/driver/nvidia/gpus/%s/information", address);
	snprintf(text, sizeof(text), "Model: x\nDevice Minor: \t %s\n", minor);
	devices_file(path, text);
}

static void test_nvidia(void **state)
{
	nvidia("0000:06:00.0", "1");
	nvidia("0000:07:00.0", "0");
	devices_file("proc/devices", "Character devices:\n195 nvidia\n236 nvidia-uvm\n"
				     "237 nvidia-caps\n");
	devices_node("dev/nvidia0", 195, 0);
	look("nvidia", 7);
	assert_true(has(195, 0, 0, "/dev/nvidia0"));
	assert_true(has(195, 1, 1, ""));
	assert_true(has(195, 254, 254, ""));
	assert_true(has(195, 255, 255, ""));
	assert_true(has(236, 0, 0, ""));
	assert_true(has(236, 1, 1, ""));
	assert_true(has(237, 0, ANY, ""));
	look("nvidia:0", 5);
	assert_true(has(195, 0, 0, "/dev/nvidia0"));
	assert_false(has(195, 1, 1, ""));
	assert_false(has(237, 0, ANY, ""));
	none("nvidia:2", -ENOENT);
	look("gpu", 6);
	look("gpu:nvidia", 6);
	look("gpu@0000:06:00.0", 5);
	assert_true(has(195, 1, 1, ""));
	look("gpu:render", 0);
}

/* To what is there already; and not if it fails. */
static void test_append(void **state)
{
	struct devname_entry *list = NULL;
	struct device_range *ranges = NULL;
	unsigned n = 0, n_ranges = 0;

	assert_int_equal(devname_resolve(d, "kvm", &list, &n), 0);
	assert_int_equal(devname_resolve(d, "bogus", &list, &n), -EINVAL);
	assert_int_equal(devname_resolve(d, "gpu", &list, &n), 0);
	assert_int_equal(devname_resolve(d, "fuse", &list, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(list[0].range.first, 232);
	assert_int_equal(list[1].range.first, 229);
	assert_int_equal(devname_ranges(d, "kvm", &ranges, &n_ranges), 0);
	assert_int_equal(devname_ranges(d, "bogus", &ranges, &n_ranges), -EINVAL);
	assert_int_equal(devname_ranges(d, "oci-default", &ranges, &n_ranges), 0);
	assert_int_equal(n_ranges, 12);
	assert_int_equal(ranges[0].first, 232);
	assert_int_equal(ranges[11].first, 200);
	free(list);
	free(ranges);
}

/* ---- paths: the tree's dev is a tmpfs, as a daemon's /dev may be, and /proc is the real one */

static char dev[64];

static void at_dev(char *path, const char *name)
{
	snprintf(path, 128, "%s/%s", dev, name);
}

static void make_node(const char *name, mode_t type, unsigned major, unsigned minor)
{
	char path[128];

	at_dev(path, name);
	assert_int_equal(mknod(path, type | 0600, makedev(major, minor)), 0);
}

static void make_dir(const char *name)
{
	char path[128];

	at_dev(path, name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static void make_mount(const char *type, const char *name, unsigned long flags)
{
	char path[128];

	make_dir(name);
	at_dev(path, name);
	assert_int_equal(mount(type, path, type, flags, NULL), 0);
}

/* In a mount namespace of this test's own, which it is left in. */
static void private_dev(void)
{
	struct device_roots roots;

	strcpy(dev, "/tmp/cgmd-test-devname-XXXXXX");
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || !mkdtemp(dev)) {
		dev[0] = '\0';
		print_message("no mount namespace: skipped\n");
		skip();
	}
	assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("tmpfs", dev, "tmpfs", 0, "mode=755"), 0);
	assert_int_equal(device_roots_open(&roots), 0);
	close(roots.dev);
	roots.dev = open(dev, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(devnames_new_at(&roots, NULL, NULL, NULL, &d), 0);
}

static int no_dev(void **state)
{
	d = devnames_free(d);
	free(found);
	found = NULL;
	n_found = 0;
	if (dev[0]) {
		assert_int_equal(umount2(dev, MNT_DETACH), 0);
		assert_int_equal(rmdir(dev), 0);
	}
	dev[0] = '\0';
	return 0;
}

static void test_paths(void **state)
{
	char path[128];

	private_dev();
	make_node("null", S_IFCHR, 1, 3);
	make_node("disk", S_IFBLK, 8, 1);
	make_node("pipe", S_IFIFO, 0, 0);
	make_dir("net");
	make_node("net/tun", S_IFCHR, 10, 200);
	at_dev(path, "file");
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	at_dev(path, "link");
	assert_int_equal(symlink("null", path), 0);
	at_dev(path, "dirlink");
	assert_int_equal(symlink("net", path), 0);

	look("/dev/null", 1);
	assert_true(has(1, 3, 3, "/dev/null"));
	look("/dev/net/tun", 1);
	assert_true(has(10, 200, 200, "/dev/net/tun"));
	look("/dev/disk", 1);
	assert_int_equal(found[0].range.types, DEVICE_BLOCK);
	assert_int_equal(found[0].range.major, 8);
	none("/dev/none", -ENOENT);
	none("/dev/none/null", -ENOENT);
	none("/dev/null/x", -ENOENT);
	none("/dev/null/", -ENOENT);
	none("/dev//null", -ENOENT);
	none("/dev/net", -ENXIO);
	none("/dev/file", -ENXIO);
	none("/dev/pipe", -ENXIO);
	none("/dev/link", -ENOTSUP);
	none("/dev/dirlink/tun", -ENOTSUP);
	none("/dev/..", -ENOTSUP);
	none("/dev/../dev/null", -ENOTSUP);
	none("/dev/net/../null", -ENOTSUP);
	none("/dev/net/..", -ENOTSUP);
}

static void test_file_systems(void **state)
{
	char path[128];

	private_dev();
	make_node("null", S_IFCHR, 1, 3);
	make_mount("tmpfs", "shm", 0);
	make_node("shm/null", S_IFCHR, 1, 3);
	make_mount("devtmpfs", "real", 0);
	make_mount("devpts", "pts", 0);
	make_mount("devtmpfs", "nodev", MS_NODEV);
	/* one node, bound from a devtmpfs as container managers do, and from elsewhere */
	make_node("bound", S_IFCHR, 1, 5);
	at_dev(path, "bound");
	assert_int_equal(mount("/dev/null", path, NULL, MS_BIND, NULL), 0);
	make_node("astray", S_IFCHR, 1, 5);
	at_dev(path, "astray");
	{
		char from[128];

		at_dev(from, "shm/null");
		assert_int_equal(mount(from, path, NULL, MS_BIND, NULL), 0);
	}
	look("/dev/real/null", 1);
	assert_true(has(1, 3, 3, "/dev/real/null"));
	look("/dev/pts/ptmx", 1);
	look("/dev/bound", 1);
	assert_true(has(1, 3, 3, "/dev/bound"));
	none("/dev/shm", -ENOTSUP);
	none("/dev/shm/null", -ENOTSUP);
	none("/dev/shm/none", -ENOTSUP);
	none("/dev/nodev/null", -ENOTSUP);
	none("/dev/astray", -ENOTSUP);

	/* /dev itself with nodev */
	look("/dev/null", 1);
	assert_int_equal(mount(NULL, dev, NULL, MS_REMOUNT | MS_BIND | MS_NODEV, NULL), 0);
	none("/dev/null", -ENOTSUP);
	look("/dev/real/null", 1);
}

static void send_fd(int to, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(fd))] = {0};
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (sendmsg(to, &m, 0) != 1)
		_exit(2);
}

static int receive_fd(int from)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	int fd;

	if (recvmsg(from, &m, MSG_CMSG_CLOEXEC) != 1 || !(c = CMSG_FIRSTHDR(&m)))
		return -EBADF;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static void write_own(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		_exit(3);
	close(fd);
}

/* A child's tmpfs, of its own user namespace, where root is root. */
static int foreign_tmpfs(void)
{
	int pair[2], status, fd;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	if (pid == 0) {
		int context;

		if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
			_exit(1);
		write_own("/proc/self/setgroups", "deny");
		write_own("/proc/self/uid_map", "0 0 1");
		write_own("/proc/self/gid_map", "0 0 1");
		context = (int)syscall(SYS_fsopen, "tmpfs", 0);
		if (context < 0 ||
			syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
			_exit(4);
		send_fd(pair[1], (int)syscall(SYS_fsmount, context, 0, 0));
		_exit(0);
	}
	close(pair[1]);
	fd = receive_fd(pair[0]);
	close(pair[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return fd;
}

/* The kernel opens no node there, so none stands for a device. */
static void test_foreign_file_system(void **state)
{
	char path[128];
	int fd;

	private_dev();
	fd = foreign_tmpfs();
	if (fd < 0) {
		print_message("no user namespace: skipped\n");
		skip();
	}
	make_dir("theirs");
	at_dev(path, "theirs");
	assert_int_equal(
		syscall(SYS_move_mount, fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH), 0);
	close(fd);
	make_node("theirs/null", S_IFCHR, 1, 3);
	at_dev(path, "theirs/null");
	assert_int_equal(open(path, O_RDONLY | O_CLOEXEC), -1);
	assert_int_equal(errno, EACCES);
	none("/dev/theirs/null", -ENOTSUP);
}

/* ---- what is kept, and for how long; with the kernel's own events */

#define ASKED "/sys/class/mem/null/uevent"

static sd_event *loop;
static unsigned changes;

static void on_changed(void *userdata)
{
	assert_ptr_equal(userdata, &changes);
	changes++;
}

static int setup_loop(void **state)
{
	struct device_roots roots;

	devices_begin();
	roots = devices_roots();
	changes = 0;
	return sd_event_new(&loop) < 0 ? -1
				       : devnames_new_at(&roots, loop, on_changed, &changes, &d);
}

static int teardown_loop(void **state)
{
	teardown(state);
	loop = sd_event_unref(loop);
	return 0;
}

static bool ask(void)
{
	int fd = open(ASKED, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, "add", 3);

	if (fd >= 0)
		close(fd);
	return n == 3;
}

static void test_kept(void **state)
{
	bool kept = false;
	unsigned before;

	cards();
	/* devices may come and go here at any time, but hardly each time */
	for (int i = 0; !kept && i < 20; i++) {
		while (sd_event_run(loop, 0) > 0)
			;
		look("gpu", 5);
		before = devices_drm_asked();
		look("gpu", 5);
		look("gpu:render", 2);
		kept = devices_drm_asked() == before;
	}
	assert_true(kept);
	if (!ask()) {
		print_message("%s cannot be written: skipped\n", ASKED);
		skip();
	}
	/* at once, whether the loop has seen it or not */
	devices_drm_none();
	devices_card_gone(&(struct fake_card){IGP, "i915", "renderD128", 128});
	look("gpu:render", 1);
	assert_int_equal(changes, 0);
	while (changes == 0)
		assert_true(sd_event_run(loop, 1000000) >= 0);
	look("gpu:render", 1);
}

/* Who makes NVIDIA's nodes tells nobody. */
static void test_not_kept(void **state)
{
	unsigned before;

	nvidia("0000:06:00.0", "0");
	devices_file("proc/devices", "Character devices:\n195 nvidia\n");
	look("gpu", 3);
	before = devices_drm_asked();
	devices_node("dev/nvidia0", 195, 0);
	look("gpu", 3);
	assert_true(devices_drm_asked() > before);
	assert_true(has(195, 0, 0, "/dev/nvidia0"));
}

static _Atomic bool stop;

static void *resolver(void *userdata)
{
	unsigned *n = userdata;

	for (*n = 0; !stop || *n < 100; ++*n) {
		struct device_range *ranges = NULL;
		struct gpu *gpus = NULL;
		unsigned n_ranges = 0, n_gpus = 0;

		if (devname_ranges(d, "gpu", &ranges, &n_ranges) < 0 || n_ranges != 5 ||
			devname_gpus(d, &gpus, &n_gpus) < 0 || n_gpus != 2)
			return userdata;
		free(ranges);
		free(gpus);
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[4];
	unsigned n[4];
	bool bad = false;

	cards();
	stop = false;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, resolver, &n[i]), 0);
	for (int i = 0; i < 50; i++) {
		(void)ask();
		assert_true(sd_event_run(loop, 1000) >= 0);
	}
	stop = true;
	for (int i = 0; i < 4; i++) {
		void *result;

		assert_int_equal(pthread_join(threads[i], &result), 0);
		bad = bad || result;
	}
	assert_false(bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fixed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gpu, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renumbered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nvidia, setup, teardown),
		cmocka_unit_test_setup_teardown(test_append, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept, setup_loop, teardown_loop),
		cmocka_unit_test_setup_teardown(test_not_kept, setup_loop, teardown_loop),
		cmocka_unit_test_setup_teardown(test_threads, setup_loop, teardown_loop),
		cmocka_unit_test_teardown(test_paths, no_dev),
		cmocka_unit_test_teardown(test_file_systems, no_dev),
		cmocka_unit_test_teardown(test_foreign_file_system, no_dev),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
