/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "invocation.h"
#include "perf-config.h"

static const struct {
	const char *runtime, *text;
} configs[] = {
	{
		"lxc",
#include "lxc.conf.h"
	},
	{
		"proxmox",
#include "proxmox.conf.h"
	},
	{
		"oci",
#include "oci.conf.h"
	},
};

const char *perf_config_text(const char *runtime)
{
	for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++)
		if (strcmp(configs[i].runtime, runtime) == 0)
			return configs[i].text;
	return NULL;
}

int perf_config(FILE *out, const struct invocation *inv, char **ret_error)
{
	(void)ret_error;
	fputs(perf_config_text(inv->values[0].text), out);
	return 0;
}
