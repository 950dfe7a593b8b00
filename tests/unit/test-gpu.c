/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GPUs in trees as i915, xe, amdgpu, nvidia, virtio-gpu and vgem make them; and what is here. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "devices.h"

#define IGP "pci0000:00/0000:00:02.0"
#define BRIDGE "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0/"
#define DGPU BRIDGE "0000:03:00.0"
#define AMD BRIDGE "0000:04:00.0"
#define AMD2 BRIDGE "0000:05:00.0"
#define NVIDIA "pci0000:00/0000:00:06.0/0000:06:00.0"

static struct gpu *gpus;
static unsigned n_gpus;

static int setup(void **state)
{
	devices_begin();
	return 0;
}

static int teardown(void **state)
{
	free(gpus);
	gpus = NULL;
	devices_end();
	return 0;
}

static void look(unsigned n)
{
	struct device_roots roots = devices_roots();

	free(gpus);
	gpus = NULL;
	assert_int_equal(gpus_list_from(&roots, &gpus, &n_gpus), 0);
	assert_int_equal(n_gpus, n);
	device_roots_close(&roots);
}

static const struct gpu *at(const char *address)
{
	for (unsigned i = 0; i < n_gpus; i++)
		if (strcmp(gpus[i].address, address) == 0)
			return &gpus[i];
	fail_msg("no %s", address);
	return NULL;
}

static void has(const char *address, const char *id, const char *driver, const char *pmu,
	const char *region)
{
	const struct gpu *g = at(address);

	assert_string_equal(g->id, id);
	assert_string_equal(g->driver, driver);
	assert_string_equal(g->pmu, pmu);
	assert_string_equal(g->region, region);
}

/* Which of its nodes this is, counted from one; 0: none. */
static unsigned node(
	const char *address, const char *path, unsigned major, unsigned minor, bool render)
{
	const struct gpu *g = at(address);

	for (unsigned i = 0; i < g->n_nodes; i++)
		if (g->node[i].major == major && g->node[i].minor == minor) {
			assert_int_equal(g->node[i].render, render);
			if (devices_nodes())
				assert_string_equal(g->node[i].path, path);
			return i + 1;
		}
	return 0;
}

static void intel(void)
{
	devices_card(&(struct fake_card){IGP, "i915", "card1", 1});
	devices_card(&(struct fake_card){IGP, "i915", "renderD128", 128});
	devices_card(&(struct fake_card){DGPU, "xe", "card0", 0});
	devices_card(&(struct fake_card){DGPU, "xe", "renderD129", 129});
	devices_drm("0000:03:00.0", "8086:56a0", "card0", "renderD129");
	devices_drm("0000:00:02.0", "8086:4680", "card1", "renderD128");
}

static void test_none(void **state)
{
	look(0);
	assert_null(gpus);
	/* a class without cards, and what is no card in one */
	devices_file("sys/class/drm/version", "drm 1.1.0 20060810\n");
	devices_link("sys/class/drm/card0-HDMI-A-1", "../../devices/" IGP "/drm/card0/card0-HDMI");
	devices_link("sys/class/drm/card", "../../devices/" IGP "/drm/card");
	devices_link("sys/class/drm/renderD", "../../devices/" IGP "/drm/renderD");
	look(0);
}

