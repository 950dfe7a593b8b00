/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The authority rules, a row each (decide-rows.def), and what holds for all of them: which facts
 * were known when decide() was asked does not change the verdict.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "../../policy/controller.h"
#include "../../policy/decide.h"
#include "subjects.h"

#define WAY_MAX 4

struct row {
	const char *about;
	enum reason expect;
	enum action action;
	enum who who;
	struct node way[WAY_MAX]; /* ends at a mode of 0; rows' modes carry their type */
	unsigned missing, depth;
	bool far, outside, top; /* base not known to lie in scope; target outside; scope's root */
	bool has_parent;
	bool at_the_top;
	struct node parent, file, more[2], ancestor, level; /* more files end at a mode of 0 */
	struct victim victim;
	bool has_victim, victim_out, victim_beside, above, down, ancestor_out;
	const char *key;
	enum reason amiss; /* with the key's files */
	bool device, v2, systemd;
	uint32_t uid, gid;
	bool absolute, host_ids;
	const char *wanted; /* controllers */
	bool optional;
	struct level levels[WAY_MAX]; /* ends at a mode of 0 */
	struct device_level devices[WAY_MAX];
	unsigned n_devices;
	bool clears, grantable, granted, gives_node;
};

#define D(u, g, m)                                            \
	{                                                     \
		.uid = (u), .gid = (g), .mode = S_IFDIR | (m) \
	}
#define WAY(...) .way = {__VA_ARGS__}
#define CHILD WAY(D(C, C, 0755), D(C, C, 0755))
#define FILE(u, g, m) .file = {.uid = (u), .gid = (g), .mode = S_IFREG | (m)}
#define MORE(u, g, m) .more[0] = {.uid = (u), .gid = (g), .mode = S_IFREG | (m)}
#define THIRD(u, g, m) .more[1] = {.uid = (u), .gid = (g), .mode = S_IFREG | (m)}
#define AMISS(reason) .amiss = REASON_##reason
#define DEVICE .device = true
#define V2 .v2 = true
#define SYSTEMD .v2 = true, .systemd = true
#define PARENT(u, g, m) .has_parent = true, .parent = D(u, g, m)
#define ANCESTOR(u, g, m) .ancestor = D(u, g, m)
#define LEVEL(u, g, m) .level = D(u, g, m)
#define AT_THE_TOP .at_the_top = true
#define WANTS(text) .wanted = text
#define MEMORY 8U /* the bits of controllers.def */
#define PIDS 32U
#define RUNG(u, g, has_, gives_, ...)                                              \
	{                                                                          \
		.node = D(u, g, 0755), .has = has_, .gives = gives_, ##__VA_ARGS__ \
	}
#define RUNGS(...) .levels = {__VA_ARGS__}
#define PROGRAM(flags_ok_, ours_, others_)                                          \
	{                                                                           \
		.flags_ok = (flags_ok_) != NO, .ours = (ours_), .others = (others_) \
	}
#define PROGRAMS(n, ...) .n_devices = n, .devices = {__VA_ARGS__}
#define CLEARS .clears = true
#define GRANTABLE .grantable = true
#define GRANTED .grantable = true, .granted = true
#define NODE .gives_node = true
#define TASK(r, e, s) .has_victim = true, .victim = {.ruid = (r), .euid = (e), .suid = (s)}
#define IDS(u, g) .uid = (uint32_t)(u), .gid = (uint32_t)(g)
#define KEY_OF(name) .key = name
#define HOST_IDS(u, g) .host_ids = true, .uid = (u), .gid = (g)
#define LIMIT_KEY KEY_OF("memory.limit_in_bytes")
#define FAR .far = true
#define OUTSIDE .outside = true
#define TOP .top = true
#define DOWN .down = true
#define ABOVE .above = true
#define VICTIM_OUT .victim_out = true
#define VICTIM_BESIDE .victim_beside = true

