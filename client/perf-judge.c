/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/perf_event.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "own.h"
#include "perf-findings.h"

#define HOST_ROOT "root on the host"

__attribute__((format(printf, 4, 5))) static void say(
	struct explanation *e, const char *name, enum layer_state state, const char *format, ...)
{
	struct layer *layer = &e->layers[e->n++];
	va_list ap;

	layer->name = name;
	layer->state = state;
	va_start(ap, format);
	vsnprintf(layer->why, sizeof(layer->why), format, ap);
	va_end(ap);
}

static const char *error_name(int result)
{
	static const struct {
		int error;
		const char *name;
	} names[] = {
		{EACCES, "EACCES"},
		{EPERM, "EPERM"},
		{ENOSYS, "ENOSYS"},
		{EINVAL, "EINVAL"},
		{ENOENT, "ENOENT"},
		{ENODEV, "ENODEV"},
		{EOPNOTSUPP, "EOPNOTSUPP"},
		{EMFILE, "EMFILE"},
		{ETIMEDOUT, "nobody answers"},
		{EBUSY, "EBUSY"},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].error == -result)
			return names[i].name;
	return "error";
}

/* Refused for want of privilege, by whatever layer. */
static bool is_refusal(int result)
{
	return result == -EACCES || result == -EPERM || result == -ENOSYS || result == -ETIMEDOUT;
}

/* The host has no such thing. */
static bool is_absence(const struct attempt *a)
{
	return a->lookup == -ENOENT || a->result == -ENOENT || a->result == -ENODEV ||
	       a->result == -ENXIO || a->result == -EOPNOTSUPP;
}

static bool is_open(const struct attempt *a)
{
	return a->lookup == 0 && a->result == 0;
}

/* The first needed one that fails, or NULL. */
static const struct attempt *find_failed(const struct findings *f)
{
	for (unsigned i = 0; i < f->n; i++)
		if (!f->attempts[i].optional && !is_open(&f->attempts[i]))
			return &f->attempts[i];
	return NULL;
}

static void judge_attempt(const struct attempt *a, struct explanation *e)
{
	char target[48] = "its own process";
	const char *optional = a->optional ? "; the program does without" : "";

	if (a->target == TARGET_CPU)
		snprintf(target, sizeof(target), "all processes, CPU %d", a->cpu);
	if (a->lookup == -ENOENT)
		say(e, "perf_event_open", LAYER_REFUSES, "%s: there is no such event%s", a->name,
			optional);
	else if (a->lookup < 0)
		say(e, "perf_event_open", LAYER_UNKNOWN, "%s: its number cannot be read: %s%s",
			a->name, strerror(-a->lookup), optional);
	else if (a->result == 0)
		say(e, "perf_event_open", LAYER_PASSES, "%s of %s: opened%s", a->name, target,
			a->user_only ? ", the user side alone" : "");
	else
		say(e, "perf_event_open",
			is_refusal(a->result) || is_absence(a) ? LAYER_REFUSES : LAYER_UNKNOWN,
			"%s of %s: %s (%s)%s", a->name, target, error_name(a->result),
			strerror(-a->result), optional);
}

static void judge_seccomp(const struct findings *f, struct explanation *e)
{
	const struct credentials *c = &f->credentials;
	char filters[48] = "filters";

	if (c->seccomp == 0) {
		say(e, "seccomp", LAYER_PASSES, "no filter");
		return;
	}
	if (c->filters > 0)
		snprintf(filters, sizeof(filters), "%d filter%s", c->filters,
			c->filters == 1 ? "" : "s");
	if (!is_refusal(f->flags_probe))
		say(e, "seccomp", LAYER_PASSES, "%s: perf_event_open is %s", filters,
			f->trapped ? "let pass, or handed to a listener" : "let pass");
	else if (f->flags_probe == -ETIMEDOUT)
		say(e, "seccomp", LAYER_REFUSES,
			"%s: perf_event_open is handed to a listener that does not answer",
			filters);
	else if (f->flags_probe == -ENOSYS)
		say(e, "seccomp", LAYER_REFUSES,
			"%s: perf_event_open is refused, or the listener it was handed to has gone",
			filters);
	else
		say(e, "seccomp", LAYER_REFUSES, "%s: perf_event_open is refused (%s)", filters,
			error_name(f->flags_probe));
}

