/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The text of /proc/PID/status. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../../daemon/cleanup.h"
#include "../../daemon/proc.h"
#include "fuzz.h"

static struct proc_status status, again;

static void check_written(const struct proc_status *s)
{
	static char text[SUBJECT_GROUPS_MAX * 12 + 256];
	int n = snprintf(text, sizeof(text),
		"Name:\tx\nUid:\t%u\t%u\t%u\t0\nGid:\t%u\t%u\t%u\t0\nCapEff:\t%016" PRIx64
		"\nGroups:\t",
		s->ruid, s->euid, s->suid, s->rgid, s->egid, s->sgid, s->caps);

	for (unsigned i = 0; i < s->n_groups; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%u ", s->groups[i]);
	snprintf(text + n, sizeof(text) - (size_t)n, "\n");
	CHECK(proc_status_parse(text, &again) == 0);
	CHECK(again.ruid == s->ruid && again.euid == s->euid && again.suid == s->suid);
	CHECK(again.rgid == s->rgid && again.egid == s->egid && again.sgid == s->sgid);
	CHECK(again.caps == s->caps && again.n_groups == s->n_groups && !again.groups_cut);
	CHECK(memcmp(again.groups, s->groups, s->n_groups * sizeof(s->groups[0])) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	_cleanup_free_ char *text = input_text(&in);
	int r;

	status.ruid = 77;
	r = proc_status_parse(text, &status);
	if (r == 0) {
		CHECK(status.n_groups <= SUBJECT_GROUPS_MAX);
		CHECK(!status.groups_cut || status.n_groups == SUBJECT_GROUPS_MAX);
		CHECK(strstr(text, "Uid:") && strstr(text, "Gid:") && strstr(text, "CapEff:") &&
			strstr(text, "Groups:"));
		check_written(&status);
	} else {
		CHECK(r == -EINVAL && status.ruid == 77);
	}
	return 0;
}
