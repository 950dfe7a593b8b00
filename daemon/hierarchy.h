/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cgroup hierarchies of this kernel as the daemon's cgroup namespace shows them: found once at
 * start from /proc/self/mountinfo and /proc/self/cgroup, each held by a directory fd of its root.
 * Every later access is relative to that fd, so what is mounted over it afterwards does not matter.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define HIERARCHIES_MAX 32
#define HIERARCHY_NAME_MAX 256

struct hierarchy {
	unsigned index;
	bool v2;
	bool devices; /* v2: device programs do the work of v1's devices files, see devfiles.h */
	bool use_hierarchy; /* v1 memory on a kernel where memory.use_hierarchy can still be 0 */
	int id;		    /* the number in /proc/PID/cgroup; 0 for v2. -1: found by controllers */
	int root_fd;	    /* O_DIRECTORY | O_RDONLY of the hierarchy's root; owned */
	uint64_t root_id;   /* st_ino of the root */
	uint64_t dev;	    /* st_dev */
	/* As ListControllers shows it: "memory", "cpu,cpuacct", "name=systemd", "unified,hugetlb";
	 * of v2 also what clients of v1 call its controllers: "unified,cpu,io,blkio,freezer" */
	char name[HIERARCHY_NAME_MAX];
	/* As /proc/PID/cgroup shows it between the colons: "memory", "name=systemd", "" for v2 */
	char proc_name[HIERARCHY_NAME_MAX];
	/* v1 mount options that have to be the same in another mount of it ("xattr"), or the kernel
	 * warns */
	char flags[64];
};

struct hierarchies {
	unsigned n;
	bool v1_perf; /* v1 has perf_event, if in no hierarchy of these: v2 is then nothing to
			 events (the kernel's perf_cgroup_connect()) */
	struct hierarchy list[HIERARCHIES_MAX];
};

/*
 * `mount`: comma list of v1 controllers or name=X to mount where nobody has (-m); they are mounted
 * detached (fsopen, fsmount), so no path shows them. `ignore`: comma list to leave alone (-M). Both
 * may be NULL. A hierarchy counts only where its root is mounted whole (mountinfo's root field is
 * "/"). ENODEV: there is none at all. On failure *ret_what (static text or heap, may be NULL) names
 * the item.
 */
int hierarchies_discover(struct hierarchies *ret, const char *mount, const char *ignore,
	char *ret_what, unsigned size);
void hierarchies_done(struct hierarchies *h);

/* Programs can be attached in v2: it answers to the names of those of v1's controllers whose work
 * they do, unless these are there. -M leaves v1's hierarchy alone, not this. -E2BIG: there are too
 * many names. */
int hierarchies_by_program(struct hierarchies *h);

/* The hierarchy that has this controller: a name, name=X, the exact comounted list, "unified", or a
 * v2 controller's name. `len` bytes. NULL: none. */
const struct hierarchy *hierarchy_find(const struct hierarchies *h, const char *name, unsigned len);

/* Can it say which devices a cgroup may have? v1's devices controller; v2 by programs. */
bool hierarchy_governs_devices(const struct hierarchy *h);

/*
 * The path of a task in one hierarchy from the text of /proc/PID/cgroup: absolute, as the daemon's
 * namespace shows it. -ENOENT: no such line. -ENAMETOOLONG: the path may be cut (4,095 characters).
 * -EXDEV: outside what the daemon sees ("/.."). -ESTALE: removed (" (deleted)"; a live cgroup may
 * be named so, it is refused too). `ret` holds at least PATH_TEXT_MAX + 1 bytes.
 */
int hierarchy_path(const struct hierarchy *h, const char *text, unsigned len, char *ret);
