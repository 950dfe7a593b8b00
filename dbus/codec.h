/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Arguments from a message by a method's row, and a reply's values into a message by it. */
#pragma once

#include <systemd/sd-bus.h>

#include "method.h"

/* REASON_SIGNATURE: the message does not have the row's signature. The strings belong to `m`. */
enum reason decode_request(sd_bus_message *m, const struct method *method, struct request *ret);

/* Appends what `method->out` says. -EILSEQ: the text is not UTF-8, which alone D-Bus
 * carries; other errors are sd-bus' own. */
int encode_reply(sd_bus_message *reply, const struct method *method, const struct reply *values);

/* "controller:cgroup" or what the request has of it, for messages; buf is always terminated. */
void request_object(const struct request *request, char *buf, size_t size);
