/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* D-Bus messages as bytes (D-Bus specification, "Message Format"): made for the daemon, and those
 * of the daemon checked. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_MAX 131072

struct wire {
	uint8_t data[WIRE_MAX];
	size_t size;
	bool big;
};

struct wire_head {
	uint8_t type, flags;
	uint32_t serial, reply_serial, fds; /* 0: no such field, as NULL for the texts */
	const char *path, *interface, *member, *destination, *error, *signature;
};

/* A message's header, behind which the body is put by those below. `w->big` is set before. */
void wire_begin(struct wire *w, const struct wire_head *head);
void wire_u32(struct wire *w, uint32_t value);
void wire_u64(struct wire *w, uint64_t value);
void wire_text(struct wire *w, const char *text);
void wire_bytes(struct wire *w, const void *data, size_t size);
void wire_signature(struct wire *w, const char *text);
/* The elements are put between these; their type's alignment. */
size_t wire_array_begin(struct wire *w, size_t align);
void wire_array_end(struct wire *w, size_t begun, size_t align);
/* A struct or an entry of a dictionary: its members are put behind this. */
void wire_struct(struct wire *w);
/* Fills in the body's size. */
void wire_end(struct wire *w);

struct wire_seen {
	uint8_t type;
	uint32_t reply_serial;
	char signature[256];
};

/* The size of the whole message at `data`, which is CHECKed: every length, every text, every
 * signature. 0: it is not whole. */
size_t wire_check(const uint8_t *data, size_t size, struct wire_seen *ret);
