/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/capability.h>
#include <unistd.h>

#include "caps.h"
#include "credentials.h"
#include "invocation.h"
#include "json.h"
#include "own.h"
#include "print.h"
#include "text.h"

#define INDENT 2
#define DEPTH_MAX 1024		/* of parents and children: deeper ones are left out */
#define PROCESSES_MAX (1 << 22) /* PID_MAX_LIMIT */

static const char *const seccomp_names[] = {"off", "strict", "filter"};

static const struct {
	unsigned bit;
	const char *name;
} securebits[] = {
	{SECBIT_NOROOT, "noroot"},
	{SECBIT_NOROOT_LOCKED, "noroot_locked"},
	{SECBIT_NO_SETUID_FIXUP, "no_setuid_fixup"},
	{SECBIT_NO_SETUID_FIXUP_LOCKED, "no_setuid_fixup_locked"},
	{SECBIT_KEEP_CAPS, "keep_caps"},
	{SECBIT_KEEP_CAPS_LOCKED, "keep_caps_locked"},
	{SECBIT_NO_CAP_AMBIENT_RAISE, "no_cap_ambient_raise"},
	{SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED, "no_cap_ambient_raise_locked"},
};

struct processes {
	size_t n, room;
	struct credentials *all;
};

static void processes_done(struct processes *p)
{
	free(p->all);
}

static void own_flags(bool **flags)
{
	free(*flags);
}

static int processes_add(struct processes *p, const struct credentials *c)
{
	if (p->n == p->room) {
		size_t room = p->room ? 2 * p->room : 64;
		struct credentials *all = reallocarray(p->all, room, sizeof(*all));

		if (!all)
			return -ENOMEM;
		p->all = all;
		p->room = room;
	}
	p->all[p->n++] = *c;
	return 0;
}

/* Those that go away meanwhile are passed over. */
static int processes_list(struct processes *p)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int r = dir ? 0 : -errno;

	while (r == 0 && (entry = readdir(dir))) {
		struct credentials c;
		uint64_t pid;

		if (digits_parse(entry->d_name, 10, PROCESSES_MAX, &pid) < 0)
			continue;
		if (credentials_get((pid_t)pid, &c) == 0)
			r = processes_add(p, &c);
	}
	if (dir)
		closedir(dir);
	return r;
}

/* The kernel shows nobody's but our own. NULL: not known. */
static json_t *securebits_json(const struct credentials *c)
{
	int bits = c->pid == getpid() ? (int)cap_get_secbits() : -1;
	json_t *array = bits < 0 ? json_null() : json_array();

	for (size_t i = 0; bits > 0 && i < sizeof(securebits) / sizeof(securebits[0]); i++)
		if ((unsigned)bits & securebits[i].bit)
			json_array_append_new(array, json_string(securebits[i].name));
	return array;
}

static json_t *userns_json(const struct userns *ns)
{
	return json_pack("{s:I, s:b, s:o}", "inode", (json_int_t)ns->inode, "initial",
		userns_is_initial(ns), "owner",
		ns->owner_unknown ? json_null() : json_integer(ns->owner));
}

/* From its own outwards. */
static json_t *chain_json(const struct userns_chain *chain)
{
	json_t *array = json_array();

	for (unsigned i = 0; array && i < chain->n; i++)
		json_array_append_new(array, userns_json(&chain->ns[i]));
	return array;
}

static json_t *sets_json(const struct credentials *c)
{
	json_t *sets = json_object();

	for (unsigned i = 0; sets && i < CAP_SET_MAX; i++) {
		json_t *ns =
			c->chain.n ? json_integer((json_int_t)c->chain.ns[0].inode) : json_null();

		json_object_set_new(sets, cap_set_names[i],
			json_pack("{s:o, s:o}", "user_namespace", ns, "capabilities",
				cap_set_json(c->sets[i])));
	}
	return sets;
}

static json_t *ids_json(const uint32_t ids[4])
{
	return json_pack("{s:I, s:I, s:I, s:I}", "real", (json_int_t)ids[0], "effective",
		(json_int_t)ids[1], "saved", (json_int_t)ids[2], "filesystem", (json_int_t)ids[3]);
}

static json_t *process_json(const struct credentials *c)
{
	const char *mode = seccomp_names[c->seccomp < 3 ? c->seccomp : 2];

	return json_pack("{s:i, s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:s, s:o, s:b}", "pid",
		c->pid, "parent", c->parent, "name", c->name, "uid", ids_json(c->uid), "gid",
		ids_json(c->gid), "user_namespaces", chain_json(&c->chain), "sets", sets_json(c),
		"securebits", securebits_json(c), "no_new_privs", c->no_new_privs, "seccomp", mode,
		"seccomp_filters", c->filters < 0 ? json_null() : json_integer(c->filters),
		"counts_for_perf", credentials_count_for_perf(c));
}

static void print_userns(FILE *out, const struct userns *ns)
{
	fprintf(out, "user:[%llu]", (unsigned long long)ns->inode);
	if (userns_is_initial(ns))
		fputs(", the initial one", out);
	else if (!ns->owner_unknown)
		fprintf(out, ", of uid %u", ns->owner);
	putc('\n', out);
}

/* From the outermost that may be seen to its own; returns how far in that is. */
static int print_chain(FILE *out, const struct userns_chain *chain)
{
	int indent = 0;

	if (!userns_is_visible(chain)) {
		fputs(chain->n ? "(out of sight)\n" : "(a user namespace that you may not see)\n",
			out);
		indent = INDENT;
	}
	for (unsigned i = chain->n; i > 0; i--, indent += INDENT) {
		fprintf(out, "%*s", indent, "");
		print_userns(out, &chain->ns[i - 1]);
	}
	return indent;
}