static const struct row rows[] = {
#define ROW(result, does, asks, text, ...) \
	{.expect = REASON_##result,        \
		.action = ACTION_##does,   \
		.who = asks,               \
		.about = text,             \
		##__VA_ARGS__},
#include "decide-rows.def"
#undef ROW
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

#define FACTS_ALL                                                                            \
	(FACT_MAPS | FACT_CAPS | FACT_GROUPS | FACT_NS | FACT_SCOPE | FACT_PARENT |          \
		FACT_VICTIM_NS | FACT_ANCESTOR | FACT_LEVELS | FACT_SYSTEMD | FACT_DEVICES | \
		FACT_GRANT)

/* One call: a question and all facts, those outside `have` set to mislead. */
struct call {
	struct question q;
	struct facts f;
	struct place place;
	struct subject subject;
	struct victim victim;
	struct node file[3];
};

static void call_of_row(const struct row *r, struct call *c)
{
	memset(c, 0, sizeof(*c));
	subject_of(r->who, &c->subject);
	c->q = (struct question){.action = r->action,
		.key = r->key ? key_find(r->key) : NULL,
		.has_file = r->key,
		.uid = r->uid,
		.gid = r->gid,
		.host_ids = r->host_ids,
		.device = r->device,
		.absolute = r->absolute,
		.clears = r->clears,
		.grantable = r->grantable,
		.gives_node = r->gives_node,
		.max_depth = 16};
	c->place = (struct place){.way = r->way,
		.missing = r->missing,
		.depth = r->depth ? r->depth : 1,
		.base_in_scope = !r->far,
		.base_is_top = r->at_the_top,
		.in_scope = !r->outside,
		.is_scope_root = r->top,
		.has_parent = r->has_parent,
		.parent = r->parent};
	while (c->place.n < WAY_MAX && r->way[c->place.n].mode != 0)
		c->place.n++;
	c->victim = r->victim;
	c->victim.below_userns = !r->above;
	c->file[0] = r->file;
	c->file[1] = r->more[0];
	c->file[2] = r->more[1];
	c->f = (struct facts){.more_files = !!r->more[0].mode + !!r->more[1].mode,
		.key = r->amiss,
		.v2 = r->v2,
		.by_systemd = r->systemd,
		.devices = r->devices,
		.n_devices = r->n_devices,
		.granted = r->granted,
		.victim_in_scope = !r->victim_out,
		.victim_below = !r->victim_out && !r->victim_beside,
		.target_below_victim = r->down,
		.ancestor_in_scope = !r->ancestor_out,
		.ancestor = r->ancestor,
		.names_may_change = r->level.mode != 0,
		.levels = &r->level,
		.n_levels = r->level.mode != 0};
	c->f.enabling = (struct enabling){.wanted = r->wanted ? controllers_of(r->wanted) : 0,
		.optional = r->optional,
		.levels = r->levels};
	while (c->f.enabling.n < WAY_MAX && r->levels[c->f.enabling.n].node.mode != 0)
		c->f.enabling.n++;
}

static void call_link(struct call *c)
{
	c->f.subject = &c->subject;
	c->f.place = &c->place;
	c->f.victim = &c->victim;
	c->f.file = c->file;
}

static void call_withhold(struct call *c, unsigned have, bool grant)
{
	const struct node own = {.uid = grant ? c->subject.uid : (uid_t)-2, .mode = S_IFDIR};

	subject_withhold(&c->subject, have, grant);
	c->place.have = have & (FACT_SCOPE | FACT_PARENT);
	c->victim.have = have & FACT_VICTIM_NS;
	c->f.enabling.have = have & FACT_LEVELS;
	if (!(have & FACT_LEVELS)) {
		static const struct level gives_nothing = {.systemd = true};

		c->f.enabling.levels = grant ? NULL : &gives_nothing;
		c->f.enabling.n = !grant;
	}
	c->f.have = have & (FACT_ANCESTOR | FACT_SYSTEMD | FACT_DEVICES | FACT_GRANT);
	if (!(have & FACT_SYSTEMD))
		c->f.by_systemd = !grant;
	if (!(have & FACT_GRANT))
		c->f.granted = grant;
	if (!(have & FACT_DEVICES)) {
		static const struct device_level denies = {.ours = NO, .others = NO};

		c->f.devices = grant ? NULL : &denies;
		c->f.n_devices = !grant;
	}
	if (!(have & FACT_SCOPE)) {
		c->place.in_scope = c->f.victim_in_scope = grant;
		c->place.is_scope_root = !grant;
	}
	if (!(have & FACT_PARENT)) {
		c->place.has_parent = grant;
		c->place.parent = own;
	}
	if (!(have & FACT_VICTIM_NS))
		c->victim.below_userns = grant;
	if (!(have & FACT_ANCESTOR)) {
		c->f.ancestor_in_scope = grant;
		c->f.ancestor = own;
	}
}

static struct verdict decide_with(const struct call *full, unsigned have, bool grant)
{
	static struct call c;

	c = *full;
	call_withhold(&c, have, grant);
	call_link(&c);
	return decide(&c.q, &c.f);
}

static const char *token(enum reason r)
{
	return reason_row(r)->token;
}

static void test_rows(void **state)
{
	static struct call c;
	unsigned failed = 0;

	(void)state;
	for (size_t i = 0; i < N_ROWS; i++) {
		struct verdict v;

		call_of_row(&rows[i], &c);
		v = decide_with(&c, FACTS_ALL, true);
		if (v.reason == rows[i].expect && v.need == 0)
			continue;
		print_error("row %zu (%s): %s, need %#x, expected %s\n", i, rows[i].about,
			token(v.reason), v.need, token(rows[i].expect));
		failed++;
	}
	print_message("%zu rows of request, facts and expected reason\n", N_ROWS);
	assert_int_equal(failed, 0);
	assert_true(N_ROWS >= 150);
}

/* Starts with no fact, reveals what is asked for, and comes to `expect`. Says which facts that
 * took. */
static unsigned reveal(const struct call *c, enum reason expect, const char *about, bool grant)
{
	unsigned have = 0;

	for (;;) {
		struct verdict v = decide_with(c, have, grant);

		if (v.need == 0) {
			if (v.reason != expect)
				fail_msg("%s: %s with facts %#x, expected %s", about,
					token(v.reason), have, token(expect));
			return have;
		}
		if (v.reason == REASON_OK)
			fail_msg("%s: OK that needs facts", about);
		if (v.need & (have | ~(unsigned)FACTS_ALL))
			fail_msg("%s: asks for %#x, knows %#x", about, v.need, have);
		have |= v.need;
	}
}

static void test_facts_revealed_on_demand(void **state)
{
	static struct call c;

	(void)state;
	for (size_t i = 0; i < N_ROWS; i++) {
		call_of_row(&rows[i], &c);
		reveal(&c, rows[i].expect, rows[i].about, true);
		reveal(&c, rows[i].expect, rows[i].about, false);
	}
}

/* Those that the action could ask for; the rest mislead throughout. */
static unsigned facts_of(enum action action)
{
	unsigned facts = FACTS_ALL;

	if (action != ACTION_DEVICES)
		facts &= ~(unsigned)(FACT_DEVICES | FACT_GRANT);
	if (action != ACTION_MOVE)
		facts &= ~(unsigned)(FACT_VICTIM_NS | FACT_ANCESTOR);
	return action == ACTION_CREATE ? facts : facts & ~(unsigned)FACT_LEVELS;
}

static void check_every_subset(const struct call *c, enum reason expect, const char *about)
{
	unsigned have = 0, all = facts_of(c->q.action);

	do {
		for (int grant = 0; grant < 2; grant++) {
			struct verdict v = decide_with(c, have, grant);

			if (v.need == 0 ? v.reason != expect : v.reason != REASON_INTERNAL)
				fail_msg("%s: facts %#x: %s, need %#x, expected %s", about, have,
					token(v.reason), v.need, token(expect));
			if (v.need & have)
				fail_msg("%s: facts %#x: asks for %#x", about, have, v.need);
		}
		have = (have - all) & all; /* the next subset */
	} while (have);
}

static void test_no_subset_of_facts_changes_a_row(void **state)
{
	static struct call c;

	(void)state;
	for (size_t i = 0; i < N_ROWS; i++) {
		call_of_row(&rows[i], &c);
		check_every_subset(&c, rows[i].expect, rows[i].about);
	}
}

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static unsigned pick(unsigned n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state >> 33) % n;
}

static struct node random_node(void)
{
	static const uint32_t ids[] = {0, ALICE_ID, WHEEL, C, CU, CG, NEST};
	static const mode_t modes[] = {0, 0700, 0711, 0744, 0750, 0755, 0770, 0757, 0775, 0777};

	return (struct node){.uid = ids[pick(7)],
		.gid = ids[pick(7)],
		.mode = S_IFDIR | modes[pick(sizeof(modes) / sizeof(modes[0]))]};
}

/* Facts as a kernel could show them: what lies below a cgroup of the scope is in it and not its
 * root. */
static void random_call(struct call *c, struct node *way)
{
	static struct level levels[WAY_MAX];
	static struct device_level devices[WAY_MAX];
	static const char *const keys[] = {"memory.max", "tasks", "net_cls.classid", "memory.stat"};
	static const uint32_t uids[] = {0, ALICE_ID, C, CU, NEST};
	struct place *p = &c->place;

	memset(c, 0, sizeof(*c));
	subject_of(pick(WHO_MAX), &c->subject);
	c->q = (struct question){.action = pick(ACTION_MAX),
		.key = pick(5) ? key_find(keys[pick(4)]) : NULL,
		.has_file = pick(2),
		.uid = pick(2) ? pick(2000) : UINT32_MAX,
		.gid = pick(2) ? pick(2000) : UINT32_MAX,
		.absolute = pick(2),
		.clears = !pick(4),
		.grantable = pick(2),
		.gives_node = pick(2),
		.max_depth = 3};
	p->way = way;
	p->n = 1 + pick(WAY_MAX);
	for (unsigned i = 0; i < p->n; i++)
		way[i] = random_node();
	p->missing = pick(3) ? 0 : pick(3);
	p->depth = p->n - 1 + p->missing;
	p->base_in_scope = pick(2);
	p->in_scope = p->base_in_scope || pick(3);
	p->is_scope_root = p->in_scope && !(p->base_in_scope && p->n > 1) && !pick(3);
	p->has_parent = p->n > 1 || pick(3);
	p->parent = p->n > 1 ? way[p->n - 2] : random_node();
	for (unsigned i = 0; i < 3; i++)
		c->file[i] = random_node();
	c->f.more_files = pick(3);
	c->f.key = pick(8) ? REASON_OK : pick(2) ? REASON_KEY_MISSING : REASON_KEY_OFF;
	c->f.v2 = pick(2);
	c->f.by_systemd = !pick(3);
	c->q.device = !pick(4);
	c->victim = (struct victim){.ruid = uids[pick(5)], .below_userns = pick(4)};
	c->victim.euid = pick(3) ? c->victim.ruid : uids[pick(5)];
	c->victim.suid = pick(3) ? c->victim.ruid : uids[pick(5)];
	c->f.victim_below = pick(2);
	c->f.victim_in_scope = (c->f.victim_below && p->base_in_scope) || pick(3);
	c->f.target_below_victim = pick(2);
	c->f.ancestor_in_scope = pick(3);
	c->f.ancestor = random_node();
	c->f.enabling = (struct enabling){.wanted = pick(2) ? pick(256) : 0,
		.optional = pick(2),
		.levels = levels,
		.n = pick(WAY_MAX)};
	c->f.devices = devices;
	c->f.n_devices = pick(WAY_MAX);
	c->f.granted = pick(2);
	for (unsigned i = 0; i < c->f.n_devices; i++)
		devices[i] = (struct device_level){.flags_ok = pick(4),
			.ours = pick(3) ? YES : pick(3),
			.others = pick(3) ? YES : pick(3)};
	for (unsigned i = 0; i < c->f.enabling.n; i++)
		levels[i] = (struct level){.node = random_node(),
			.has = pick(256),
			.gives = pick(256),
			.domain = pick(3) ? DOMAIN_PLAIN : pick(4),
			.systemd = !pick(5)};
}

/* Nothing is written where systemd manages, or where there is no privilege. */
static void check_never_enabled(const struct call *full)
{
	const struct enabling *e = &full->f.enabling;
	struct verdict v = decide_with(full, FACTS_ALL, true);

	assert_int_equal(v.controllers & ~e->wanted, 0);
	for (unsigned i = 0; i < e->n; i++) {
		static struct subject s;
		unsigned need = 0;

		if (!(v.controllers & ~e->levels[i].gives))
			continue;
		s = full->subject;
		subject_withhold(&s, FACTS_ALL, true);
		assert_false(e->levels[i].systemd);
		assert_int_equal(subject_over_cgroup(&s, &e->levels[i].node, &need), YES);
		assert_int_not_equal(e->levels[i].domain, DOMAIN_INVALID);
	}
}

/* Nothing of others' is taken out of force or contradicted, and of ours without a grant. */
static void check_never_wider(const struct call *full)
{
	const struct question *q = &full->q;
	const struct facts *f = &full->f;
	bool may_widen = q->grantable && f->granted, wider = false;

	for (unsigned i = 0; i < f->n_devices; i++) {
		assert_true(q->clears || f->devices[i].flags_ok);
		assert_int_not_equal(f->devices[i].others, NO);
		assert_true(may_widen || f->devices[i].ours != NO);
		wider |= f->devices[i].ours == NO;
	}
	assert_true(decide_with(full, FACTS_ALL, true).widens == wider);
	assert_false(full->place.is_scope_root && !may_widen);
}

/* What no combination of facts may lead to. */
static void check_never(const struct call *c, enum reason r)
{
	const struct place *p = &c->place;
	enum action a = c->q.action;

	if (r != REASON_OK || a == ACTION_NONE || a == ACTION_DEVICE_NAMES || a == ACTION_PERF_OPEN)
		return;
	if (a == ACTION_LOCATE) {
		assert_true(c->f.victim_in_scope);
		return;
	}
	assert_true(p->in_scope);
	assert_true(p->missing == 0 || a == ACTION_CREATE);
	if (a == ACTION_CREATE)
		check_never_enabled(c);
	if (a == ACTION_DEVICES)
		check_never_wider(c);
	if (a == ACTION_PERF) {
		unsigned need = 0;
		bool host = subject_is_host_root(&c->subject, &need) == YES;

		assert_int_equal(decide_with(c, FACTS_ALL, true).widens, host);
		assert_true(host || !p->is_scope_root);
	}
	if (a == ACTION_LIMIT || a == ACTION_CHOWN || a == ACTION_CHMOD)
		assert_false(p->is_scope_root);
	if (a == ACTION_LIMIT || a == ACTION_READ)
		assert_int_equal(c->f.key, REASON_OK);
	if (a == ACTION_LIMIT) {
		unsigned need = 0;

		assert_true(c->q.key->class == KEY_LIMIT || c->q.key->class == KEY_HOST);
		assert_true(c->subject.uid != 0 || !c->f.v2 || !c->f.by_systemd);
		assert_true(!c->q.device || subject_is_host_root(&c->subject, &need) == YES);
	}
	if (a == ACTION_MOVE)
		assert_true(c->f.victim_in_scope &&
			    (c->f.target_below_victim || c->f.ancestor_in_scope));
}

static void test_random_facts(void **state)
{
	static struct call c;
	struct node way[WAY_MAX];

	(void)state;
	for (unsigned i = 0; i < 30000; i++) {
		enum reason expect;

		random_call(&c, way);
		expect = decide_with(&c, FACTS_ALL, true).reason;
		assert_int_equal(decide_with(&c, FACTS_ALL, true).need, 0);
		check_never(&c, expect);
		reveal(&c, expect, "random", i & 1);
		check_every_subset(&c, expect, "random");
	}
}

/* What is granted of the controllers, and which level is at fault. */
static void test_levels(void **state)
{
	static const struct {
		struct row row;
		unsigned controllers, level;
	} cases[] = {
#define BASE .action = ACTION_CREATE, .who = CROOT, WAY(D(C, C, 0755)), .missing = 1
		{{.about = "all there", BASE, WANTS("memory")}, MEMORY, 0},
		{{.about = "one level", BASE, WANTS("memory"), RUNGS(RUNG(C, C, MEMORY, 0))},
			MEMORY, 0},
		{{.about = "the rest of all",
			 BASE,
			 WANTS("memory,pids"),
			 .optional = true,
			 RUNGS(RUNG(C, C, PIDS, 0))},
			PIDS, 0},
		{{.about = "none of all",
			 BASE,
			 WANTS("memory,pids"),
			 .optional = true,
			 RUNGS(RUNG(0, 0, MEMORY | PIDS, 0))},
			0, 0},
		{{.about = "of all what is there",
			 BASE,
			 WANTS("memory,pids"),
			 .optional = true,
			 RUNGS(RUNG(0, 0, MEMORY | PIDS, PIDS))},
			PIDS, 0},
		{{.about = "the second",
			 BASE,
			 .expect = REASON_LEVEL_PRIVILEGE,
			 WANTS("memory"),
			 RUNGS(RUNG(C, C, MEMORY, 0), RUNG(0, 0, 0, 0))},
			0, 1},
		{{.about = "the first that lacks it",
			 BASE,
			 .expect = REASON_LEVEL_SYSTEMD,
			 WANTS("pids"),
			 RUNGS(RUNG(0, 0, MEMORY | PIDS, PIDS),
				 RUNG(C, C, PIDS, 0, .systemd = true))},
			0, 1},
#undef BASE
	};
	static struct call c;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct verdict v;

		call_of_row(&cases[i].row, &c);
		v = decide_with(&c, FACTS_ALL, true);
		assert_int_equal(v.reason, cases[i].row.expect);
		assert_int_equal(v.controllers, cases[i].controllers);
		assert_int_equal(v.level, cases[i].level);
	}
}

