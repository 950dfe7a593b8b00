/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devprog.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "cleanup.h"
#include "devprog-core.h"
#include "log.h"
#include "proc.h"

#define BPFFS_DEFAULT "/sys/fs/bpf"
/* Below this a few lists of devices would not fit. 5.10 takes a page. */
#define STORAGE_ENOUGH 4080

int cgroup_number(int fd, uint64_t *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*ret = st.st_ino;
	return 0;
}

int device_policy_copy(const void *data, size_t size, struct device_policy *ret)
{
	void *copy = malloc(size);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, data, size);
	*ret = (struct device_policy){.size = size, .data = copy};
	return 0;
}

/*
 * Making it.
 */

__attribute__((format(printf, 2, 0))) static int log_libbpf(
	enum libbpf_print_level level, const char *format, va_list args)
{
	char text[512], *state = NULL;

	(void)level;
	vsnprintf(text, sizeof(text), format, args);
	for (char *line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state))
		log_line(LOG_DEBUG, "%s", line);
	return 0;
}

static bool has_capability(cap_value_t value)
{
	cap_flag_value_t set = CAP_CLEAR;
	cap_t caps = cap_get_proc();

	if (caps)
		cap_get_flag(caps, value, CAP_EFFECTIVE, &set);
	cap_free(caps);
	return set == CAP_SET;
}

/* Since 5.19 sysctl kernel.unprivileged_bpf_disabled leaves alone what is done to fds that one
 * holds. */
