/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's GPUs, by libdrm and sysfs, NVIDIA's by /proc/driver/nvidia. None is opened. */
#pragma once

#include "../policy/device.h"

#define GPU_NODES_MAX 16

struct gpu {
	char address[32]; /* PCI "0000:03:00.0", or the name of the platform device */
	char id[16];	  /* PCI "8086:56a0", or "" */
	char driver[32];
	char pmu[48];	 /* "i915", "xe_0000_03_00.0", "amdgpu_1"; "" if there is none */
	char region[64]; /* of the dmem controller: "drm/0000:03:00.0/vram0"; "" if none */
	unsigned n_nodes;
	struct gpu_node {
		char path[64]; /* /dev/dri/card1 */
		bool render;
		uint32_t major, minor;
	} node[GPU_NODES_MAX];
};

/* *ret is heap. 0 without one. */
int gpus_list(struct gpu **ret, unsigned *ret_n);
