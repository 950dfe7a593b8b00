/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Arguments from a message by a method's row, and a reply's values into a message by it. */
#pragma once

#include <systemd/sd-bus.h>

#include "method.h"

/* What a refusal says beside its reason; always terminated. */
#define DECODE_DETAIL_MAX 128

/* REASON_SIGNATURE: the message does not have the row's signature. REASON_OPTION: `detail` names
 * the option. The strings belong to `m`; request_done() frees the rest. */
enum reason decode_request(sd_bus_message *m, const struct method *method, struct request *ret,
	char detail[DECODE_DETAIL_MAX]);

/* Appends what `signature`, of a method's answer or a property, says. -EILSEQ: the text is not
 * UTF-8, which alone D-Bus carries; other errors are sd-bus' own. */
int encode_values(sd_bus_message *m, const char *signature, const struct reply *values);

/* What to tell then. */
#define ANSWER_NOT_TEXT "the answer is not UTF-8, and D-Bus carries nothing else"

/* "controller:cgroup", "cgroup device access" or what the request has of it, for messages; buf is
 * always terminated. */
void request_object(const struct request *request, char *buf, size_t size);
