/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's GPUs, by libdrm and sysfs, NVIDIA's by /proc/driver/nvidia. None is opened. */
#pragma once

#include <stdbool.h>

#include "../policy/device.h"
#include "devroots.h"

#define GPU_NODES_MAX 16
#define GPU_CARD_NODES_MAX 3

struct gpu {
	char address[32]; /* PCI "0000:03:00.0", or the name of the platform device */
	char id[16];	  /* PCI "8086:56a0", or "" */
	char driver[32];
	char pmu[48];	 /* "i915", "xe_0000_03_00.0", "amdgpu_1"; "" if there is none */
	char region[64]; /* of the dmem controller: "drm/0000:03:00.0/vram0"; "" if none */
	unsigned n_nodes;
	struct gpu_node {
		char path[64]; /* /dev/dri/card1; "" where /dev has none */
		bool render;
		uint32_t major, minor;
	} node[GPU_NODES_MAX]; /* also /dev/kfd of amdgpu, and what NVIDIA's cards share */
};

/* By address. *ret is heap. 0 without one. */
int gpus_list(struct gpu **ret, unsigned *ret_n);
int gpus_list_from(const struct device_roots *roots, struct gpu **ret, unsigned *ret_n);

/* One that libdrm has found. */
struct gpu_card {
	char address[32], id[16]; /* "" of what is on no PCI bus */
	unsigned n_nodes;
	char node[GPU_CARD_NODES_MAX][32]; /* "card1" */
};

/* libdrm's list. *ret is heap. */
int gpu_cards(struct gpu_card **ret, unsigned *ret_n);

/* What NVIDIA's own driver has, whose devices are not DRM's. */
struct nvidia_card {
	char address[32];
	uint32_t minor;
};

#define NVIDIA_SHARED_MAX 4
int nvidia_cards(const struct device_roots *roots, struct nvidia_card **ret, unsigned *ret_n);
void nvidia_node(
	const struct device_roots *roots, const struct nvidia_card *card, struct gpu_node *ret);
/* Control, modeset, and memory (uvm), without which no card is of use. Returns how many, 0 without
 * the driver. */
unsigned nvidia_shared(const struct device_roots *roots, struct gpu_node ret[NVIDIA_SHARED_MAX]);
/* The major of the capabilities' nodes (MIG). False: there are none. */
bool nvidia_caps(const struct device_roots *roots, uint32_t *ret);