static bool seccomp_refuses(const struct findings *f)
{
	return f->credentials.seccomp != 0 && is_refusal(f->flags_probe);
}

/* Does something refuse it to everybody, before it looks at what is asked for? Paranoid 3, which
 * some distributions have added, does the same. */
static bool lsm_refuses(const struct findings *f)
{
	return !seccomp_refuses(f) && is_refusal(f->memory_probe) && f->paranoid < 3;
}

static void judge_lsm(const struct findings *f, struct explanation *e)
{
	const char *label = f->label[0] ? f->label : "no label";

	if (lsm_refuses(f))
		say(e, "lsm", LAYER_REFUSES, "%s; modules: %s: refuses every event%s", label,
			f->lsms[0] ? f->lsms : "not to be seen",
			strstr(f->lsms, "bpf") ? ", as cgmd's gate does without a grant" : "");
	else if (seccomp_refuses(f))
		say(e, "lsm", LAYER_UNKNOWN, "%s: is not asked, since seccomp refuses", label);
	else
		say(e, "lsm", LAYER_PASSES, "%s: does not refuse every event", label);
}

static const char *paranoid_text(int level)
{
	if (level >= 3)
		return "who lacks CAP_PERFMON opens nothing";
	if (level == 2)
		return "who lacks CAP_PERFMON has the user side of its own processes alone";
	if (level == 1)
		return "who lacks CAP_PERFMON has its own processes alone";
	if (level == 0)
		return "everybody has all processes, but not raw tracepoints";
	return "everybody has everything";
}

static bool paranoid_refuses(int level, const struct attempt *a)
{
	if (level >= 3)
		return true;
	if (a->event.kind == EVENT_TRACEPOINT)
		return level > -1;
	return a->target == TARGET_CPU && level > 0;
}

static void judge_paranoid(
	const struct findings *f, const struct attempt *failed, struct explanation *e)
{
	bool refuses = failed && !credentials_count_for_perf(&f->credentials) &&
		       is_refusal(failed->result) && paranoid_refuses(f->paranoid, failed);

	if (f->paranoid_error == -ENOENT)
		say(e, "paranoid", LAYER_REFUSES, "this kernel has no perf events");
	else if (f->paranoid_error < 0)
		say(e, "paranoid", LAYER_UNKNOWN, "perf_event_paranoid: %s",
			strerror(-f->paranoid_error));
	else
		say(e, "paranoid", refuses ? LAYER_REFUSES : LAYER_PASSES, "level %d: %s",
			f->paranoid, paranoid_text(f->paranoid));
}

static void judge_capability(
	const struct findings *f, const struct attempt *failed, struct explanation *e)
{
	const struct credentials *c = &f->credentials;
	enum layer_state state =
		failed && is_refusal(failed->result) ? LAYER_REFUSES : LAYER_PASSES;
	unsigned long long ns = c->chain.n ? c->chain.ns[0].inode : 0;

	if (credentials_count_for_perf(c))
		say(e, "capability", LAYER_PASSES,
			"CAP_PERFMON or CAP_SYS_ADMIN, of the initial user namespace");
	else if (c->chain.n == 0)
		say(e, "capability", LAYER_UNKNOWN, "the user namespace cannot be seen");
	else if (credentials_have_perf(c))
		say(e, "capability", state,
			"CAP_PERFMON or CAP_SYS_ADMIN, but of user:[%llu]: only that of the "
			"initial user "
			"namespace counts",
			ns);
	else
		say(e, "capability", state,
			"neither CAP_PERFMON nor CAP_SYS_ADMIN, in user:[%llu]%s", ns,
			userns_is_initial(&c->chain.ns[0]) ? ", the initial one" : "");
}

