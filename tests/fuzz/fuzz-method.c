/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each method's arguments, from a well-formed message to the request and from a reply back to a
 * message: a method, how it is called, the reply's reason and size, then the arguments as the row
 * has them, and the text that the reply is made of.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../daemon/cleanup.h"
#include "serve.h"
#include "wire.h"

#define HELLO "\0AUTH EXTERNAL 30\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n"
#define NO_REPLY 1
#define ARGS_MAX 8
#define ITEMS_MAX 8

enum how {
	HOW_BIG = 1 << 0,
	HOW_NO_REPLY = 1 << 1,
	HOW_NO_INTERFACE = 1 << 2,
	HOW_WRONG_SIGNATURE = 1 << 3,
	HOW_LATER = 1 << 4,
	HOW_DESTINATION = 1 << 5,
	HOW_DRIVER = 1 << 6,
	HOW_OTHER_PATH = 1 << 7,
};

/* What is no row of the table. */
static const struct other {
	const char *interface, *member, *in;
	const char *path; /* NULL: CGM_PATH */
} others[] = {
	{"org.freedesktop.DBus.Peer", "Ping", ""},
	{"org.freedesktop.DBus.Peer", "GetMachineId", ""},
	{"org.freedesktop.DBus.Introspectable", "Introspect", ""},
	{"org.freedesktop.DBus.Properties", "Get", "ss"},
	{"org.freedesktop.DBus.Properties", "GetAll", "s"},
	{"org.freedesktop.DBus", "Hello", ""},
	{"org.freedesktop.DBus", "RequestName", "su"},
	{"org.freedesktop.DBus", "GetNameOwner", "s"},
	{"org.freedesktop.DBus", "NameHasOwner", "s"},
	{"org.freedesktop.DBus", "ListNames", ""},
	{"org.freedesktop.DBus", "AddMatch", "s"},
	{"org.freedesktop.DBus", "GetConnectionUnixUser", "s"},
	{"org.freedesktop.DBus", "GetConnectionUnixProcessID", "s"},
	{"org.freedesktop.DBus", "GetConnectionCredentials", "s"},
	{"org.freedesktop.DBus", "GetId", ""},
	{"org.freedesktop.DBus", "StartServiceByName", "su"},
	{"org.freedesktop.DBus.Introspectable", "Introspect", "", NATIVE_PATH},
	{"org.freedesktop.DBus.Properties", "Get", "ss", NATIVE_PATH},
	{"org.freedesktop.DBus.Properties", "GetAll", "s", NATIVE_PATH},
};

#define N_OTHERS (sizeof(others) / sizeof(others[0]))

/* The keys that methods take, by their number. */
static const struct known {
	enum method_id method;
	const char *name, *type;
} known[] = {
#define OPTION(method, name, type) {METHOD_##method, #name, (const char[]){type, 0}},
#include "../../dbus/options.def"
#undef OPTION
};

#define N_KNOWN (sizeof(known) / sizeof(known[0]))

/* An entry of an `as` or an a{sv}. */
struct item {
	char *text, *value; /* value: heap; of a string */
	const char *type;   /* of the value */
	uint32_t number;
};

struct argument {
	char *text;
	uint32_t number;
	unsigned n;
	struct item items[ITEMS_MAX];
};

struct call {
	const struct method *method; /* NULL: one of the others */
	const char *in;
	uint8_t how;
	struct argument args[ARGS_MAX];
	bool valid;   /* the texts are such that the message must be taken */
	bool refused; /* an option is none, of another type or there twice */
};

static struct server {
	sd_bus *bus;
	int peer;
	struct serve *serve;
	uint32_t serial;
	bool valid; /* of the call that is sent */
} server = {.peer = -EBADF};

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	(void)userdata;
	(void)error;
	/* A connection that ends is told as a signal. */
	if (sd_bus_is_open(server.bus) <= 0)
		return 1;
	if (dispatch_message(m, &serve_ops, server.serve) < 0)
		CHECK(!server.valid);
	return 1;
}

static void server_close(void)
{
	server.bus = sd_bus_close_unref(server.bus);
	close_fd(&server.peer);
}

