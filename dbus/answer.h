/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Answers to a call. Who named a destination in it, as clients of a message bus do, finds in the
 * answer the sender that a bus would have put there; who named none gets none.
 */
#pragma once

#include <systemd/sd-bus.h>

/* Sends what was made as an answer to `call`. */
int answer_send(sd_bus_message *call, sd_bus_message *answer);

/* These send nothing, and return 0, where no answer is wanted. `types` as sd_bus_message_append()
 * has them; `text` is UTF-8. */
int answer_values(sd_bus_message *call, const char *types, ...);
int answer_error(sd_bus_message *call, const char *name, const char *text);
