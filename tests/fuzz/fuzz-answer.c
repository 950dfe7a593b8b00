/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What cgm makes of what a hostile daemon answers: a verb, how, then the bytes that the daemon
 * sends behind authentication. With HOW_FRAMED they are the body of a well-formed answer that has
 * the promised signature; with HOW_ERROR, of an error.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../client/device.h"
#include "../../client/json.h"
#include "../../client/link.h"
#include "../../client/print.h"
#include "../../daemon/cleanup.h"
#include "fuzz.h"
#include "wire.h"

#define HELLO "DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n"

enum how {
	HOW_FRAMED = 1 << 0,
	HOW_ERROR = 1 << 1,
	HOW_BIG = 1 << 2,
	HOW_TERMINAL = 1 << 3,
	HOW_JSON = 1 << 4,
};

/* cgm's side is as link_open() makes it. After authentication, which is libsystemd's, all that the
 * daemon has to say is there beforehand, and then it says no more: nothing waits. */
static sd_bus *bus_new(const uint8_t *data, size_t size, int *ret_daemon)
{
	sd_bus *bus = NULL;
	int fds[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	CHECK(send(fds[1], HELLO, sizeof(HELLO) - 1, 0) == sizeof(HELLO) - 1);
	CHECK(sd_bus_new(&bus) >= 0);
	CHECK(sd_bus_set_fd(bus, fds[0], fds[0]) >= 0);
	CHECK(sd_bus_negotiate_fds(bus, 0) >= 0);
	CHECK(sd_bus_start(bus) >= 0);
	while (sd_bus_is_ready(bus) == 0 && sd_bus_process(bus, NULL) > 0)
		;
	CHECK(sd_bus_is_ready(bus) > 0);
	CHECK(size == 0 || send(fds[1], data, size, 0) == (ssize_t)size);
	CHECK(shutdown(fds[1], SHUT_WR) == 0);
	*ret_daemon = fds[1];
	return bus;
}

static void frame(struct wire *w, const struct verb *verb, uint8_t how, const struct input *in)
{
	struct wire_head head = {
		.type = how & HOW_ERROR ? 3 : 2,
		.serial = 1,
		.reply_serial = 1,
		.error = how & HOW_ERROR ? "org.freedesktop.DBus.Error.InvalidArgs" : NULL,
		.signature = how & HOW_ERROR		  ? "s"
			     : verb->method == METHOD_MAX ? "v"
							  : verb_output_signature(verb),
	};

	w->big = how & HOW_BIG;
	if (!*head.signature)
		head.signature = NULL;
	wire_begin(w, &head);
	wire_bytes(w, in->at, in->left);
	wire_end(w);
}

static void check_printed(const char *text, size_t size, const struct verb *verb)
{
	CHECK(strlen(text) == size);
	CHECK(text_is_utf8(text, size));
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i], next = (unsigned char)text[i + 1];

		CHECK(c >= 0x20 || c == '\n' || (c == '\t' && verb->output == OUTPUT_VALUE));
		CHECK(c != 0x7f && !(c == 0xc2 && next >= 0x80 && next <= 0x9f));
	}
}

/* As cgm does: whatever the answer holds, there is a verdict. */
static void print_values(FILE *f, const struct verb *verb, sd_bus_message *answer, uint8_t how)
{
	enum device_answer verdict;
	json_t *json = NULL;

	if (json_read(answer, verb, &json) < 0) {
		CHECK(!json);
		return;
	}
	if (verb->output == OUTPUT_VERDICT)
		CHECK(device_verdict(json, &verdict) == 0);
	if (how & HOW_JSON)
		CHECK(json_print(f, json, how & HOW_TERMINAL) == 0);
	else
		CHECK(device_print(f, verb, json, how & HOW_TERMINAL ? ESCAPE_ALL : ESCAPE_NONE) ==
			0);
	(void)device_runtime_sits_on(json, "/x", NULL);
	json_decref(json);
}

static void print(const struct verb *verb, sd_bus_message *answer, uint8_t how)
{
	bool terminal = how & HOW_TERMINAL;
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	CHECK(f);
	if (device_prints(verb) || ((how & HOW_JSON) && *verb_output_signature(verb)))
		print_values(f, verb, answer, how);
	else
		(void)print_answer(f, verb, answer, terminal);
	CHECK(fclose(f) == 0);
	if (terminal)
		check_printed(text, size, verb);
}

static void run(const struct verb *verb, uint8_t how, const uint8_t *data, size_t size)
{
	struct invocation inv = {.wish = WISH_CALL, .verb = verb};
	_cleanup_close_ int daemon = -EBADF;
	sd_bus *bus = bus_new(data, size, &daemon);
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *answer = NULL;
	int r;

	for (unsigned i = 0; verb->args[i] != ARG_NONE; i++)
		if (arg_is_text(args[verb->args[i]].kind))
			inv.values[i].text = "x";
	r = link_call(bus, &inv, link_deadline(10), &answer, &error);
	CHECK((r == 0) == (answer != NULL));
	CHECK(r <= 0 || error.name);
	if (r == 0)
		print(verb, answer, how);
	sd_bus_error_free(&error);
	sd_bus_message_unref(answer);
	sd_bus_close_unref(bus);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct wire w;
	struct input in = {data, size};
	const struct verb *verb = &verbs[input_byte(&in) % n_verbs];
	uint8_t how = input_byte(&in);

	/* what these ask is no row's method */
	if (verb->local)
		return 0;
	if (how & (HOW_FRAMED | HOW_ERROR)) {
		frame(&w, verb, how, &in);
		run(verb, how, w.data, w.size);
	} else {
		run(verb, how, in.at, in.left);
	}
	return 0;
}
