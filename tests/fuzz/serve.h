/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What answers as the daemon does, without a cgroup anywhere: canned replies for any call. */
#pragma once

#include <systemd/sd-bus.h>

#include "../../dbus/dispatch.h"
#include "fuzz.h"

struct serve {
	/* What the replies are made of. */
	enum reason reason;
	size_t size;	  /* about so many bytes of text, names, keys or pids */
	const char *text; /* repeated until then; NULL: something plain */
	bool later;	  /* the call is kept, and answered by serve_answer() */
	/* What came: */
	unsigned calls, refused;
	struct request request; /* the last; its strings live as long as the message */
	sd_bus_message *kept;
	uint64_t unique;
};

/* Its userdata is a struct serve. */
extern const struct dispatch_ops serve_ops;

void serve_done(struct serve *s);

/* Answers what was kept. */
int serve_answer(struct serve *s);