static void server_open(void)
{
	int fds[2];
	char line[256];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	server.peer = fds[0];
	CHECK(sd_bus_new(&server.bus) >= 0);
	CHECK(sd_bus_set_fd(server.bus, fds[1], fds[1]) >= 0);
	CHECK(sd_bus_set_server(server.bus, 1,
		      SD_ID128_MAKE(1, 2, 3, 4, 5, 6, 7, 8, 9, a, b, c, d, e, f, 10)) >= 0);
	CHECK(sd_bus_set_anonymous(server.bus, 1) >= 0);
	CHECK(sd_bus_negotiate_fds(server.bus, 1) >= 0);
	CHECK(sd_bus_add_filter(server.bus, NULL, on_message, NULL) >= 0);
	CHECK(sd_bus_start(server.bus) >= 0);
	CHECK(send(server.peer, HELLO, sizeof(HELLO) - 1, MSG_NOSIGNAL) == sizeof(HELLO) - 1);
	while (sd_bus_process(server.bus, NULL) > 0)
		;
	CHECK(sd_bus_is_ready(server.bus) > 0);
	CHECK(recv(server.peer, line, sizeof(line), 0) > 3 && memcmp(line, "OK ", 3) == 0);
}

static char *take_text(struct input *in, struct call *c)
{
	char *text = input_text(in);

	c->valid &= text_is_utf8(text, strlen(text));
	return text;
}

/* A known key of the right type, or another of any. */
static void take_option(struct input *in, struct call *c, struct argument *arg)
{
	struct item *item = &arg->items[arg->n];
	uint8_t which = input_byte(in), type = input_byte(in) % 4;

	if (which % (N_KNOWN + 1) < N_KNOWN) {
		item->text = strdup(known[which % (N_KNOWN + 1)].name);
		item->type = known[which % (N_KNOWN + 1)].type;
	} else {
		item->text = take_text(in, c);
	}
	CHECK(item->text);
	if (which & 0x80 || !item->type)
		item->type = (const char *const[]){"s", "u", "i", "b"}[type];
	if (*item->type == 's')
		item->value = take_text(in, c);
	else
		item->number = *item->type == 'b' ? input_u32(in) & 1 : input_u32(in);
}

static bool option_fits(const struct call *c, const struct argument *arg, unsigned n)
{
	bool fits = false;

	for (size_t i = 0; i < N_KNOWN; i++)
		fits |= c->method && known[i].method == c->method->id &&
			strcmp(known[i].name, arg->items[n].text) == 0 &&
			strcmp(known[i].type, arg->items[n].type) == 0;
	for (unsigned i = 0; i < n; i++)
		fits &= strcmp(arg->items[i].text, arg->items[n].text) != 0;
	return fits;
}

static void take_items(struct input *in, struct call *c, const char *type, struct argument *arg)
{
	for (unsigned n = input_byte(in) % (ITEMS_MAX + 1); arg->n < n; arg->n++) {
		if (type[1] == 's') {
			arg->items[arg->n].text = take_text(in, c);
			continue;
		}
		take_option(in, c, arg);
		c->refused |= !option_fits(c, arg, arg->n);
	}
}

static void arguments_take(struct input *in, struct call *c)
{
	struct argument *arg = c->args;

	c->valid = true;
	for (const char *type = c->in; *type; type += type_length(type), arg++) {
		CHECK(arg < c->args + ARGS_MAX);
		if (*type == 's')
			arg->text = take_text(in, c);
		else if (type[0] == 'a' && type[1] == 'y')
			arg->text = input_text(in);
		else if (*type == 'a')
			take_items(in, c, type, arg);
		else if (*type != 'h')
			arg->number = input_u32(in);
	}
}

static void arguments_free(struct call *c)
{
	for (unsigned i = 0; i < ARGS_MAX; i++) {
		free(c->args[i].text);
		for (unsigned n = 0; n < c->args[i].n; n++) {
			free(c->args[i].items[n].text);
			free(c->args[i].items[n].value);
		}
	}
}

static void put_items(struct wire *w, const char *type, const struct argument *arg)
{
	size_t align = type[1] == '{' ? 8 : 4, begun = wire_array_begin(w, align);

	for (unsigned i = 0; i < arg->n; i++) {
		const struct item *item = &arg->items[i];

		if (type[1] == '{')
			wire_struct(w);
		wire_text(w, item->text);
		if (type[1] != '{')
			continue;
		wire_signature(w, item->type);
		if (*item->type == 's')
			wire_text(w, item->value);
		else
			wire_u32(w, item->number);
	}
	wire_array_end(w, begun, align);
}

