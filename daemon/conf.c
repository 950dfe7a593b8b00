/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "log.h"

#define BLANKS " \t"

struct reading {
	FILE *file;
	char *line; /* heap */
	size_t size;
	struct grants grants;
	int error;
	unsigned number, wrong; /* lines; the one that could not be understood */
	const char *why;
};

static void cleanup_file(FILE **file)
{
	if (*file)
		fclose(*file);
}

static void reading_done(struct reading *r)
{
	free(r->line);
	grants_done(&r->grants);
}

#define _cleanup_fclose_ __attribute__((cleanup(cleanup_file)))
#define _cleanup_reading_ __attribute__((cleanup(reading_done)))

/* ---- what it says */

static void complain(struct reading *r, int error, const char *why)
{
	if (r->error)
		return;
	r->error = error;
	r->why = why;
	r->wrong = r->number;
}

/* Sections are read here, for libinih cuts their names at 49 bytes without a word. */
static void read_section(struct reading *r, char *text)
{
	const char *why = NULL;
	char *end = strchr(text, ']');
	int error = grants_section_end(&r->grants, &why);

	if (error == 0 && !end) {
		complain(r, -EINVAL, "a section ends in ]");
		return;
	}
	if (error == 0) {
		*end = '\0';
		error = grants_section(&r->grants, text, &why);
	}
	if (error < 0)
		complain(r, error, why);
}

/* As fgets(3). libinih learns only that a section begins, and gets no line that it would cut. */
static char *read_line(char *buf, int size, void *userdata)
{
	struct reading *r = userdata;
	ssize_t n = getline(&r->line, &r->size, r->file);
	char *text;

	if (n < 0) {
		if (ferror(r->file))
			complain(r, -EIO, "it cannot be read");
		return NULL;
	}
	r->number++;
	text = r->line + strspn(r->line, BLANKS);
	if (strlen(r->line) != (size_t)n)
		complain(r, -EINVAL, "a NUL byte");
	else if (*text == '[')
		read_section(r, text + 1);
	else if (n >= size)
		complain(r, -EINVAL,
			"the line is too long; allow and grant may be there more than once");
	if (r->error)
		return NULL;
	return strcpy(buf, *text == '[' ? "[]\n" : r->line);
}

static int read_key(void *userdata, const char *section, const char *key, const char *value)
{
	struct reading *r = userdata;
	const char *why = NULL;
	int error = grants_key(&r->grants, key, value, &why);

	if (error < 0)
		complain(r, error, why);
	return error == 0;
}

static void read_all(struct reading *r)
{
	int line = ini_parse_stream(read_line, r, read_key, r);
	const char *why = NULL;
	int error;

	/* the line of the first error, of those that it finds itself, too */
	if (line > 0 && (!r->error || (unsigned)line < r->wrong)) {
		r->error = -EINVAL;
		r->why = "it is neither a section nor KEY = VALUE";
		r->wrong = (unsigned)line;
	} else if (line < 0) {
		complain(r, -ENOMEM, NULL);
	}
	if (r->error)
		return;
	error = grants_section_end(&r->grants, &why);
	if (error < 0)
		complain(r, error, why);
}

/* ---- whose it is */

/* The sticky bit keeps others from renaming or removing what is not theirs. */
static const char *judge(const struct stat *st, bool directory)
{
	if (!directory && !S_ISREG(st->st_mode))
		return "it is no regular file";
	if (directory && !S_ISDIR(st->st_mode))
		return "not all on the way is a directory, and symlinks are not followed";
	if (st->st_uid != 0)
		return directory ? "a directory on the way does not belong to root"
				 : "it does not belong to root";
	if (st->st_mode & 022 && !(directory && st->st_mode & S_ISVTX))
		return directory ? "others may write a directory on the way"
				 : "others may write it";
	if (!directory && st->st_size > CONF_SIZE_MAX)
		return "it is larger than 1 MiB";
	return NULL;
}

/* The next component; *fd is closed for it. */
static int step(int *fd, const char *name, bool directory, const char **why)
{
	/* a FIFO is not waited for */
	int flags =
		O_CLOEXEC | O_NOFOLLOW | (directory ? O_PATH : O_RDONLY | O_NONBLOCK | O_NOCTTY);
	int next = openat(*fd, name, flags);
	struct stat st;

	if (next < 0) {
		*why = errno == ELOOP ? "it is a symlink, which is not followed" : NULL;
		return -errno;
	}
	close_fd(fd);
	*fd = next;
	if (fstat(*fd, &st) < 0)
		return -errno;
	*why = judge(&st, directory);
	return *why ? -EPERM : 0;
}

static int open_judged(const char *path, const char **why)
{
	_cleanup_close_ int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *copy = strdup(path);
	char *state = NULL, *name, *next;
	int r = 0;

	if (fd < 0)
		return -errno;
	if (!copy)
		return -ENOMEM;
	for (name = strtok_r(copy, "/", &state); name && r == 0; name = next) {
		next = strtok_r(NULL, "/", &state);
		r = step(&fd, name, next != NULL, why);
	}
	return r < 0 ? r : TAKE_FD(fd);
}

static int report(const char *path, const struct reading *r)
{
	if (r->wrong)
		log_line(LOG_ERR, "%s:%u: %s; nothing of it counts", path, r->wrong,
			r->why ? r->why : strerror(-r->error));
	else
		log_line(LOG_ERR, "%s: %s; nothing of it counts", path,
			r->why ? r->why : strerror(-r->error));
	return r->error;
}

int conf_load(const char *path, struct grants *grants)
{
	_cleanup_fclose_ FILE *file = NULL;
	_cleanup_reading_ struct reading r = {0};
	_cleanup_close_ int fd = open_judged(path, &r.why);

	if (fd < 0 && fd != -ENOENT) {
		r.error = fd;
		return report(path, &r);
	}
	if (fd >= 0) {
		file = fdopen(fd, "r");
		if (!file)
			return -errno;
		TAKE_FD(fd);
		r.file = file;
		read_all(&r);
		if (r.error)
			return report(path, &r);
	}
	grants_done(grants);
	*grants = r.grants;
	r.grants = (struct grants){0};
	return 0;
}
