/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The measure of the transport: what sd-bus does when it is left alone. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "measure.h"
#include "party.h"

static int on_ping(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	int junk, r = sd_bus_message_read(m, "i", &junk);

	return r < 0 ? r : sd_bus_reply_method_return(m, NULL);
}

static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Ping", "i", "", on_ping, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

static int on_gone(sd_event_source *source, void *userdata)
{
	sd_bus *bus = userdata;

	sd_event_source_disable_unref(source);
	sd_bus_detach_event(bus);
	sd_bus_close_unref(bus);
	return 0;
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	sd_event_source *later = NULL;

	/* Not from within its own dispatch. */
	if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.Local", "Disconnected"))
		need(sd_event_add_defer(userdata, &later, on_gone, sd_bus_message_get_bus(m)),
			"sd_event_add_defer");
	return 0;
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	sd_bus *bus = NULL;
	int client = need_errno(accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), "accept");

	need(sd_bus_new(&bus), "sd_bus_new");
	need(sd_bus_set_fd(bus, client, client), "sd_bus_set_fd");
	need(sd_bus_set_server(bus, 1, (sd_id128_t){.bytes = {1}}), "sd_bus_set_server");
	need(sd_bus_set_anonymous(bus, 1), "sd_bus_set_anonymous");
	need(sd_bus_add_filter(bus, NULL, on_disconnected, userdata), "sd_bus_add_filter");
	need(sd_bus_add_object_vtable(bus, NULL, "/org/linuxcontainers/cgmanager",
		     "org.linuxcontainers.cgmanager0_0", vtable, NULL),
		"sd_bus_add_object_vtable");
	need(sd_bus_start(bus), "sd_bus_start");
	need(sd_bus_attach_event(bus, userdata, 0), "sd_bus_attach_event");
	return 0;
}

static _Noreturn void serve(int fd)
{
	sd_event *event = NULL;

	need(sd_event_new(&event), "sd_event_new");
	need(sd_event_add_io(event, NULL, fd, EPOLLIN, on_accept, event), "sd_event_add_io");
	sd_event_loop(event);
	_exit(0);
}

pid_t bare_start(const char *socket_path)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = need_errno(
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket");
	pid_t pid;

	snprintf(name.sun_path, sizeof(name.sun_path), "%s", socket_path);
	need_errno(bind(fd, (struct sockaddr *)&name, sizeof(name)), socket_path);
	need_errno(chmod(socket_path, 0777), socket_path);
	need_errno(listen(fd, 64), "listen");
	pid = need_errno(fork(), "fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(fd);
	}
	close(fd);
	return pid;
}