static void put_bytes(struct wire *w, const struct argument *arg)
{
	size_t begun = wire_array_begin(w, 1);

	wire_bytes(w, arg->text, strlen(arg->text));
	wire_array_end(w, begun, 1);
}

static void put_arguments(struct wire *w, const struct call *c)
{
	const struct argument *arg = c->args;

	for (const char *type = c->in; *type; type += type_length(type), arg++)
		if (*type == 's')
			wire_text(w, arg->text);
		else if (type[0] == 'a' && type[1] == 'y')
			put_bytes(w, arg);
		else if (*type == 'a')
			put_items(w, type, arg);
		else if (*type == 't')
			wire_u64(w, arg->number);
		else
			wire_u32(w, *type == 'h' ? 0 : arg->number);
}

/* With a socket of ours as what a twin, or a method that takes an fd, is called with. */
static void send_bytes(struct wire *w, bool fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {};
	struct iovec iov = {w->data, w->size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &server.peer, sizeof(int));
	}
	CHECK(sendmsg(server.peer, &msg, MSG_NOSIGNAL) == (ssize_t)w->size);
}

static void send_call(const struct call *c, const struct other *other)
{
	static struct wire w;
	struct wire_head head = {
		.type = 1,
		.flags = c->how & HOW_NO_REPLY ? NO_REPLY : 0,
		.serial = ++server.serial,
		.path = c->how & HOW_OTHER_PATH ? "/org"
			: c->method		? method_interface(c->method)->path
			: other->path		? other->path
						: CGM_PATH,
		.interface = c->method ? method_interface(c->method)->name : other->interface,
		.member = c->method ? c->method->name : other->member,
		.fds = strchr(c->in, 'h') ? 1 : 0,
		.signature = c->how & HOW_WRONG_SIGNATURE ? "sai"
			     : *c->in			  ? c->in
							  : NULL,
	};

	if (c->how & HOW_NO_INTERFACE)
		head.interface = NULL;
	if (c->how & HOW_DESTINATION)
		head.destination = "org.linuxcontainers.cgmanager";
	if (c->how & HOW_DRIVER) {
		head.path = "/org/freedesktop/DBus";
		head.destination = "org.freedesktop.DBus";
	}
	w.big = c->how & HOW_BIG;
	wire_begin(&w, &head);
	put_arguments(&w, c);
	wire_end(&w);
	send_bytes(&w, head.fds > 0);
}

/* Only one of the fields has this name. */
static void check_field(const struct request *r, const char *name, const struct argument *arg)
{
	const struct {
		const char *name, *text;
		int32_t number;
	} fields[] = {
		{"controller", r->controller, 0},
		{"cgroup", r->cgroup, 0},
		{"file", r->file, 0},
		{"key", r->key, 0},
		{"value", r->value, 0},
		{"device", r->device, 0},
		{"access", r->access, 0},
		{"name", r->name, 0},
		{"pid", NULL, r->pid},
		{"uid", NULL, r->uid},
		{"gid", NULL, r->gid},
		{"mode", NULL, r->mode},
		{"recursive", NULL, r->recursive},
		{"junk", NULL, r->junk},
		{"item", r->item, 0},
		{"cpu", NULL, r->cpu},
		{"flags", NULL, (int32_t)r->flags},
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strcmp(fields[i].name, name) != 0)
			continue;
		if (arg->text)
			CHECK(fields[i].text && strcmp(fields[i].text, arg->text) == 0);
		else
			CHECK((uint32_t)fields[i].number == arg->number);
		return;
	}
}

static void check_texts(const char *const *texts, const struct argument *arg)
{
	CHECK(texts && !texts[arg->n]);
	for (unsigned i = 0; i < arg->n; i++)
		CHECK(strcmp(texts[i], arg->items[i].text) == 0);
}

static void check_bytes(const struct request_bytes *bytes, const struct argument *arg)
{
	CHECK(bytes->size == strlen(arg->text));
	CHECK(bytes->size == 0 || memcmp(bytes->data, arg->text, bytes->size) == 0);
}