/* Has the program, by its file, the capability where it counts? cgm does not become it to see. */
static bool file_may(const struct findings *f)
{
	struct credentials c = f->credentials;

	c.sets[CAP_SET_EFFECTIVE] = f->file_permitted & c.sets[CAP_SET_BOUNDING];
	return f->file_caps == FILE_CAPS_OURS && !f->file_root && !c.no_new_privs &&
	       credentials_count_for_perf(&c);
}

static void judge_file(const struct findings *f, struct explanation *e)
{
	OWN(own_string) char *caps = cap_set_text(f->file_permitted);
	bool initial = f->credentials.chain.n && userns_is_initial(&f->credentials.chain.ns[0]);
	const char *where =
		initial ? "" : ", in this user namespace alone, where it does not count";

	if (!f->program[0])
		return;
	if (f->file_caps == FILE_CAPS_NONE)
		say(e, "file", LAYER_PASSES, "%s has no capabilities of its own%s", f->program,
			initial ? "" : ", and any would be of this user namespace alone");
	else if (f->file_caps == FILE_CAPS_FOREIGN)
		say(e, "file", LAYER_PASSES,
			"%s has capabilities of another user namespace's root: they do nothing "
			"here",
			f->program);
	else if (f->file_root)
		say(e, "file", LAYER_PASSES,
			"%s has capabilities for the user namespace of root %u: %s", f->program,
			f->file_root, caps ? caps : "");
	else
		say(e, "file", LAYER_PASSES, "%s gives %s%s", f->program, caps ? caps : "", where);
}

static void judge_pmu(const struct findings *f, struct explanation *e)
{
	for (unsigned i = 0; i < f->n; i++) {
		const struct attempt *a = &f->attempts[i];

		if (a->event.kind != EVENT_PMU || a->optional)
			continue;
		if (a->lookup == -ENOENT && !a->event.pmu[0])
			say(e, "pmu", LAYER_REFUSES, "there is none of a GPU in /sys");
		else if (a->lookup == -ENOENT)
			say(e, "pmu", LAYER_REFUSES, "there is no %s with such an event in /sys",
				a->event.pmu);
		else if (a->lookup < 0)
			say(e, "pmu", LAYER_UNKNOWN, "/sys/bus/event_source/devices: %s",
				strerror(-a->lookup));
		else
			say(e, "pmu", LAYER_PASSES, "%s is there, type %u", a->event.pmu,
				a->event.type);
		return;
	}
}

static void judge_daemon(
	const struct findings *f, const struct attempt *failed, struct explanation *e)
{
	enum layer_state refuses = failed ? LAYER_REFUSES : LAYER_UNUSED;
	enum layer_state unknown = failed ? LAYER_UNKNOWN : LAYER_UNUSED;

	if (f->daemon == DAEMON_ABSENT)
		say(e, "cgmd", refuses, "there is no daemon at %s", f->daemon_text);
	else if (f->daemon == DAEMON_MUTE)
		say(e, "cgmd", refuses, "%s", f->daemon_text);
	else
		say(e, "cgmd", LAYER_PASSES, "it answers at %s", f->daemon_text);
	if (f->run_text[0])
		say(e, "perf run", LAYER_REFUSES, "%s", f->run_text);
	if (f->daemon != DAEMON_THERE)
		say(e, "grant", unknown, "%s: there is no daemon to ask", f->item);
	else if (f->grant == GRANT_GIVEN)
		say(e, "grant", LAYER_PASSES, "%s is granted to this cgroup", f->item);
	else
		say(e, "grant", f->grant == GRANT_MISSING ? refuses : unknown, "%s: %s", f->item,
			f->grant_text);
}

__attribute__((format(printf, 3, 4))) static void mend(
	struct explanation *e, const char *who, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(e->command, sizeof(e->command), format, ap);
	va_end(ap);
	snprintf(e->who, sizeof(e->who), "%s", who);
}