/* What the common calls cost in facts; each is system calls. */
static void test_common_calls_need_few_facts(void **state)
{
	static const struct {
		struct row row;
		unsigned facts;
	} costs[] = {
		{{.about = "devices of a child", .action = ACTION_DEVICES, .who = CROOT, CHILD},
			FACT_DEVICES},
		{{.about = "its own, by the policy file",
			 .action = ACTION_DEVICES,
			 .who = CROOT,
			 WAY(D(C, C, 0755)),
			 TOP,
			 GRANTED},
			FACT_DEVICES | FACT_GRANT | FACT_SCOPE},
		{{.about = "read in its own cgroup",
			 .action = ACTION_READ,
			 .who = CROOT,
			 WAY(D(C, C, 0755)),
			 FILE(0, 0, 0644)},
			0},
		{{.about = "limit a child", .action = ACTION_LIMIT, .who = CROOT, CHILD, LIMIT_KEY},
			0},
		{{.about = "create",
			 .action = ACTION_CREATE,
			 .who = CROOT,
			 WAY(D(C, C, 0755)),
			 .missing = 1},
			0},
		{{.about = "remove", .action = ACTION_REMOVE, .who = CROOT, CHILD}, 0},
		{{.about = "locate", .action = ACTION_LOCATE, .who = CROOT, WAY(D(C, C, 0755))}, 0},
		{{.about = "chown", .action = ACTION_CHOWN, .who = CROOT, CHILD, IDS(1000, 1000)},
			FACT_MAPS | FACT_CAPS},
		{{.about = "move down",
			 .action = ACTION_MOVE,
			 .who = CROOT,
			 CHILD,
			 TASK(C, C, C),
			 DOWN},
			FACT_SCOPE | FACT_VICTIM_NS},
		{{.about = "host root limits",
			 .action = ACTION_LIMIT,
			 .who = HOST,
			 CHILD,
			 LIMIT_KEY},
			FACT_NS | FACT_CAPS},
		{{.about = "limit a child on v2",
			 .action = ACTION_LIMIT,
			 .who = CROOT,
			 CHILD,
			 LIMIT_KEY,
			 V2},
			0},
	};
	static struct call c;

	(void)state;
	for (size_t i = 0; i < sizeof(costs) / sizeof(costs[0]); i++) {
		call_of_row(&costs[i].row, &c);
		assert_int_equal(reveal(&c, REASON_OK, costs[i].row.about, true), costs[i].facts);
	}
}