static bool calls_need_capability(void)
{
	unsigned major = 0, minor = 0;
	struct utsname name;

	if (uname(&name) < 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return true;
	return major < 5 || (major == 5 && minor < 19);
}

static bool unprivileged_disabled(void)
{
	char text[16];

	return proc_read(AT_FDCWD, "/proc/sys/kernel/unprivileged_bpf_disabled", text,
		       sizeof(text)) > 0 &&
	       text[0] != '0';
}

/* What the core will not have any more when it is confined, it must not count upon. */
static const char *rights_find(struct devprog *d)
{
	bool needed = calls_need_capability();

	if (!has_capability(CAP_NET_ADMIN))
		return "CAP_NET_ADMIN is missing";
	d->rights = (struct sandbox_bpf){.calls = true, .capability = needed};
	if (!has_capability(CAP_BPF) && needed && unprivileged_disabled())
		return "CAP_BPF, which bpf(2) asks for at each call before Linux 5.19, is missing";
	return NULL;
}

static int programs_try(struct devprog *d)
{
	static const size_t sizes[] = DEVICE_POLICY_CLASSES;
	int r = -EOPNOTSUPP;

	d->n_classes = 0;
	for (unsigned i = 0; i < CLASSES_MAX; i++) {
		_cleanup_free_ void *zero = calloc(1, sizes[i]);
		const struct device_policy none = {.size = sizes[i], .data = zero};
		_cleanup_close_ int fd = -EBADF;
		uint32_t id;

		r = zero ? program_load(&none, &fd, &id) : -ENOMEM;
		if (r < 0)
			break;
		d->classes[d->n_classes++] =
			(struct class){.size = sizes[i], .prog_fd = -EBADF, .map_fd = -EBADF};
	}
	return d->n_classes > 0 ? 0 : r;
}

/* The kind, and what it needs loaded. */
static int load(struct devprog *d, enum devprog_kind force)
{
	int r = -EOPNOTSUPP;

	if (force != DEVPROG_PROGRAMS) {
		r = classes_load(d);
		if (r >= 0 && (force == DEVPROG_STORAGE ||
				      d->classes[d->n_classes - 1].size >= STORAGE_ENOUGH)) {
			d->kind = DEVPROG_STORAGE;
			return 0;
		}
		classes_done(d);
	}
	if (force == DEVPROG_STORAGE || r == -ENOMEM)
		return r;
	/* They are made when they are needed. Before 5.8 that is for CAP_SYS_ADMIN. */
	if (!has_capability(CAP_BPF) || !has_capability(CAP_PERFMON))
		return -EPERM;
	r = programs_try(d);
	if (r < 0)
		return r;
	d->kind = DEVPROG_PROGRAMS;
	d->rights.loads = d->rights.capability = true;
	return 0;
}

static int new (struct devprog **ret)
{
	struct devprog *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	/* Of the default kind this cannot fail. */
	pthread_mutex_init(&d->lock, NULL);
	d->links_fd = -EBADF;
	*ret = d;
	return 0;
}

static void give_up(struct devprog *d, const char *why)
{
	d->kind = DEVPROG_NONE;
	d->rights = (struct sandbox_bpf){0};
	snprintf(d->why, sizeof(d->why), "%s", why);
}

int devprog_off(const char *why, struct devprog **ret)
{
	int r = new (ret);

	if (r >= 0)
		give_up(*ret, why);
	return r;
}

int devprog_new(const char *bpffs, enum devprog_kind force, struct devprog **ret)
{
	const char *missing;
	struct devprog *d;
	char why[96];
	int r = new (&d);

	if (r < 0)
		return r;
	libbpf_set_print(log_libbpf);
	missing = rights_find(d);
	if (missing) {
		give_up(d, missing);
		*ret = d;
		return 0;
	}
	r = load(d, force);
	if (r >= 0)
		r = pins_open(d, bpffs ? bpffs : BPFFS_DEFAULT);
	if (r == -ENOMEM) {
		devprog_free(d);
		return r;
	}
	if (r < 0) {
		snprintf(why, sizeof(why), "bpf(2): %s", strerror(-r));
		give_up(d, why);
	}
	*ret = d;
	return 0;
}

struct devprog *devprog_free(struct devprog *d)
{
	if (!d)
		return NULL;
	pins_done(d);
	made_done(d);
	classes_done(d);
	pthread_mutex_destroy(&d->lock);
	free(d);
	return NULL;
}

enum devprog_kind devprog_kind(const struct devprog *d)
{
	return d->kind;
}

const char *devprog_why(const struct devprog *d)
{
	return d->why;
}

bool devprog_pins(const struct devprog *d)
{
	return d->links_fd >= 0;
}

void devprog_rights(const struct devprog *d, struct sandbox_bpf *ret)
{
	*ret = d->rights;
}

size_t devprog_policy_max(const struct devprog *d)
{
	return d->n_classes > 0 ? d->classes[d->n_classes - 1].size : 0;
}

/*
 * What is attached.
 */

struct class *class_by_id(struct devprog *d, uint32_t id)
{
	for (unsigned i = 0; i < d->n_classes; i++)
		if (d->classes[i].id == id)
			return &d->classes[i];
	return NULL;
}

static bool is_ours(struct devprog *d, uint32_t id)
{
	return d->kind == DEVPROG_STORAGE ? class_by_id(d, id) != NULL : made_find(d, id) != NULL;
}

int devprog_query_locked(struct devprog *d, int fd, struct devprog_attached *ret)
{
	uint32_t ids[DEVPROG_ATTACHED_MAX], n = DEVPROG_ATTACHED_MAX, flags = 0;
	int r = bpf_prog_query(fd, BPF_CGROUP_DEVICE, 0, &flags, ids, &n);

	if (r < 0)
		return r;
	ret->flags = flags;
	ret->n = n;
	for (unsigned i = 0; i < n; i++)
		ret->one[i] = (struct devprog_one){.id = ids[i], .ours = is_ours(d, ids[i])};
	return 0;
}

int devprog_query(struct devprog *d, int fd, struct devprog_attached *ret)
{
	int r;

	if (d->kind == DEVPROG_NONE)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&d->lock);
	r = devprog_query_locked(d, fd, ret);
	pthread_mutex_unlock(&d->lock);
	return r;
}

bool devprog_has(const struct devprog_attached *have, uint32_t id)
{
	for (unsigned i = 0; i < have->n; i++)
		if (have->one[i].id == id)
			return true;
	return false;
}

bool devprog_ancestor_allows(const struct devprog_attached *above)
{
	return above->n == 0 || (above->flags & BPF_F_ALLOW_MULTI);
}

/*
 * Policies.
 */

/* What is attached last is the newer: what was before it is to be detached. */
int devprog_get_locked(
	struct devprog *d, int fd, const struct devprog_attached *have, struct device_policy *ret)
{
	uint64_t cgroup = 0;
	int r = cgroup_number(fd, &cgroup);