static void mend_runtime(const struct findings *f, struct explanation *e)
{
	mend(e,
		HOST_ROOT
		", who tells the container's runtime what that prints, and starts it anew",
		"cgm perf config %s", f->oci ? "oci" : "lxc");
}

static void mend_grant(const struct findings *f, struct explanation *e)
{
	if (f->cgroup[0])
		mend(e, HOST_ROOT, "cgm perf grant %s %s", f->cgroup, f->item);
	else
		mend(e, HOST_ROOT ", with the container's cgroup for CGROUP",
			"cgm perf grant CGROUP %s", f->item);
}

/* A container whose runtime hands its calls to cgmd needs no socket of it. */
static void mend_daemon(const struct findings *f, struct explanation *e)
{
	if (f->daemon == DAEMON_MUTE)
		mend(e, HOST_ROOT ", who finds there why it does not answer",
			"systemctl status cgmd");
	else if (!f->container)
		mend(e, HOST_ROOT, "systemctl start cgmd");
	else if (f->trapped)
		mend_grant(f, e);
	else
		mend_runtime(f, e);
}

static void mend_call(const struct findings *f, const struct attempt *failed, struct explanation *e)
{
	if (failed->through_cgmd)
		mend(e, "you, here", "cgm perf run -- %s", f->program[0] ? f->program : "PROGRAM");
	else if (f->trapped)
		mend(e, HOST_ROOT ", who finds there why it is refused", "cgm perf show");
	else
		mend(e, HOST_ROOT ", who finds there why cgm perf run would be refused",
			"cgm perf show");
}

/* From the layer that is asked first to the last: what the first one refuses the others never see.
 */
static void judge_mend(
	const struct findings *f, const struct attempt *failed, struct explanation *e)
{
	if (is_absence(failed) || f->paranoid_error == -ENOENT)
		snprintf(e->who, sizeof(e->who),
			"no command mends that: the host's kernel has no such event, or its driver "
			"is "
			"not loaded, or /sys does not show it here");
	else if (failed->lookup < 0)
		snprintf(e->who, sizeof(e->who),
			"where its number cannot be read, the program cannot know it either: mount "
			"%s there",
			failed->event.kind == EVENT_TRACEPOINT ? "tracefs" : "sysfs");
	else if (f->flags_probe == -ETIMEDOUT)
		mend(e, HOST_ROOT ", if cgmd is who holds the listener", "systemctl restart cgmd");
	else if (seccomp_refuses(f))
		mend_runtime(f, e);
	else if (file_may(f))
		snprintf(e->who, sizeof(e->who),
			"run the program itself: its file gives it what cgm, which tried, lacks");
	else if (!is_refusal(failed->result))
		snprintf(e->who, sizeof(e->who),
			"no layer refused it: see errors in perf_event_open(2)");
	else if (f->daemon != DAEMON_THERE)
		mend_daemon(f, e);
	else if (f->grant == GRANT_UNKNOWN || f->run_text[0])
		mend(e, "you, here: it says what state perf is in", "cgm perf show");
	else if (f->grant == GRANT_MISSING)
		mend_grant(f, e);
	else
		mend_call(f, failed, e);
}

void findings_judge(const struct findings *f, struct explanation *ret)
{
	const struct attempt *failed = find_failed(f);

	*ret = (struct explanation){.verdict = LAYER_PASSES};
	for (unsigned i = 0; i < f->n; i++)
		judge_attempt(&f->attempts[i], ret);
	/* a program that makes no such call meets no layer */
	if (f->n == 0)
		return;
	judge_pmu(f, ret);
	judge_seccomp(f, ret);
	judge_lsm(f, ret);
	judge_paranoid(f, failed, ret);
	judge_capability(f, failed, ret);
	judge_file(f, ret);
	judge_daemon(f, failed, ret);
	if (!failed)
		return;
	ret->verdict = is_absence(failed) || (is_refusal(failed->result) && !file_may(f))
			       ? LAYER_REFUSES
			       : LAYER_UNKNOWN;
	judge_mend(f, failed, ret);
}
