/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processors: shares and weight, quota and period, time used; the freezer and partitions. */
#include <math.h>
#include <string.h>

#include "convert.h"

#define SHARES_MIN 2
#define SHARES_MAX 262144
#define SHARES_DEFAULT 1024
#define SHARES_IDLE                                                                   \
	3 /* WEIGHT_IDLEPRIO, what v1 shows of an idle cgroup; v2 shows a weight of 0 \
	   */
#define WEIGHT_MAX 10000
#define WEIGHT_DEFAULT 100

#define PERIOD_DEFAULT 100000
#define PERIOD_MIN 1000
#define PERIOD_MAX 1000000
#define QUOTA_MIN 1000
#define QUOTA_MAX ((UINT64_C(1) << 44) - 1) /* max_cfs_runtime, kernel/sched/core.c */
#define CPU_MICROS UINT64_C(1000000)	    /* of a cpu: as many digits as cpu.cpus has */

#define USEC_PER_TICK 10000 /* USER_HZ is 100 */

/* (L^2 + 125 L) / 612 - 7/34 over one denominator: exact where L is an integer, and so are the
 * weights of 2, 1024 and 262144 shares, 1, 100 and 10000. */
unsigned shares_to_weight(unsigned long long shares)
{
	double l;

	if (shares == 0)
		return 0;
	if (shares <= SHARES_MIN)
		return 1;
	if (shares >= SHARES_MAX)
		return WEIGHT_MAX;
	l = log2((double)shares);
	return (unsigned)ceil(pow(10, (l * l + 125 * l - 126) / 612));
}

