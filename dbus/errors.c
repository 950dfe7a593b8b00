/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "errors.h"

#include <errno.h>
#include <systemd/sd-bus.h>

static const char *const names[] = {
#define ERROR(kind, name, err) [KIND_##kind] = ERROR_PREFIX #name,
#include "errors.def"
#undef ERROR
};

static const sd_bus_error_map map[] = {
#define ERROR(kind, name, err) SD_BUS_ERROR_MAP(ERROR_PREFIX #name, err),
#include "errors.def"
#undef ERROR
	SD_BUS_ERROR_MAP_END,
};

const char *error_name(enum reason_kind kind)
{
	unsigned i = (unsigned)kind;

	return i < sizeof(names) / sizeof(names[0]) && names[i] ? names[i] : names[KIND_FAILED];
}

int errors_register(void)
{
	int r = sd_bus_error_add_map(map);

	return r < 0 ? r : 0;
}