static void test_incomplete_questions_grant_nothing(void **state)
{
	static struct call c;
	struct verdict v;

	(void)state;
	for (int a = ACTION_NONE + 1; a < ACTION_MAX; a++) {
		call_of_row(&rows[0], &c);
		c.q.action = (enum action)a;
		c.place.n = 0;
		c.place.base_in_scope = false;
		call_withhold(&c, 0, true);
		call_link(&c);
		v = decide(&c.q, &c.f);
		assert_int_not_equal(v.reason, REASON_OK);
		c.f.place = NULL;
		v = decide(&c.q, &c.f);
		assert_int_equal(v.reason, REASON_INTERNAL);
		assert_int_equal(v.need, 0);
	}
	c.q.action = ACTION_MAX;
	assert_int_equal(decide(&c.q, &c.f).reason, REASON_INTERNAL);
	for (size_t i = 0; i < N_ROWS; i++) {
		if (rows[i].action != ACTION_MOVE && rows[i].action != ACTION_READ)
			continue;
		call_of_row(&rows[i], &c);
		call_withhold(&c, FACTS_ALL, true);
		call_link(&c);
		c.f.victim = NULL;
		c.f.file = NULL;
		assert_int_not_equal(decide(&c.q, &c.f).reason, REASON_OK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_facts_revealed_on_demand),
		cmocka_unit_test(test_no_subset_of_facts_changes_a_row),
		cmocka_unit_test(test_random_facts),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_common_calls_need_few_facts),
		cmocka_unit_test(test_incomplete_questions_grant_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