static void check_options(const struct request *r, const struct argument *arg)
{
	const struct request_options *o = &r->options;
	const uint32_t numbers[OPTION_MAX] = {
		[OPTION_AddDevice_uid] = o->uid,
		[OPTION_AddDevice_gid] = o->gid,
		[OPTION_AddDevice_mode] = o->mode,
		[OPTION_RevokePerf_kill] = (uint32_t)o->kill,
	};
	unsigned given = 0;

	for (unsigned i = 0; i < arg->n; i++) {
		const struct item *item = &arg->items[i];
		size_t k = 0;

		while (known[k].method != r->method->id || strcmp(known[k].name, item->text) != 0)
			k++;
		given |= 1U << k;
		if (*item->type == 's')
			CHECK(strcmp(o->path, item->value) == 0);
		else
			CHECK(numbers[k] == item->number);
	}
	CHECK(o->given == given);
}

/* Just before the message goes: what was decoded is what was sent. */
static void check_request(const struct call *c)
{
	const struct request *r = &server.serve->request;
	unsigned i = 0;

	CHECK(r->method == c->method);
	for (const char *type = c->in; *type; type += type_length(type), i++)
		if (*type != 'a')
			check_field(r, r->method->in_names[i], &c->args[i]);
		else if (type[1] == 'y')
			check_bytes(&r->attr, &c->args[i]);
		else if (type[1] == 's')
			check_texts(r->rules ? r->rules : r->items, &c->args[i]);
		else
			check_options(r, &c->args[i]);
}

/* Gives how many answers there were, all of them well-formed. */
static unsigned read_answers(const struct call *c)
{
	static uint8_t data[4 * WIRE_MAX];
	size_t size = 0, at = 0;
	unsigned n = 0;
	ssize_t r;

	while ((r = recv(server.peer, data + size, sizeof(data) - size, 0)) > 0) {
		size += (size_t)r;
		sd_bus_process(server.bus, NULL);
	}
	while (at < size) {
		struct wire_seen seen;
		size_t len = wire_check(data + at, size - at, &seen);

		CHECK(len > 0);
		at += len;
		if (seen.reply_serial != server.serial)
			continue;
		n++;
		if (c->method && seen.type == 2)
			CHECK(strcmp(seen.signature, c->method->out) == 0);
		else if (seen.type == 3)
			CHECK(strcmp(seen.signature, "s") == 0);
	}
	return n;
}

static void run(struct call *c, const struct other *other)
{
	const unsigned ordinary = HOW_BIG | HOW_NO_REPLY | HOW_NO_INTERFACE | HOW_LATER;
	struct serve *s = server.serve;
	bool plain = c->method && c->valid && !(c->how & ~ordinary);
	unsigned answers;

	if (!server.bus)
		server_open();
	server.valid = c->valid;
	send_call(c, other);
	while (sd_bus_process(server.bus, NULL) > 0)
		;
	CHECK(!plain || s->calls == !c->refused);
	CHECK(s->calls <= 1 && s->refused <= 1 - s->calls);
	if (s->kept)
		check_request(c);
	CHECK(serve_answer(s) >= 0);
	answers = read_answers(c);
	CHECK(answers <= (c->how & HOW_NO_REPLY ? 0 : 1));
	CHECK(!plain || answers == 1 || c->how & HOW_NO_REPLY);
	/* What was malformed, sd-bus passed over or ended the connection for. */
	if (!c->valid || sd_bus_is_open(server.bus) <= 0)
		server_close();
}

/* The rows, then the others, then the twins. */
static void method_take(struct input *in, struct call *c, const struct other **ret_other)
{
	unsigned index = input_byte(in) % (2 * METHOD_MAX + N_OTHERS);

	*ret_other = NULL;
	if (index < METHOD_MAX) {
		c->method = &methods[index];
	} else if (index < METHOD_MAX + N_OTHERS) {
		*ret_other = &others[index - METHOD_MAX];
	} else {
		index -= METHOD_MAX + N_OTHERS;
		c->method = method_twin(index) ?: &methods[index];
	}
	c->in = c->method ? c->method->in : (*ret_other)->in;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct serve serve = {0};
	const struct other *other;
	struct call c = {0};
	_cleanup_free_ char *text = NULL;

	method_take(&in, &c, &other);
	c.how = input_byte(&in);
	serve.later = c.how & HOW_LATER;
	serve.reason = (enum reason)(input_byte(&in) % REASON_MAX);
	serve.size = input_byte(&in);
	arguments_take(&in, &c);
	text = input_text(&in);
	serve.text = text;
	server.serve = &serve;
	run(&c, other);
	serve_done(&serve);
	arguments_free(&c);
	server.serve = NULL;
	return 0;
}