unsigned long long weight_to_shares(unsigned weight)
{
	unsigned long long low = SHARES_MIN, high = SHARES_MAX;

	while (low < high) {
		unsigned long long middle = (low + high) / 2;

		if (shares_to_weight(middle) >= weight)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* What has its default on one hierarchy reads as the default of the other. */
static uint64_t shares_of(uint64_t weight)
{
	if (weight == 0)
		return SHARES_IDLE;
	return weight == WEIGHT_DEFAULT ? SHARES_DEFAULT : weight_to_shares((unsigned)weight);
}

static bool weight_parse(enum face face, const char *text, uint64_t *ret)
{
	uint64_t n;

	if (!take_number(&text, &n))
		return false;
	if (face == FACE_NEUTRAL && *text == '%')
		text++;
	if (*text)
		return false;
	/* 0 shares: unset, as container runtimes have it */
	if (face == FACE_V1)
		n = n ? shares_to_weight(n) : WEIGHT_DEFAULT;
	else if (n > WEIGHT_MAX || (n == 0 && face == FACE_NEUTRAL))
		return false;
	*ret = n;
	return true;
}

static void weight_print(enum face face, uint64_t weight, struct text *out)
{
	text_number(out, face == FACE_V1 ? shares_of(weight) : weight);
}

static const struct codec codec_weight = {weight_parse, weight_print, true};

bool plan_shares(const struct plan *p, const char *const texts[], unsigned long long shares)
{
	uint64_t weight;

	if (!(p->flags & PLAN_SHARES) || !texts[0] || shares < SHARES_MIN || shares > SHARES_MAX)
		return false;
	return weight_parse(FACE_V2, texts[0], &weight) && shares_to_weight(shares) == weight;
}

struct bandwidth {
	uint64_t quota, period; /* microseconds; quota VALUE_MAX: none */
};

static bool bandwidth_valid(const struct bandwidth *b)
{
	return b->period >= PERIOD_MIN && b->period <= PERIOD_MAX &&
	       (b->quota == VALUE_MAX || (b->quota >= QUOTA_MIN && b->quota <= QUOTA_MAX));
}

static bool quota_parse_v1(const char *text, uint64_t *ret)
{
	if (strcmp(text, "-1") == 0) {
		*ret = VALUE_MAX;
		return true;
	}
	return whole_number(text, ret);
}

/* "QUOTA PERIOD" of cpu.max; the period may be left out. */
static bool bandwidth_parse_v2(const char *text, struct bandwidth *b)
{
	if (take_word(&text, "max"))
		b->quota = VALUE_MAX;
	else if (!take_decimal(&text, &b->quota))
		return false;
	if (*text == ' ') {
		text += strspn(text, " ");
		if (!take_decimal(&text, &b->period))
			return false;
	}
	return *text == '\0';
}

static enum reason bandwidth_load(struct conversion *c, struct bandwidth *ret)
{
	struct bandwidth b = {VALUE_MAX, PERIOD_DEFAULT};
	bool good;

	if (!c->texts[0] || (c->here == FACE_V1 && !c->texts[1]))
		return REASON_KEY_MISSING;
	if (c->here == FACE_V1)
		good = quota_parse_v1(c->texts[0], &b.quota) &&
		       whole_number(c->texts[1], &b.period);
	else
		good = bandwidth_parse_v2(c->texts[0], &b);
	if (!good || b.period == 0)
		return REASON_VALUE_FORMAT;
	*ret = b;
	return REASON_OK;
}

static void quota_print(uint64_t quota, const char *none, struct text *out)
{
	if (quota == VALUE_MAX)
		text_put(out, none);
	else
		text_number(out, quota);
}

static void bandwidth_print_v2(const struct bandwidth *b, struct text *out)
{
	quota_print(b->quota, "max", out);
	text_put(out, " ");
	text_number(out, b->period);
}

/* "1.5": no more digits than there must be. */
static void cpus_print(const struct bandwidth *b, struct text *out)
{
	uint64_t whole = b->quota / b->period, rest = b->quota % b->period;
	uint64_t micros = (rest * CPU_MICROS + b->period / 2) / b->period;
	char digits[] = "000000";
	unsigned n = 6;

	if (micros == CPU_MICROS) {
		whole++;
		micros = 0;
	}
	text_number(out, whole);
	if (micros == 0)
		return;
	for (unsigned i = n; i > 0; i--, micros /= 10)
		digits[i - 1] = (char)('0' + micros % 10);
	while (digits[n - 1] == '0')
		n--;
	text_put(out, ".");
	text_bytes(out, digits, n);
}

/* "1.5" or "150%" as millionths of a cpu. */
static bool cpus_parse(const char *text, uint64_t *ret)
{
	uint64_t micros, unit = CPU_MICROS;

	if (!take_decimal(&text, &micros) || micros > QUOTA_MAX / CPU_MICROS)
		return false;
	micros *= CPU_MICROS;
	if (*text == '.') {
		if (text[1] < '0' || text[1] > '9')
			return false;
		for (text++; *text >= '0' && *text <= '9'; text++) {
			unit /= 10;
			if (unit == 0)
				return false;
			micros += (uint64_t)(*text - '0') * unit;
		}
	}
	if (*text == '%') {
		text++;
		micros = (micros + 50) / 100;
	}
	*ret = micros;
	return *text == '\0';
}

static enum reason cpus_get(struct conversion *c)
{
	struct bandwidth b;
	enum reason r = bandwidth_load(c, &b);

	if (r != REASON_OK)
		return r;
	if (c->face == FACE_V1)
		quota_print(b.quota, "-1", &c->out);
	else if (c->face == FACE_V2)
		bandwidth_print_v2(&b, &c->out);
	else if (b.quota == VALUE_MAX)
		text_put(&c->out, "max");
	else
		cpus_print(&b, &c->out);
	return REASON_OK;
}

/* A larger share of time than both before and after is never in force in between: the parent may
 * not have it to give. */
static enum reason bandwidth_store(
	struct conversion *c, const struct bandwidth *old, const struct bandwidth *b)
{
	bool quota_first = b->period < old->period || b->quota == VALUE_MAX;
	struct text t;

	if (!bandwidth_valid(b)) {
		c->why = "the quota must be at least 1000 microseconds, the period from 1000 to "
			 "1000000";
		return REASON_VALUE_FORMAT;
	}
	if (c->here == FACE_V2) {
		t = write_next(c, 0);
		bandwidth_print_v2(b, &t);
		return REASON_OK;
	}
	for (unsigned i = 0; i < 2; i++) {
		if ((i == 0) == quota_first || b->period == old->period) {
			t = write_next(c, 0);
			quota_print(b->quota, "-1", &t);
			if (b->period == old->period)
				break;
		} else {
			t = write_next(c, 1);
			text_number(&t, b->period);
		}
	}
	return REASON_OK;
}

static enum reason cpus_set(struct conversion *c, const char *value)
{
	struct bandwidth old, b;
	enum reason r = bandwidth_load(c, &old);
	uint64_t micros;

	if (r != REASON_OK)
		return r;
	b = old;
	if (c->face == FACE_V1) {
		if (!quota_parse_v1(value, &b.quota))
			return REASON_VALUE_FORMAT;
	} else if (c->face == FACE_V2) {
		if (!bandwidth_parse_v2(value, &b)) {
			c->why = "\"QUOTA PERIOD\" in microseconds, QUOTA may be max";
			return REASON_VALUE_FORMAT;
		}
	} else if (strcmp(value, "max") == 0) {
		b.quota = VALUE_MAX;
	} else {
		if (!cpus_parse(value, &micros))
			return REASON_VALUE_FORMAT;
		if (__builtin_mul_overflow(micros, b.period, &b.quota))
			return REASON_VALUE_FORMAT;
		b.quota = (b.quota + CPU_MICROS / 2) / CPU_MICROS;
	}
	return bandwidth_store(c, &old, &b);
}

static enum reason period_get(struct conversion *c)
{
	struct bandwidth b;
	enum reason r;

	if (c->here == FACE_V1)
		return scalar_get(c);
	r = bandwidth_load(c, &b);
	if (r == REASON_OK)
		text_number(&c->out, b.period);
	return r;
}

static enum reason period_set(struct conversion *c, const char *value)
{
	struct bandwidth old = {VALUE_MAX, PERIOD_DEFAULT}, b;
	enum reason r = c->here == FACE_V1 ? REASON_OK : bandwidth_load(c, &old);

	if (r != REASON_OK)
		return r;
	b = old;
	if (!whole_number(value, &b.period) || b.period < PERIOD_MIN || b.period > PERIOD_MAX)
		return REASON_VALUE_FORMAT;
	if (c->here == FACE_V1)
		return scalar_set(c, value);
	return bandwidth_store(c, &old, &b);
}

/* cpuacct.stat of what cpu.stat has */
static enum reason cpu_stat_get(struct conversion *c)
{
	uint64_t user, system;

	if (!c->texts[0])
		return REASON_KEY_MISSING;
	if (c->here == c->face) {
		text_put(&c->out, c->texts[0]);
		return REASON_OK;
	}
	if (!take_field(c->texts[0], "user_usec", &user) ||
		!take_field(c->texts[0], "system_usec", &system))
		return REASON_VALUE_FORMAT;
	text_put(&c->out, "user ");
	text_number(&c->out, user / USEC_PER_TICK);
	text_put(&c->out, "\nsystem ");
	text_number(&c->out, system / USEC_PER_TICK);
	return REASON_OK;
}

/* FREEZING: asked for and not yet reached. FROZEN also where a cgroup above is. */
static enum reason freeze_get_v2(struct conversion *c)
{
	uint64_t asked, frozen;

	if (!whole_number(c->texts[0], &asked) || asked > 1)
		return REASON_VALUE_FORMAT;
	if (c->face != FACE_V1) {
		text_number(&c->out, asked);
		return REASON_OK;
	}
	if (!take_field(c->texts[1], "frozen", &frozen))
		return REASON_VALUE_FORMAT;
	text_put(&c->out, frozen ? "FROZEN" : asked ? "FREEZING" : "THAWED");
	return REASON_OK;
}

static enum reason freeze_get(struct conversion *c)
{
	uint64_t asked;

	if (!c->texts[0] || !c->texts[1])
		return REASON_KEY_MISSING;
	if (c->here == FACE_V2)
		return freeze_get_v2(c);
	if (!whole_number(c->texts[1], &asked) || asked > 1)
		return REASON_VALUE_FORMAT;
	text_number(&c->out, asked);
	return REASON_OK;
}

static enum reason freeze_set(struct conversion *c, const char *value)
{
	uint64_t on;
	struct text t;

	if (c->face == FACE_V1) {
		on = strcmp(value, "FROZEN") == 0;
		if (!on && strcmp(value, "THAWED") != 0)
			return REASON_VALUE_FORMAT;
	} else if (!whole_number(value, &on) || on > 1) {
		return REASON_VALUE_FORMAT;
	}
	t = write_next(c, 0);
	if (c->here == FACE_V1)
		text_put(&t, on ? "FROZEN" : "THAWED");
	else
		text_number(&t, on);
	return REASON_OK;
}

static enum reason partition_get(struct conversion *c)
{
	const char *text = c->texts[0];
	uint64_t exclusive;

	if (!text)
		return REASON_KEY_MISSING;
	if (c->here == FACE_V1) {
		if (!whole_number(text, &exclusive) || exclusive > 1)
			return REASON_VALUE_FORMAT;
		text_put(&c->out, exclusive ? "root" : "member");
	} else if (c->face == FACE_V1) {
		/* "root invalid (...)" is none */
		text_put(&c->out,
			strcmp(text, "root") == 0 || strcmp(text, "isolated") == 0 ? "1" : "0");
	} else {
		text_put(&c->out, text);
	}
	return REASON_OK;
}

static enum reason partition_set(struct conversion *c, const char *value)
{
	bool isolated = c->face != FACE_V1 && strcmp(value, "isolated") == 0;
	bool root = isolated || strcmp(value, c->face == FACE_V1 ? "1" : "root") == 0;
	struct text t;

	if (!root && strcmp(value, c->face == FACE_V1 ? "0" : "member") != 0)
		return REASON_VALUE_FORMAT;
	if (c->here == FACE_V1 && isolated) {
		c->why = "cgroup v1 has exclusive cpus, but no isolated ones";
		return REASON_KEY_MAPPING;
	}
	t = write_next(c, 0);
	if (c->here == FACE_V1)
		text_put(&t, root ? "1" : "0");
	else
		text_put(&t, isolated ? "isolated" : root ? "root" : "member");
	return REASON_OK;
}

const struct type type_weight = {"a weight from 1 to 10000, 100 if not set",
	"a number of shares, 1024 if not set", scalar_get, scalar_set, &codec_weight,
	PLAN_SHARES | PLAN_BLIND, false};
const struct type type_cpus = {"a number of cpus as 1.5 or 150%, or max",
	"a number of microseconds, or -1", cpus_get, cpus_set, NULL, 0, false};
const struct type type_period = {"", "a number of microseconds from 1000 to 1000000", period_get,
	period_set, &codec_number, 0, false};
const struct type type_cpu_stat = {"", "ticks of 1/100 s", cpu_stat_get, NULL, NULL, 0, false};
const struct type type_freeze = {
	"0 or 1", "FROZEN or THAWED", freeze_get, freeze_set, NULL, PLAN_BLIND, false};
const struct type type_partition = {"member, root or isolated", "0 or 1", partition_get,
	partition_set, NULL, PLAN_BLIND, false};
