/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Acts on a cgroup's files and ownership. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "act.h"
#include "cgroupfs.h"
#include "cleanup.h"
#include "devfiles.h"
#include "inspect.h"
#include "leaf.h"
#include "manager.h"
#include "ops.h"
#include "value.h"

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
	value_open(op, t, O_RDONLY);
	return REASON_OK;
}

/* The kernel writes pids as the reader has them, and the reader is the daemon. */
static int pids_text(struct op *op, const struct target *t, char **text)
{
	struct reply *reply = &op->reply;
	size_t size = 0;
	FILE *f;
	int r = tasks_append(op, *text);

	if (r >= 0)
		r = tasks_of_leaf(op, t, t->value.plan.file[0]);
	if (r < 0)
		return r;
	if (t->h->v2)
		pids_sort_unique(reply->pids, &reply->n_pids);
	free(*text);
	*text = NULL;
	f = open_memstream(text, &size);
	if (!f)
		return -ENOMEM;
	for (size_t i = 0; i < reply->n_pids; i++)
		fprintf(f, "%s%d", i > 0 ? "\n" : "", reply->pids[i]);
	return fclose(f) == 0 ? 0 : -ENOMEM;
}

/* Several numbers of shares are one weight; if the one that was set still is, it is the answer. */
static bool get_shares(struct op *op, struct target *t, const struct texts *texts)
{
	const struct plan *p = &t->value.plan;
	char text[24];
	uint64_t shares;

	if (!(p->flags & PLAN_SHARES) ||
		inspect_note_get(op->manager->inspector, t->dir_fd, NOTE_SHARES, &shares) != 1 ||
		!plan_shares(p, (const char *const *)texts->text, shares))
		return false;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)shares);
	op->reply.text = strdup(text);
	return op->reply.text;
}

/* What is said in another format takes more room, by the words that it needs for each number. */
#define TRANSLATED_SIZE(len) (PLAN_TEXT_MAX + 8 * (len))

static void get_translated(struct op *op, struct target *t, const struct texts *texts)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;

	for (unsigned i = 0; i < t->value.plan.n; i++)
		size += texts->text[i] ? strlen(texts->text[i]) : 0;
	size = TRANSLATED_SIZE(size);
	text = malloc(size);
	if (!text) {
		target_fail(t, -ENOMEM);
		return;
	}
	t->reason = plan_get(&t->value.plan, (const char *const *)texts->text, text, size);
	if (t->reason == REASON_OK)
		op->reply.text = TAKE_PTR(text);
}

static void get_run(struct op *op, struct target *t)
{
	_cleanup_texts_ struct texts texts = {0};
	bool pids = op->question.key && op->question.key->class == KEY_PIDS;
	int r;

	if (t->value.by_program) {
		devfiles_get(op, t);
		return;
	}
	r = value_read(t, &texts);
	if (r >= 0 && pids)
		r = pids_text(op, t, &texts.text[0]);
	if (r < 0)
		tasks_fail(t, r);
	else if (pids || !t->value.plan.setting)
		op->reply.text = TAKE_PTR(texts.text[0]);
	else if (!get_shares(op, t, &texts))
		get_translated(op, t, &texts);
}

const struct act act_get = {.prepare = get_prepare, .run = get_run};

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

	/* It is no cgroup to the outside. */
	if (leaf_is_child(l->op->manager->inspector, l->op->first.h, dirfd, name))
		return 0;
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

static int key_add(struct listing *l, const char *name, uid_t uid, gid_t gid, mode_t mode)
{
	struct reply *reply = &l->op->reply;
	const struct subject *s = &l->op->who.subject;
	struct reply_key *key;

	if (count_name(l, name) < 0)
		return -E2BIG;
	if (grow((void **)&reply->keys, l->n, &l->size, sizeof(*reply->keys)) < 0)
		return -ENOMEM;
	key = &reply->keys[l->n];
	key->name = strdup(name);
	if (!key->name)
		return -ENOMEM;
	key->uid = id_inside(&s->uid_map, uid);
	key->gid = id_inside(&s->gid_map, gid);
	key->mode = mode;
	reply->n_keys = ++l->n;
	return 0;
}

static int key_append(void *userdata, int dirfd, const char *name)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	return key_add(userdata, name, st.st_uid, st.st_gid, st.st_mode);
}

static int key_append_by_program(void *userdata, const char *name)
{
	struct listing *l = userdata;
	const struct target *t = &l->op->first;
	struct node node;

	devfiles_node(name, &t->way[t->place.n - 1], &node);
	return key_add(l, name, node.uid, node.gid, node.mode);
}

static int key_compare(const void *a, const void *b)
{
	return strcmp(((const struct reply_key *)a)->name, ((const struct reply_key *)b)->name);
}

static void keys_run(struct op *op, struct target *t)
{
	struct listing l = {.op = op};
	int r = cgroup_each(t->dir_fd, false, key_append, &l);

	if (r >= 0 && t->h->devices)
		r = devfiles_each(key_append_by_program, &l);
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
	int r = 0;

	if (t->h->v2)
		r = leaf_chown(op->manager->inspector, t->dir_fd, owner->uid, owner->gid, name);
	if (r < 0)
		return r;
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