static void test_intel(void **state)
{
	intel();
	devices_file("sys/bus/event_source/devices/i915/type", "20\n");
	devices_file("sys/bus/event_source/devices/xe_0000_03_00.0/type", "21\n");
	devices_file("sys/fs/cgroup/dmem.capacity",
		"drm/0000:03:00.0/stolen 4096\ndrm/0000:03:00.0/vram1 8514437120\n"
		"drm/0000:03:00.0/vram0 8514437120\ndrm/0000:03:00.1/vram 1\n");
	look(2);
	/* by address */
	assert_string_equal(gpus[0].address, "0000:00:02.0");
	has("0000:00:02.0", "8086:4680", "i915", "i915", "");
	has("0000:03:00.0", "8086:56a0", "xe", "xe_0000_03_00.0", "drm/0000:03:00.0/vram0");
	assert_int_equal(at("0000:00:02.0")->n_nodes, 2);
	assert_int_equal(node("0000:00:02.0", "/dev/dri/card1", 226, 1, false), 1);
	assert_int_equal(node("0000:00:02.0", "/dev/dri/renderD128", 226, 128, true), 2);
	assert_int_equal(node("0000:03:00.0", "/dev/dri/card0", 226, 0, false), 1);
	assert_int_equal(node("0000:03:00.0", "/dev/dri/renderD129", 226, 129, true), 2);
}

/* Two cards of i915; a kernel without their PMUs, and without dmem. */
static void test_i915_discrete(void **state)
{
	devices_card(&(struct fake_card){DGPU, "i915", "card0", 0});
	devices_drm("0000:03:00.0", "8086:56a0", "card0", NULL);
	look(1);
	has("0000:03:00.0", "8086:56a0", "i915", "", "");
	devices_file("sys/bus/event_source/devices/i915_0000_03_00.0/type", "20\n");
	look(1);
	has("0000:03:00.0", "8086:56a0", "i915", "i915_0000_03_00.0", "");
}

static void test_amdgpu(void **state)
{
	devices_card(&(struct fake_card){AMD, "amdgpu", "card2", 2});
	devices_card(&(struct fake_card){AMD, "amdgpu", "renderD130", 130});
	devices_card(&(struct fake_card){AMD2, "amdgpu", "card4", 4});
	devices_drm("0000:04:00.0", "1002:73bf", "renderD130", "card2");
	devices_drm("0000:05:00.0", "1002:73bf", "card4", NULL);
	intel();
	devices_file("sys/bus/event_source/devices/amdgpu_2/type", "30\n");
	devices_file("sys/fs/cgroup/unified/dmem.capacity", "drm/0000:04:00.0/vram 17163091968\n");
	look(2 + 2);
	has("0000:04:00.0", "1002:73bf", "amdgpu", "amdgpu_2", "drm/0000:04:00.0/vram");
	has("0000:05:00.0", "1002:73bf", "amdgpu", "", "");
	assert_int_equal(at("0000:04:00.0")->n_nodes, 2);

	/* compute: a major of its own each time, and only amdgpu's */
	devices_file("proc/devices",
		"Character devices:\n  1 mem\n226 drm\n241 kfd\n\nBlock devices:\n 99 kfd\n");
	devices_file("sys/dev/char/241:0/uevent", "MAJOR=241\nMINOR=0\nDEVNAME=kfd\n");
	devices_node("dev/kfd", 241, 0);
	look(4);
	assert_int_equal(node("0000:04:00.0", "/dev/kfd", 241, 0, false), 3);
	assert_int_equal(node("0000:05:00.0", "/dev/kfd", 241, 0, false), 2);
	assert_int_equal(at("0000:03:00.0")->n_nodes, 2);
	devices_file("proc/devices", "Character devices:\n240 kfd\n");
	look(4);
	/* whose node is another's */
	assert_int_equal(node("0000:04:00.0", "", 240, 0, false), 3);
}

static void nvidia(const char *devices)
{
	devices_file("proc/devices", devices);
	devices_file("proc/driver/nvidia/gpus/0000:06:00.0/information",
		"Model: \t\t NVIDIA A2\nIRQ:   \t\t 70\nBus Location: \t 0000:06:00.0\n"
		"Device Minor: \t 1\nGPU Excluded:\t No\n");
	devices_file("sys/bus/pci/devices/0000:06:00.0/vendor", "0x10de\n");
	devices_file("sys/bus/pci/devices/0000:06:00.0/device", "0x25b6\n");
}

