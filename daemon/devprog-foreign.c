/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Other people's programs, by the inspector. */
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "devprog.h"

_Static_assert(DEVPROG_NAME_MAX == INSPECT_PROGRAM_NAME_MAX, "one length of names");

void devprog_foreign_done(struct devprog_foreign *f)
{
	free(f->insns);
	*f = (struct devprog_foreign){0};
}

static int bytes_read(int fd, size_t size, void *ret)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, (char *)ret + done, size - done, (off_t)done);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

int devprog_foreign_get(struct inspector *i, uint32_t id, struct devprog_foreign *ret)
{
	struct devprog_foreign f = {0};
	_cleanup_free_ struct bpf_insn *insns = NULL;
	_cleanup_close_ int fd = inspect_program(i, id, f.name, &f.n_maps);
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	f.n_insns = (size_t)st.st_size / sizeof(*insns);
	if (f.n_insns > 0) {
		insns = calloc(f.n_insns, sizeof(*insns));
		r = insns ? bytes_read(fd, f.n_insns * sizeof(*insns), insns) : -ENOMEM;
		if (r < 0)
			return r;
	}
	f.insns = TAKE_PTR(insns);
	*ret = f;
	return 0;
}
