/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Acts on a cgroup's files and ownership. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../policy/throttle.h"
#include "act.h"
#include "cgroupfs.h"
#include "cleanup.h"
#include "inspect.h"
#include "manager.h"
#include "ops.h"

#define VALUE_MAX ((size_t)512 * 1024)
#define MODE_MASK 0775

static enum reason file_open(struct target *t, const char *name)
{
	if (t->place.missing > 0)
		return REASON_CGROUP_MISSING;
	t->file_fd = cgroup_open_file(t->dir_fd, name, O_RDONLY, &t->file);
	switch (t->file_fd) {
	case -ENOENT:
		return REASON_KEY_MISSING;
	case -ENODEV:
		return REASON_CGROUP_MISSING;
	case -EISDIR:
	case -ELOOP:
		return REASON_KEY_NOT_FILE;
	case -EACCES:
	case -EPERM:
		return REASON_NO_READ;
	}
	if (t->file_fd < 0) {
		t->err = -t->file_fd;
		return REASON_KERNEL;
	}
	t->facts.file = &t->file;
	return REASON_OK;
}

/*
 * GetValue.
 */

static enum reason get_prepare(struct op *op, struct target *t)
{
	return file_open(t, op->request.key);
}

/* The kernel writes pids as the reader has them, and the reader is the daemon. */
static int pids_text(struct op *op, char **text)
{
	struct reply *reply = &op->reply;
	size_t size = 0;
	FILE *f;
	int r = tasks_append(op, *text);

	if (r < 0)
		return r;
	free(*text);
	*text = NULL;
	f = open_memstream(text, &size);
	if (!f)
		return -ENOMEM;
	for (size_t i = 0; i < reply->n_pids; i++)
		fprintf(f, "%d\n", reply->pids[i]);
	return fclose(f) == 0 ? 0 : -ENOMEM;
}

static void get_run(struct op *op, struct target *t)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = cgroup_read(t->file_fd, VALUE_MAX, &text, &len);

	if (r >= 0 && op->question.key && op->question.key->class == KEY_PIDS) {
		r = pids_text(op, &text);
		len = r >= 0 ? strlen(text) : 0;
	}
	if (r < 0) {
		target_fail(t, r);
		return;
	}
	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	op->reply.text = TAKE_PTR(text);
}

const struct act act_get = {.prepare = get_prepare, .run = get_run};

/*
 * SetValue.
 */

static enum reason set_prepare(struct op *op, struct target *t)
{
	char path[PATH_TEXT_MAX + 1];
	int r;

	if (!op->question.key || !(op->question.key->flags & KEY_THROTTLE) || t->place.missing > 0)
		return REASON_OK;
	if (!target_path(t, path))
		return REASON_PATH_LENGTH;
	r = throttle_ancestors(t->h, path, op->request.key, &t->throttle);
	return r < 0 ? REASON_INTERNAL : REASON_OK;
}

/* The core does not have the capability that the kernel asks for. */
static int set_by_inspector(struct op *op, const struct target *t)
{
	_cleanup_close_ int fd = cgroup_open_file(t->dir_fd, op->request.key, O_WRONLY, NULL);

	return fd < 0 ? fd : inspect_write_devices(op->manager->inspector, fd, op->request.value);
}

static enum reason set_error(const struct op *op, int err)
{
	switch (err) {
	case -ENOENT:
		return REASON_KEY_MISSING;
	case -EISDIR:
		return REASON_KEY_NOT_FILE;
	case -EINVAL:
	case -ERANGE:
	case -E2BIG:
		return REASON_VALUE_REFUSED;
	case -EPERM:
		/* v1's devices: the parent does not have what the rule gives. */
		if (op->question.key->flags & KEY_ADMIN)
			return REASON_VALUE_WIDER;
		break;
	}
	return REASON_OK;
}

static void set_run(struct op *op, struct target *t)
{
	char text[PATH_TEXT_MAX + 2];
	size_t len = strlen(op->request.value);
	int r;

	if (len == 0)
		return;
	if (t->throttle) {
		r = throttle_narrows(t->throttle, op->request.value);
		if (r <= 0) {
			t->reason = r < 0 ? REASON_VALUE_REFUSED : REASON_VALUE_WIDER;
			return;
		}
	}
	memcpy(text, op->request.value, len);
	text[len] = '\n';
	r = op->question.key->flags & KEY_ADMIN
		    ? set_by_inspector(op, t)
		    : cgroup_write(t->dir_fd, op->request.key, text, len + 1);
	if (r < 0) {
		target_fail(t, r);
		if (set_error(op, r) != REASON_OK)
			t->reason = set_error(op, r);
	}
}

const struct act act_set = {.prepare = set_prepare, .run = set_run};

/*
 * ListChildren, ListKeys.
 */

/* Bytes of names in one answer, which a client may leave unread. */
#define NAMES_MAX ((size_t)256 * 1024)

struct listing {
	struct op *op;
	size_t n, size, bytes;
};

/* One more name: -E2BIG once there are too many. */
static int count_name(struct listing *l, const char *name)
{
	l->bytes += strlen(name) + 1;
	return l->bytes > NAMES_MAX ? -E2BIG : 0;
}