static void print_line(FILE *out, int indent, const char *name, const char *text)
{
	fprintf(out, "%*s%-13s %s\n", indent, "", name, text);
}

static void print_ids(FILE *out, int indent, const char *name, const uint32_t ids[4])
{
	fprintf(out, "%*s%-13s %u", indent, "", name, ids[0]);
	if (ids[1] != ids[0] || ids[2] != ids[0] || ids[3] != ids[0])
		fprintf(out, ", effective %u, saved %u, of the file system %u", ids[1], ids[2],
			ids[3]);
	putc('\n', out);
}

static void print_set(FILE *out, int indent, const char *name, uint64_t set)
{
	OWN(own_string) char *text = cap_set_text(set);

	print_line(out, indent, name, text ? text : strerror(ENOMEM));
}

static void print_securebits(FILE *out, int indent, const struct credentials *c)
{
	OWN(json_decrefp) json_t *bits = securebits_json(c);
	json_t *bit;
	size_t i;

	if (!json_is_array(bits))
		return;
	fprintf(out, "%*s%-13s", indent, "", "securebits");
	json_array_foreach(bits, i, bit) fprintf(out, " %s", json_string_value(bit));
	fputs(json_array_size(bits) ? "\n" : " none\n", out);
}

static const char *perf_text(const struct credentials *c)
{
	if (credentials_count_for_perf(c))
		return "has cap_perfmon or cap_sys_admin where it counts";
	if (!credentials_have_perf(c))
		return "neither cap_perfmon nor cap_sys_admin is effective";
	return c->chain.n
		       ? "cap_perfmon and cap_sys_admin count in the initial user namespace alone"
		       : "whether its capabilities count there depends on its user namespace";
}

static void print_process(FILE *out, int indent, const struct credentials *c, enum escape escape)
{
	fprintf(out, "%*s%d ", indent, "", c->pid);
	print_text(out, c->name, escape);
	putc('\n', out);
	indent += INDENT;
	print_ids(out, indent, "uid", c->uid);
	print_ids(out, indent, "gid", c->gid);
	for (unsigned i = 0; i < CAP_SET_MAX; i++)
		print_set(out, indent, cap_set_names[i], c->sets[i]);
	print_securebits(out, indent, c);
	print_line(out, indent, "no_new_privs", c->no_new_privs ? "yes" : "no");
	fprintf(out, "%*s%-13s %s", indent, "", "seccomp",
		seccomp_names[c->seccomp < 3 ? c->seccomp : 2]);
	fprintf(out, c->filters > 0 ? ", %d loaded\n" : "\n", c->filters);
	print_line(out, indent, "for perf", perf_text(c));
}

/* One line: what is below a process. */
static void print_descendant(FILE *out, int indent, const struct credentials *c, enum escape escape)
{
	OWN(own_string) char *effective = cap_set_text(c->sets[CAP_SET_EFFECTIVE]);

	fprintf(out, "%*s%d ", indent, "", c->pid);
	print_text(out, c->name, escape);
	fprintf(out, "  uid %u", c->uid[1]);
	if (c->chain.n)
		fprintf(out, "  user:[%llu]", (unsigned long long)c->chain.ns[0].inode);
	fprintf(out, "  effective %s\n", effective ? effective : strerror(ENOMEM));
}

/* What is below `parent`, each behind its parent. The list was not read at one instant: with a
 * number that came twice it may have a circle, so each counts once. */
static int walk_below(const struct processes *p, bool *told, pid_t parent, int depth,
	int (*visit)(void *arg, const struct credentials *c, int depth), void *arg)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->n && depth < DEPTH_MAX; i++) {
		if (told[i] || p->all[i].parent != parent)
			continue;
		told[i] = true;
		r = visit(arg, &p->all[i], depth);
		if (r == 0)
			r = walk_below(p, told, p->all[i].pid, depth + 1, visit, arg);
	}
	return r;
}

struct view {
	FILE *out;
	enum escape escape;
	int indent;
	json_t *rows; /* NULL: as lines */
};

static int show(void *arg, const struct credentials *c, int depth)
{
	struct view *view = arg;

	if (view->rows)
		return json_array_append_new(view->rows, process_json(c)) < 0 ? -ENOMEM : 0;
	if (depth > 0) {
		print_descendant(view->out, view->indent + depth * INDENT, c, view->escape);
		return 0;
	}
	view->indent = print_chain(view->out, &c->chain);
	print_process(view->out, view->indent, c, view->escape);
	return 0;
}

static int show_below(struct view *view, pid_t pid)
{
	OWN(processes_done) struct processes p = {0};
	OWN(own_flags) bool *told = NULL;
	int r = processes_list(&p);

	if (r < 0)
		return r;
	told = calloc(p.n + 1, sizeof(*told));
	return told ? walk_below(&p, told, pid, 1, show, view) : -ENOMEM;
}

int caps_print(FILE *out, const struct invocation *inv, char **ret_error)
{
	bool recursive = inv->given & 1U, terminal = isatty(fileno(out));
	OWN(json_decrefp) json_t *rows = inv->json ? json_array() : NULL;
	struct view view = {out, terminal ? ESCAPE_ALL : ESCAPE_NONE, 0, rows};
	pid_t pid = inv->given & 2U ? inv->values[1].number : 0;
	struct credentials c;
	int r = credentials_get(pid, &c);

	if (inv->json && !rows)
		return -ENOMEM;
	if (r == -ESRCH && asprintf(ret_error, "caps: there is no process %d", pid) < 0)
		*ret_error = NULL;
	if (r == 0)
		r = show(&view, &c, 0);
	if (r == 0 && recursive)
		r = show_below(&view, c.pid);
	if (r == 0 && rows)
		r = json_print(out, recursive ? rows : json_array_get(rows, 0), terminal);
	return r;
}
