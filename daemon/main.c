/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "manager.h"
#include "options.h"

/*
 * --daemon: the first process waits until the second can answer clients, and exits with what became
 * of it.
 */
static int background(int *ret_fd)
{
	int pipes[2];
	char byte;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid > 0) {
		close(pipes[1]);
		_exit(read(pipes[0], &byte, 1) == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
	}
	close(pipes[0]);
	if (setsid() < 0 || chdir("/") < 0)
		return -errno;
	*ret_fd = pipes[1];
	return 0;
}

static int tell_fd(int *fd)
{
	ssize_t n = 1;

	if (*fd >= 0)
		n = write(*fd, "\n", 1);
	close_fd(fd);
	return n == 1 ? 0 : -EIO;
}

/* Standard input and output stay open until here, so that errors at start are seen. */
static int detach(void)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		return -errno;
	/* Into a file or the journal the log goes on; on a terminal it would outlive the session.
	 */
	if (isatty(STDERR_FILENO) && dup2(null, STDERR_FILENO) < 0)
		return -errno;
	return 0;
}

static int pidfile_open(const char *path)
{
	int fd;

	if (!path)
		return -EBADF;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	return fd < 0 ? -errno : fd;
}

static int tell_ready(const struct options *options, int pidfile, int background_fd)
{
	int ready_fd = options->ready_fd;

	if (pidfile >= 0 && dprintf(pidfile, "%d\n", getpid()) < 0)
		return -EIO;
	if (tell_fd(&ready_fd) < 0)
		return -EIO;
	if (options->daemonize && detach() < 0)
		return -EIO;
	sd_notify(0, "READY=1\nSTATUS=Answering clients");
	if (tell_fd(&background_fd) < 0)
		return -EIO;
	if (options->sigstop)
		raise(SIGSTOP);
	return 0;
}

int main(int argc, char **argv)
{
	struct manager *manager = NULL;
	struct options options;
	int r = 0, background_fd = -EBADF, pidfile;

	switch (options_parse(argc, argv, &options)) {
	case OPTIONS_RUN:
		break;
	case OPTIONS_DONE:
		return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
	case OPTIONS_WRONG:
		return 2;
	}
	umask(022);
	if (options.debug)
		log_set_level(LOG_DEBUG);
	if (options.daemonize)
		r = background(&background_fd);
	if (r >= 0)
		r = manager_new(&options, &manager);
	if (r < 0)
		return EXIT_FAILURE;
	pidfile = pidfile_open(options.pidfile);
	if (options.pidfile && pidfile < 0) {
		log_line(LOG_ERR, "%s: %s", options.pidfile, strerror(-pidfile));
		r = pidfile;
	}
	if (r >= 0)
		r = tell_ready(&options, pidfile, background_fd);
	close_fd(&pidfile);
	if (r >= 0)
		r = manager_run(manager);
	if (options.pidfile)
		unlink(options.pidfile);
	manager_free(manager);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