static int grow(void **list, size_t n, size_t *size, size_t item)
{
	void *bigger;

	if (n + 2 <= *size)
		return 0;
	*size = *size ? *size * 2 : 32;
	bigger = realloc(*list, *size * item);
	if (!bigger)
		return -ENOMEM;
	*list = bigger;
	return 0;
}

static int child_append(void *userdata, int dirfd, const char *name)
{
	struct listing *l = userdata;
	struct reply *reply = &l->op->reply;

	if (count_name(l, name) < 0)
		return -E2BIG;
	if (grow((void **)&reply->names, l->n, &l->size, sizeof(*reply->names)) < 0)
		return -ENOMEM;
	reply->names[l->n] = strdup(name);
	reply->names[l->n + 1] = NULL;
	return reply->names[l->n++] ? 0 : -ENOMEM;
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void children_run(struct op *op, struct target *t)
{
	struct listing l = {.op = op};
	int r = cgroup_each(t->dir_fd, true, child_append, &l);

	if (r < 0)
		target_fail(t, r);
	else if (l.n > 0)
		qsort(op->reply.names, l.n, sizeof(*op->reply.names), name_compare);
}

const struct act act_children = {.run = children_run};

static uint32_t id_inside(const struct idmap *map, uint32_t outside)
{
	uint32_t inside;

	return idmap_to_inside(map, outside, &inside) ? inside : IDMAP_INVALID;
}

static int key_append(void *userdata, int dirfd, const char *name)
{
	struct listing *l = userdata;
	struct reply *reply = &l->op->reply;
	const struct subject *s = &l->op->who.subject;
	struct reply_key *key;
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (count_name(l, name) < 0)
		return -E2BIG;
	if (grow((void **)&reply->keys, l->n, &l->size, sizeof(*reply->keys)) < 0)
		return -ENOMEM;
	key = &reply->keys[l->n];
	key->name = strdup(name);
	if (!key->name)
		return -ENOMEM;
	key->uid = id_inside(&s->uid_map, st.st_uid);
	key->gid = id_inside(&s->gid_map, st.st_gid);
	key->mode = st.st_mode;
	reply->n_keys = ++l->n;
	return 0;
}

static int key_compare(const void *a, const void *b)
{
	return strcmp(((const struct reply_key *)a)->name, ((const struct reply_key *)b)->name);
}

static void keys_run(struct op *op, struct target *t)
{
	struct listing l = {.op = op};
	int r = cgroup_each(t->dir_fd, false, key_append, &l);

	if (r < 0)
		target_fail(t, r);
	else if (l.n > 0)
		qsort(op->reply.keys, l.n, sizeof(*op->reply.keys), key_compare);
}

const struct act act_keys = {.run = keys_run};

/*
 * Chown, Chmod.
 */

struct owner {
	uid_t uid;
	gid_t gid;
};

static int chown_files(struct op *op, struct target *t, const struct owner *owner)
{
	const char *const *name = cgroup_ops(t->h)->delegation(op->manager);

	for (; *name; name++)
		if (fchownat(t->dir_fd, *name, owner->uid, owner->gid, AT_SYMLINK_NOFOLLOW) < 0 &&
			errno != ENOENT)
			return -errno;
	return fchown(t->dir_fd, owner->uid, owner->gid) < 0 ? -errno : 0;
}

static uint32_t id_outside(const struct idmap *map, uint32_t inside)
{
	uint32_t outside;

	/* Leaves it as it is: the map may not have been gathered. */
	if (inside == IDMAP_INVALID)
		return IDMAP_INVALID;
	/* The decision has refused what is not mapped. */
	return idmap_to_outside(map, inside, &outside) ? outside : IDMAP_INVALID;
}

static void chown_run(struct op *op, struct target *t)
{
	const struct node *before = &t->way[t->place.n - 1];
	struct owner owner = {op->question.uid, op->question.gid};
	int r;

	if (!op->question.host_ids) {
		owner.uid = id_outside(&op->who.subject.uid_map, op->question.uid);
		owner.gid = id_outside(&op->who.subject.gid_map, op->question.gid);
	}
	r = chown_files(op, t, &owner);

	if (r < 0) {
		struct owner old = {before->uid, before->gid};

		chown_files(op, t, &old);
		target_fail(t, r);
	}
}

const struct act act_chown = {.run = chown_run};

static enum reason chmod_prepare(struct op *op, struct target *t)
{
	/* Who names a file that is never changed learns that, and not whether it is there. */
	if (op->request.file[0] == '\0' || !op->question.key || op->question.key->class != KEY_STAT)
		return REASON_OK;
	return file_open(t, op->request.file);
}

static void chmod_run(struct op *op, struct target *t)
{
	int fd = op->request.file[0] ? t->file_fd : t->dir_fd;

	if (fchmod(fd, (mode_t)op->request.mode & MODE_MASK) < 0)
		target_fail(t, -errno);
}

const struct act act_chmod = {.prepare = chmod_prepare, .run = chmod_run};
