/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How libFuzzer changes an input of fuzz-wire: bytes, as with any other; or bytes, after which each
 * segment that looks like a message gets the lengths that it has; or by a whole message more; or by
 * a cut between two bytes.
 */
#include <endian.h>
#include <string.h>

#include "../../dbus/method.h"
#include "session.h"
#include "wire.h"

#define HEADER_SIZE 16

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

static const char *const texts[] = {"", "memory", "all", "cpu,cpuacct", "a/b", "/", "../x", "tasks",
	"name=systemd", "org.linuxcontainers.cgmanager0_0", "api_version", "default deny",
	"allow gpu:render rw", "rwm", "uid", "mode", "path"};

static unsigned draw(unsigned *seed, unsigned below)
{
	*seed = *seed * 1103515245u + 12345u;
	return (*seed >> 8) % below;
}

static uint32_t u32_get(const uint8_t *p, bool big)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return big ? be32toh(value) : le32toh(value);
}

static void u32_set(uint8_t *p, bool big, size_t value)
{
	uint32_t v = big ? htobe32((uint32_t)value) : htole32((uint32_t)value);

	memcpy(p, &v, sizeof(v));
}

static void repair_segment(uint8_t *p, size_t size)
{
	bool big = p[0] == 'B';
	uint32_t fields;
	size_t head;

	if (size < HEADER_SIZE || (p[0] != 'l' && p[0] != 'B'))
		return;
	p[3] = 1;
	fields = u32_get(p + 12, big);
	head = HEADER_SIZE + (((size_t)fields + 7) & ~(size_t)7);
	if (head > size) {
		u32_set(p + 12, big, size - HEADER_SIZE);
		head = size;
	}
	u32_set(p + 4, big, size - head);
}

static void repair(uint8_t *data, size_t size)
{
	uint8_t *at = data, *end = data + size;

	while (at < end) {
		uint8_t *mark = memmem(at, (size_t)(end - at), MARK, MARK_SIZE);

		repair_segment(at, (size_t)((mark ? mark : end) - at));
		if (!mark)
			return;
		at = mark + MARK_SIZE + 1;
	}
}

/* Puts `n` bytes in at `at`, if there is room. */
static size_t insert(
	uint8_t *data, size_t size, size_t max, size_t at, const uint8_t *bytes, size_t n)
{
	if (size + n > max)
		return size;
	memmove(data + at + n, data + at, size - at);
	memcpy(data + at, bytes, n);
	return size + n;
}

static const char *any_text(unsigned *seed)
{
	return texts[draw(seed, sizeof(texts) / sizeof(texts[0]))];
}

/* Of the types that methods.def has. */
static void make_argument(struct wire *w, const char *type, unsigned *seed)
{
	size_t align = type[1] == '{' ? 8 : type[1] == 'y' ? 1 : 4, begun;

	if (*type == 's') {
		wire_text(w, any_text(seed));
		return;
	}
	if (*type == 't') {
		wire_u64(w, draw(seed, 1000));
		return;
	}
	if (*type != 'a') {
		wire_u32(w, *type == 'h' ? 0 : draw(seed, 1000));
		return;
	}
	begun = wire_array_begin(w, align);
	if (type[1] == 'y') {
		wire_bytes(w, w->data, draw(seed, 136));
		wire_array_end(w, begun, align);
		return;
	}
	for (unsigned n = draw(seed, 4); n > 0; n--) {
		if (type[1] == '{')
			wire_struct(w);
		wire_text(w, any_text(seed));
		if (type[1] == '{') {
			wire_signature(w, "u");
			wire_u32(w, draw(seed, 1000));
		}
	}
	wire_array_end(w, begun, align);
}

/* A call of any method or twin, with any arguments. */
static void make_call(struct wire *w, unsigned *seed)
{
	enum method_id id = (enum method_id)draw(seed, METHOD_MAX);
	const struct method *twin = method_twin(id);
	const struct method *method = twin && draw(seed, 3) == 0 ? twin : &methods[id];
	struct wire_head head = {
		.type = 1,
		.flags = draw(seed, 8) == 0,
		.serial = 1 + draw(seed, 1000),
		.path = method_interface(method)->path,
		.interface = method_interface(method)->name,
		.member = method->name,
		.fds = strchr(method->in, 'h') ? 1 : 0,
		.signature = *method->in ? method->in : NULL,
	};

	w->big = draw(seed, 4) == 0;
	wire_begin(w, &head);
	for (const char *type = method->in; *type; type += type_length(type))
		make_argument(w, type, seed);
	wire_end(w);
}

static size_t insert_call(uint8_t *data, size_t size, size_t max, unsigned *seed)
{
	static struct wire w;
	uint8_t mark[MARK_SIZE + 1] = MARK;
	uint8_t *behind = size > 0 ? memmem(data, size, MARK, MARK_SIZE) : NULL;
	size_t at = size;

	make_call(&w, seed);
	mark[MARK_SIZE] = (uint8_t) ".r+fffgnt"[draw(seed, 9)];
	/* in the end, or behind the first mark, which mostly is that of authentication */
	if (behind && draw(seed, 2) == 0)
		at = (size_t)(behind - data);
	if (w.size + size + sizeof(mark) > max)
		return size;
	size = insert(data, size, max, at, w.data, w.size);
	return insert(data, size, max, at, mark, sizeof(mark));
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	static const char letters[] = ".r+afgnosxdt";
	uint8_t mark[MARK_SIZE + 1] = MARK;

	switch (draw(&seed, 8)) {
	case 0:
		return insert_call(data, size, max, &seed);
	case 1:
		mark[MARK_SIZE] = (uint8_t)letters[draw(&seed, sizeof(letters) - 1)];
		return insert(data, size, max, draw(&seed, (unsigned)size + 1), mark, sizeof(mark));
	case 2:
	case 3:
	case 4:
		size = LLVMFuzzerMutate(data, size, max);
		repair(data, size);
		return size;
	default:
		return LLVMFuzzerMutate(data, size, max);
	}
}