static void test_nvidia(void **state)
{
	nvidia("Character devices:\n195 nvidia\n195 nvidia-modeset\n195 nvidiactl\n"
	       "236 nvidia-uvm\n237 nvidia-caps\n");
	devices_node("dev/nvidia1", 195, 1);
	devices_node("dev/nvidiactl", 195, 255);
	devices_node("dev/nvidia-uvm", 236, 0);
	/* of another major: left from before */
	devices_node("dev/nvidia-uvm-tools", 235, 1);
	look(1);
	has("0000:06:00.0", "10de:25b6", "nvidia", "", "");
	assert_int_equal(at("0000:06:00.0")->n_nodes, 5);
	assert_int_equal(node("0000:06:00.0", "/dev/nvidia1", 195, 1, false), 1);
	assert_true(node("0000:06:00.0", "/dev/nvidiactl", 195, 255, false));
	assert_true(node("0000:06:00.0", "", 195, 254, false));
	assert_true(node("0000:06:00.0", "/dev/nvidia-uvm", 236, 0, false));
	assert_true(node("0000:06:00.0", "", 236, 1, false));

	/* with nvidia-drm the same card is DRM's too */
	devices_card(&(struct fake_card){NVIDIA, "nvidia", "card0", 0});
	devices_card(&(struct fake_card){NVIDIA, "nvidia", "renderD128", 128});
	devices_drm("0000:06:00.0", "10de:25b6", "card0", "renderD128");
	look(1);
	assert_int_equal(at("0000:06:00.0")->n_nodes, 7);
	assert_int_equal(node("0000:06:00.0", "/dev/dri/renderD128", 226, 128, true), 2);
	assert_true(node("0000:06:00.0", "/dev/nvidia1", 195, 1, false));
}

/* The driver's older name for its major; no uvm. Then one that does not say its number. */
static void test_nvidia_older(void **state)
{
	nvidia("Character devices:\n195 nvidia-frontend\n");
	look(1);
	assert_int_equal(at("0000:06:00.0")->n_nodes, 3);
	devices_file("proc/driver/nvidia/gpus/0000:06:00.0/information", "Model: \t\t Unknown\n");
	look(0);
	devices_file("proc/driver/nvidia/gpus/0000:06:00.0/information", "Device Minor: \t 254\n");
	look(0);
}

/* libdrm gives a virtio-gpu its PCI address, and knows nothing of the faux bus. */
static void test_virtual(void **state)
{
	devices_card(
		&(struct fake_card){"pci0000:00/0000:00:03.0/virtio1", "virtio_gpu", "card0", 0});
	devices_card(&(struct fake_card){
		"pci0000:00/0000:00:03.0/virtio1", "virtio_gpu", "renderD128", 128});
	devices_card(&(struct fake_card){"faux/vgem", "faux_driver", "card1", 1});
	devices_card(&(struct fake_card){"platform/vkms", NULL, "card2", 2});
	devices_drm("0000:00:03.0", "1af4:1050", "card0", "renderD128");
	devices_drm("", "", "card2", NULL);
	look(3);
	has("0000:00:03.0", "1af4:1050", "virtio_gpu", "", "");
	has("vgem", "", "vgem", "", "");
	has("vkms", "", "vkms", "", "");
	assert_int_equal(at("0000:00:03.0")->n_nodes, 2);

	/* without libdrm the same */
	devices_drm_none();
	devices_file("sys/bus/pci/devices/0000:00:03.0/vendor", "0x1af4\n");
	devices_file("sys/bus/pci/devices/0000:00:03.0/device", "0x1050\n");
	look(3);
	has("0000:00:03.0", "1af4:1050", "virtio_gpu", "", "");
	assert_int_equal(at("0000:00:03.0")->n_nodes, 2);
	has("vkms", "", "vkms", "", "");
}