	for (unsigned i = have->n; r == 0 && i-- > 0;) {
		struct made *made;

		if (!have->one[i].ours)
			continue;
		if (d->kind == DEVPROG_STORAGE) {
			r = storage_get(class_by_id(d, have->one[i].id), cgroup, ret);
			continue;
		}
		made = made_find(d, have->one[i].id);
		r = device_policy_copy(made->policy.data, made->policy.size, ret);
		return r < 0 ? r : 1;
	}
	return r;
}

int devprog_policy_get(struct devprog *d, int fd, struct device_policy *ret)
{
	struct devprog_attached have;
	int r;

	if (d->kind == DEVPROG_NONE)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&d->lock);
	r = devprog_query_locked(d, fd, &have);
	if (r >= 0)
		r = devprog_get_locked(d, fd, &have, ret);
	pthread_mutex_unlock(&d->lock);
	return r;
}

/* Classes stay as long as the daemon does; programs that are made for one policy do not. */
int devprog_policy_read(
	struct devprog *d, int fd, const struct devprog_attached *have, struct device_policy *ret)
{
	int r;

	if (d->kind != DEVPROG_STORAGE)
		return devprog_policy_get(d, fd, ret);
	pthread_mutex_lock(&d->lock);
	r = devprog_get_locked(d, fd, have, ret);
	pthread_mutex_unlock(&d->lock);
	return r;
}

int devprog_set_locked(struct devprog *d, int fd, const struct device_policy *policy)
{
	uint64_t cgroup = 0;
	int r = cgroup_number(fd, &cgroup);

	if (r < 0)
		return r;
	return d->kind == DEVPROG_STORAGE ? storage_set(d, fd, cgroup, policy)
					  : made_set(d, fd, cgroup, policy);
}

int devprog_policy_set(struct devprog *d, int fd, const struct device_policy *policy)
{
	int r;

	if (d->kind == DEVPROG_NONE)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&d->lock);
	r = devprog_set_locked(d, fd, policy);
	pthread_mutex_unlock(&d->lock);
	return r;
}

static int clear_locked(
	struct devprog *d, int fd, uint64_t cgroup, const struct devprog_attached *have)
{
	return d->kind == DEVPROG_STORAGE ? storage_drop_all(d, fd, cgroup, have, NULL)
					  : made_drop_all(d, fd, cgroup, have, NULL);
}

int devprog_policy_clear(struct devprog *d, int fd)
{
	struct devprog_attached have;
	uint64_t cgroup = 0;
	int r = cgroup_number(fd, &cgroup);

	if (r < 0 || d->kind == DEVPROG_NONE)
		return r < 0 ? r : -EOPNOTSUPP;
	pthread_mutex_lock(&d->lock);
	r = devprog_query_locked(d, fd, &have);
	if (r >= 0)
		r = clear_locked(d, fd, cgroup, &have);
	pthread_mutex_unlock(&d->lock);
	return r;
}

bool device_policy_same(const struct device_policy *a, const struct device_policy *b)
{
	return !a->data == !b->data &&
	       (!a->data || (a->size == b->size && memcmp(a->data, b->data, a->size) == 0));
}

int devprog_policy_change(
	struct devprog *d, int fd, const struct device_policy *from, const struct device_policy *to)
{
	struct device_policy now = {0};
	struct devprog_attached have;
	uint64_t cgroup = 0;
	int r = cgroup_number(fd, &cgroup);

	if (r < 0 || d->kind == DEVPROG_NONE)
		return r < 0 ? r : -EOPNOTSUPP;
	pthread_mutex_lock(&d->lock);
	r = devprog_query_locked(d, fd, &have);
	if (r >= 0)
		r = devprog_get_locked(d, fd, &have, &now);
	if (r >= 0 && !device_policy_same(&now, from))
		r = -EAGAIN;
	if (r >= 0)
		r = to->data ? devprog_set_locked(d, fd, to) : clear_locked(d, fd, cgroup, &have);
	pthread_mutex_unlock(&d->lock);
	device_policy_done(&now);
	return r;
}
