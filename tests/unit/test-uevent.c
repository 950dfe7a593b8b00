/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's messages. It is asked for some by way of sysfs, for which one has to be root. */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../daemon/uevent.h"

#define ASKED "/sys/class/mem/null/uevent"

static sd_event *loop;
static struct uevents *u;
static unsigned changes;

static void on_changed(void *userdata)
{
	(void)userdata;
	changes++;
}

static int setup(void **state)
{
	changes = 0;
	return sd_event_new(&loop) < 0 || uevents_new(loop, on_changed, NULL, &u) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	u = uevents_free(u);
	loop = sd_event_unref(loop);
	return 0;
}

#define MATTERS(text) assert_true(uevent_matters(text, sizeof(text)))
#define NOT(text) assert_false(uevent_matters(text, sizeof(text)))

static void test_matters(void **state)
{
	MATTERS("add@/devices/x\0ACTION=add\0DEVPATH=/devices/"
		"x\0SUBSYSTEM=drm\0MAJOR=226\0MINOR=0");
	MATTERS("remove@/d\0ACTION=remove\0SUBSYSTEM=block\0MAJOR=7\0MINOR=0");
	MATTERS("move@/d\0ACTION=move\0SUBSYSTEM=tty\0MAJOR=7\0MINOR=0");
	MATTERS("add@/module/nvidia_uvm\0ACTION=add\0SUBSYSTEM=module");
	MATTERS("remove@/module/kfd\0ACTION=remove\0SUBSYSTEM=module");
	MATTERS("bind@/devices/pci\0ACTION=bind\0SUBSYSTEM=pci\0DRIVER=nvidia");
	MATTERS("unbind@/devices/pci\0ACTION=unbind\0SUBSYSTEM=pci");
	MATTERS("add@/d/i915\0ACTION=add\0SUBSYSTEM=event_source");
	MATTERS("remove@/d/i915\0ACTION=remove\0SUBSYSTEM=event_source");
	NOT("change@/d/i915\0ACTION=change\0SUBSYSTEM=event_source");
	/* a cable; a network interface; a disk's medium; a bus */
	NOT("change@/d\0ACTION=change\0SUBSYSTEM=drm\0MAJOR=226\0MINOR=0\0HOTPLUG=1");
	NOT("add@/d\0ACTION=add\0SUBSYSTEM=net\0INTERFACE=veth0");
	NOT("add@/d\0ACTION=add\0SUBSYSTEM=queues");
	NOT("bind@/d\0ACTION=bind\0SUBSYSTEM=usb");
	NOT("add@/d\0ACTION=add\0SUBSYSTEM=pci");
	NOT("change@/module/x\0ACTION=change\0SUBSYSTEM=module");
	NOT("move@/d\0ACTION=move\0SUBSYSTEM=net");
	/* not the kernel's form */
	NOT("");
	NOT("add");
	NOT("libudev\0\xfe\xed");
	NOT("add@/d\0XACTION=add\0MAJOR=1");
	assert_false(uevent_matters("", 0));
	/* what follows is not of the message */
	assert_false(uevent_matters("ACTION=add\0MAJOR=1", 10));
	assert_false(uevent_matters("ACTION=add\0MAJOR=1", 12));
	assert_false(uevent_matters("ACTION=add\0MAJOR=1", 18));
	assert_true(uevent_matters("ACTION=add\0MAJOR=1", 19));
}

static void turn(void)
{
	assert_true(sd_event_run(loop, 1000000) >= 0);
}

/* Until the loop has seen all that was sent. */
static void settle(void)
{
	while (uevents_state(u) == 0)
		turn();
}

static void ask(const char *action)
{
	int fd = open(ASKED, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, action, strlen(action));

	if (fd >= 0)
		close(fd);
	if (n < 0) {
		print_message("%s cannot be written: skipped\n", ASKED);
		skip();
	}
}

static void test_state(void **state)
{
	uint64_t before;

	assert_int_equal(uevents_state(NULL), 0);
	settle();
	before = uevents_state(u);
	assert_true(before != 0);
	ask("add");
	/* at once, before the loop turns */
	assert_int_equal(uevents_state(u), 0);
	settle();
	assert_true(uevents_state(u) != before);
	assert_int_equal(changes, 0);
	while (changes == 0)
		turn();
}

/* Others' events are on the same line, so that silence may take a few attempts. */
static void test_unimportant(void **state)
{
	bool quiet = false;

	for (int i = 0; !quiet && i < 20; i++) {
		uint64_t before;

		settle();
		before = uevents_state(u);
		ask("change");
		settle();
		quiet = uevents_state(u) == before;
	}
	assert_true(quiet);
}

static void test_burst(void **state)
{
	settle();
	for (int i = 0; i < 200; i++)
		ask("add");
	while (changes == 0)
		turn();
	/* 200 of them would be too many by far */
	assert_in_range(changes, 1, 5);
}

static int own_socket(void)
{
	for (int fd = 3; fd < 1024; fd++) {
		int domain = 0;
		socklen_t n = sizeof(domain);

		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && domain == AF_NETLINK)
			return fd;
	}
	fail();
	return -1;
}

/* What did not fit may have been anything. */
static void test_lost(void **state)
{
	int size = 1, fd = own_socket();
	uint64_t before;

	settle();
	before = uevents_state(u);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
	for (int i = 0; i < 100; i++)
		ask("change");
	settle();
	assert_true(uevents_state(u) != before);
	while (changes == 0)
		turn();
}

/* Root may send to the group, too. */
static void test_forged(void **state)
{
	static const char text[] = "add@/devices/x\0ACTION=add\0SUBSYSTEM=drm\0MAJOR=226\0MINOR=0";
	const struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_groups = 1};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	bool quiet = false;

	assert_true(fd >= 0);
	for (int i = 0; !quiet && i < 20; i++) {
		uint64_t before;

		settle();
		before = uevents_state(u);
		if (sendto(fd, text, sizeof(text), 0, (const struct sockaddr *)&to, sizeof(to)) <
			0) {
			assert_true(errno == EPERM || errno == ECONNREFUSED);
			print_message("not permitted to send: skipped\n");
			close(fd);
			skip();
		}
		assert_int_equal(uevents_state(u), 0);
		settle();
		quiet = uevents_state(u) == before;
	}
	close(fd);
	assert_true(quiet);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matters),
		cmocka_unit_test_setup_teardown(test_state, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unimportant, setup, teardown),
		cmocka_unit_test_setup_teardown(test_burst, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forged, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
