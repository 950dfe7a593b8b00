/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a D-Bus message to a request and from a reply to a D-Bus message.
 *
 * dispatch_message() is a filter (sd_bus_add_filter) and handles every message of a connection, so
 * that sd-bus' own vtables and built-in answers (GetMachineId) never see one, and an idle
 * connection costs no object tree. Introspect is made from the rows.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "method.h"

/* Of the daemon or of the client, as the client's own namespaces have them. */
struct dispatch_ids {
	bool have_uid, have_pid; /* false: they do not have it, or it cannot be told */
	uint32_t uid, pid;
};

struct dispatch_ops {
	/* A method of the table was called with well-formed arguments. The callee answers, now or
	 * later, with dispatch_reply(), once; if later, it takes a reference on `m` and the
	 * request by request_take(). */
	void (*call)(void *userdata, sd_bus_message *m, struct request *request);
	/* A call that was refused before there was a request; for the log. */
	void (*refused)(void *userdata, sd_bus_message *m, enum reason reason);
	/* Peer.GetMachineId: may the caller learn it? */
	bool (*may_know_host)(void *userdata);
	/* The connection's own, 0 at first: makes its unique name, from Hello on. */
	uint64_t *(*unique)(void *userdata);
	/* `ret` is zeroes before. */
	void (*ids)(void *userdata, bool of_client, struct dispatch_ids *ret);
	/* A property's value, in the member that its type says, or a reason. The caller frees;
	 * `ret` is zeroes before. */
	void (*property)(void *userdata, enum property_id id, struct reply *ret);
};

/* > 0: handled (always, for a method call). Only fails with -ENOMEM and with what sending gives. */
int dispatch_message(sd_bus_message *m, const struct dispatch_ops *ops, void *userdata);

/* Encodes and sends; the message for people is made here. Nothing is sent where no reply is wanted.
 */
int dispatch_reply(sd_bus_message *m, const struct request *request, const struct reply *reply);
