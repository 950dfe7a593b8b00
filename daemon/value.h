/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What GetValue and SetValue read and write: a key may stand for other files of the cgroup than one
 * of its name, see ../policy/translate.h. It is planned once the hierarchy is known, opened before
 * the verdict, and read after it by the very fds that were judged.
 */
#pragma once

#include "op.h"

/* What holds the texts of a plan's files; NULL where one is not there. */
struct texts {
	char *text[PLAN_FILES_MAX];
};

void value_init(struct value *v);
void value_done(struct value *v);

/* Fills the plan of the op's one hierarchy, and op->question with what the verdict goes by. */
enum reason value_plan(struct op *op);

/* Opens the plan's files (O_RDONLY or O_WRONLY) and fills t->facts with what the verdict will need:
 * the files, or why they cannot be used. */
void value_open(struct op *op, struct target *t, int flags);

/* The texts of all that were opened, newlines at their ends stripped. */
int value_read(const struct target *t, struct texts *ret);
/* Newlines at the end of a text of `len` bytes go. */
void text_strip(char *text, size_t len);
void texts_done(struct texts *texts);

/* The block device that the value's path names, as "MAJOR:MINOR" and with the rest of the value.
 * `ret` holds PLAN_TEXT_MAX. False: there is none, or it would not fit. */
bool value_device(const char *value, char *ret);

#define _cleanup_texts_ __attribute__((cleanup(texts_done)))
