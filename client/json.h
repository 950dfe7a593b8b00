/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Answers as JSON. Structures become objects with the names that outputs.def has for their members.
 * In them an empty text, and a number that is all ones (an id that is not mapped, any minor), is
 * null.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>
#include <systemd/sd-bus.h>

#include "verb.h"

/* The answer's values, read from where `m` stands. Negative errno if the message cannot be read;
 * -ENOMEM. */
int json_read(sd_bus_message *m, const struct verb *verb, json_t **ret);

/* `a{ss}` as an object. The same errors. */
int json_read_texts(sd_bus_message *m, json_t **ret);

/* `terminal`: nothing but ASCII. Errors of `out` are left to its error flag; -ENOMEM. */
int json_print(FILE *out, const json_t *json, bool terminal);