/* As it really is: the PCI device is the card's, and virtio's stands on it. */
static void test_virtio_on_pci(void **state)
{
	devices_card(&(struct fake_card){"pci0000:00/0000:00:03.0", "virtio-pci", "card0", 0});
	devices_link("sys/devices/pci0000:00/0000:00:03.0/virtio2/driver",
		"../../../../bus/virtio/drivers/virtio_gpu");
	devices_drm("0000:00:03.0", "1af4:1050", "card0", NULL);
	look(1);
	has("0000:00:03.0", "1af4:1050", "virtio_gpu", "", "");
}

/* On a system on a chip, with virtio over MMIO, over USB. */
static void test_platform(void **state)
{
	devices_card(&(struct fake_card){"platform/soc/ff9a0000.gpu", "panfrost", "card0", 0});
	devices_card(&(struct fake_card){
		"platform/a003e00.virtio_mmio/virtio0", "virtio_gpu", "card1", 1});
	devices_card(
		&(struct fake_card){"pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0", "udl", "card2", 2});
	devices_drm("", "", "card0", NULL);
	devices_drm("", "", "card1", NULL);
	devices_drm("", "", "card2", NULL);
	look(3);
	has("ff9a0000.gpu", "", "panfrost", "", "");
	has("virtio0", "", "virtio_gpu", "", "");
	has("1-2:1.0", "", "udl", "", "");
}

/* Whatever libdrm calls it, one card is not two. */
static void test_another_address(void **state)
{
	intel();
	devices_drm_none();
	devices_drm("0000:09:00.0", "8086:4680", "card1", "renderD128");
	look(2);
	assert_int_equal(at("0000:09:00.0")->n_nodes, 2);
	at("0000:03:00.0");
}

static void test_gone_and_renumbered(void **state)
{
	const struct fake_card card = {IGP, "i915", "card1", 1};

	intel();
	look(2);
	devices_card_gone(&card);
	look(2);
	assert_int_equal(at("0000:00:02.0")->n_nodes, 1);
	/* the same card as another number */
	devices_card(&(struct fake_card){IGP, "i915", "card3", 3});
	look(2);
	assert_int_equal(node("0000:00:02.0", "/dev/dri/card3", 226, 3, false), 2);
	devices_card_gone(&(struct fake_card){IGP, "i915", "card3", 3});
	devices_card_gone(&(struct fake_card){IGP, "i915", "renderD128", 128});
	/* libdrm was asked before it went */
	look(1);
	at("0000:03:00.0");
}

/* Here: each node is the device that it is said to be. */
static void test_real(void **state)
{
	struct gpu *list = NULL;
	unsigned n = 0;

	assert_int_equal(gpus_list(&list, &n), 0);
	for (unsigned i = 0; i < n; i++) {
		assert_true(list[i].address[0] && list[i].driver[0] && list[i].n_nodes > 0);
		print_message("%s %s %s pmu=%s region=%s\n", list[i].address, list[i].id,
			list[i].driver, list[i].pmu, list[i].region);
		for (unsigned k = 0; k < list[i].n_nodes; k++) {
			const struct gpu_node *at_node = &list[i].node[k];
			struct stat st;

			print_message(
				"  %s %u:%u\n", at_node->path, at_node->major, at_node->minor);
			if (!at_node->path[0])
				continue;
			assert_int_equal(stat(at_node->path, &st), 0);
			assert_true(S_ISCHR(st.st_mode));
			assert_true(st.st_rdev == makedev(at_node->major, at_node->minor));
		}
	}
	free(list);
	if (access("/dev/dri", F_OK) == 0)
		assert_true(n > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_intel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_i915_discrete, setup, teardown),
		cmocka_unit_test_setup_teardown(test_amdgpu, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nvidia, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nvidia_older, setup, teardown),
		cmocka_unit_test_setup_teardown(test_virtual, setup, teardown),
		cmocka_unit_test_setup_teardown(test_virtio_on_pci, setup, teardown),
		cmocka_unit_test_setup_teardown(test_platform, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_address, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone_and_renumbered, setup, teardown),
		cmocka_unit_test(test_real),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
