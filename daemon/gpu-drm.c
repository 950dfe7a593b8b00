/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xf86drm.h>

#include "gpu.h"

#define DEVICES_MAX 256 /* as many nodes as libdrm looks at */

static void set_pci(const drmDevice *d, struct gpu_card *card)
{
	const drmPciBusInfo *bus = d->businfo.pci;
	const drmPciDeviceInfo *info = d->deviceinfo.pci;

	snprintf(card->address, sizeof(card->address), "%04x:%02x:%02x.%u", bus->domain, bus->bus,
		bus->dev, bus->func);
	snprintf(card->id, sizeof(card->id), "%04x:%04x", info->vendor_id, info->device_id);
}

static void set_card(const drmDevice *d, struct gpu_card *card)
{
	if (d->bustype == DRM_BUS_PCI)
		set_pci(d, card);
	for (int i = 0; i < DRM_NODE_MAX && card->n_nodes < GPU_CARD_NODES_MAX; i++) {
		const char *name;

		if (!(d->available_nodes & 1 << i))
			continue;
		name = strrchr(d->nodes[i], '/');
		snprintf(card->node[card->n_nodes++], sizeof(card->node[0]), "%s",
			name ? name + 1 : d->nodes[i]);
	}
}

/* Without DRM_DEVICE_GET_PCI_REVISION: to read a sleeping card's configuration wakes it. */
int gpu_cards(struct gpu_card **ret, unsigned *ret_n)
{
	drmDevicePtr devices[DEVICES_MAX];
	int n = drmGetDevices2(0, devices, DEVICES_MAX);
	struct gpu_card *cards;

	*ret = NULL;
	*ret_n = 0;
	/* No /dev/dri. */
	if (n <= 0)
		return n == -ENOMEM ? n : 0;
	cards = calloc(n, sizeof(*cards));
	for (int i = 0; cards && i < n; i++)
		set_card(devices[i], &cards[i]);
	drmFreeDevices(devices, n);
	if (!cards)
		return -ENOMEM;
	*ret = cards;
	*ret_n = n;
	return 0;
}
