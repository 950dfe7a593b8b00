/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The same 10,000 settings, drawn by a fixed seed, made in a cgroup of v1 and in one of v2 whose
 * files are texts: by v1's names they take and refuse the same and read the same, within what KEYS
 * says is lost (several numbers of shares are one weight), and by neutral names too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../policy/translate.h"

#define N_STEPS 10000
#define MAX1 "9223372036854771712"
#define N_DEVICES 3
#define TEXT_MAX 512
#define PAGE 4096

static const char *const devices[N_DEVICES] = {"8:0", "8:16", "254:0"};

struct file {
	const char *name;
	char text[TEXT_MAX]; /* of files by device: the line of all others */
	char line[N_DEVICES][128];
};

struct cgroup {
	bool v2;
	struct file *files; /* ends at a name of NULL */
};

static struct file files_v1[] = {
	{"memory.limit_in_bytes", MAX1},
	{"memory.memsw.limit_in_bytes", MAX1},
	{"memory.soft_limit_in_bytes", MAX1},
	{"cpu.shares", "1024"},
	{"cpu.cfs_quota_us", "-1"},
	{"cpu.cfs_period_us", "100000"},
	{"cpu.cfs_burst_us", "0"},
	{"cpuset.cpu_exclusive", "0"},
	{"blkio.weight", "500"},
	{"blkio.weight_device", ""},
	{"blkio.throttle.read_bps_device", ""},
	{"blkio.throttle.write_bps_device", ""},
	{"blkio.throttle.read_iops_device", ""},
	{"blkio.throttle.write_iops_device", ""},
	{"freezer.state", "THAWED"},
	{"freezer.self_freezing", "0"},
	{"hugetlb.2MB.limit_in_bytes", MAX1},
	{"pids.max", "max"},
	{NULL},
};

static struct file files_v2[] = {
	{"memory.max", "max"},
	{"memory.swap.max", "max"},
	{"memory.high", "max"},
	{"cpu.weight", "100"},
	{"cpu.max", "max 100000"},
	{"cpu.max.burst", "0"},
	{"cpuset.cpus.partition", "member"},
	{"io.weight", "default 4950"},
	{"io.max", ""},
	{"cgroup.freeze", "0"},
	{"cgroup.events", "populated 0\nfrozen 0"},
	{"hugetlb.2MB.max", "max"},
	{"pids.max", "max"},
	{NULL},
};

static struct file *file_of(struct cgroup *cg, const char *name)
{
	for (struct file *f = cg->files; f->name; f++)
		if (strcmp(f->name, name) == 0)
			return f;
	return NULL;
}

static const char *content(struct cgroup *cg, const char *name, char *buf)
{
	struct file *f = file_of(cg, name);
	size_t len;

	if (!f)
		return NULL;
	len = (size_t)sprintf(buf, "%s", f->text);
	for (unsigned i = 0; i < N_DEVICES; i++)
		if (f->line[i][0])
			len += (size_t)sprintf(
				buf + len, "%s%s %s", len ? "\n" : "", devices[i], f->line[i]);
	return buf;
}

static uint64_t number_of(struct cgroup *cg, const char *name)
{
	return strtoull(file_of(cg, name)->text, NULL, 10);
}

/* Every field of io.max stands in its line, or the line is not there. */
static void merge_limits(char *line, const char *text)
{
	static const char *const names[] = {"rbps=", "wbps=", "riops=", "wiops="};
	char merged[128] = "", value[24];
	bool any = false;

	for (unsigned i = 0; i < 4; i++) {
		const char *at = strstr(text, names[i]), *was = strstr(line, names[i]);

		strcpy(value, "max");
		if (at || was)
			sscanf((at ? at : was) + strlen(names[i]), "%23s", value);
		any = any || strcmp(value, "max") != 0;
		sprintf(merged + strlen(merged), "%s%s%s", i ? " " : "", names[i], value);
	}
	strcpy(line, any ? merged : "");
}

static bool write_line(struct file *f, const char *text)
{
	const char *rest = strchr(text, ' ');

	for (unsigned i = 0; i < N_DEVICES && rest; i++) {
		if (strlen(devices[i]) != (size_t)(rest - text) ||
			strncmp(devices[i], text, (size_t)(rest - text)) != 0)
			continue;
		if (strcmp(f->name, "io.max") == 0)
			merge_limits(f->line[i], rest + 1);
		else if (strcmp(rest, " 0") == 0 || strcmp(rest, " default") == 0)
			f->line[i][0] = '\0';
		else
			strcpy(f->line[i], rest + 1);
		return true;
	}
	return false;
}

/* What the kernel makes of it. */
static bool kernel_write(struct cgroup *cg, const char *name, const char *text)
{
	struct file *f = file_of(cg, name);
	uint64_t n = strcmp(text, "-1") == 0 ? strtoull(MAX1, NULL, 10) : strtoull(text, NULL, 10);

	if (!f)
		fail_msg("%s is written", name);
	if (write_line(f, text))
		return true;
	if (strncmp(name, "memory.", 7) == 0)
		n -= n % PAGE;
	/* page_counter_set_max() and mem_cgroup_resize_max(), mm/memcontrol-v1.c */
	if (strcmp(name, "memory.limit_in_bytes") == 0 &&
		n > number_of(cg, "memory.memsw.limit_in_bytes"))
		return false;
	if (strcmp(name, "memory.memsw.limit_in_bytes") == 0 &&
		n < number_of(cg, "memory.limit_in_bytes"))
		return false;
	if (strstr(name, "limit_in_bytes") || (strncmp(name, "memory.", 7) == 0 && *text != 'm'))
		sprintf(f->text, "%llu", (unsigned long long)n);
	else
		strcpy(f->text, text);
	if (strcmp(name, "freezer.state") == 0)
		strcpy(file_of(cg, "freezer.self_freezing")->text, *text == 'F' ? "1" : "0");
	if (strcmp(name, "cgroup.freeze") == 0)
		sprintf(file_of(cg, "cgroup.events")->text, "populated 0\nfrozen %s", text);
	return true;
}

static void read_all(
	struct cgroup *cg, const struct plan *p, char bufs[][TEXT_MAX * 2], const char **texts)
{
	for (unsigned i = 0; i < p->n; i++) {
		texts[i] = content(cg, p->file[i], bufs[i]);
		if (!texts[i] && !p->optional[i])
			fail_msg("%s is read", p->file[i]);
	}
}

static bool set(struct cgroup *cg, const char *name, const char *value)
{
	static struct plan_write writes[PLAN_FILES_MAX];
	static char bufs[PLAN_FILES_MAX][TEXT_MAX * 2];
	const char *texts[PLAN_FILES_MAX], *why;
	struct plan p;
	unsigned n = 0;

	if (plan_write(name, cg->v2, &p, &why) != REASON_OK)
		return false;
	if (!p.setting)
		return kernel_write(cg, name, value);
	read_all(cg, &p, bufs, texts);
	if (plan_set(&p, value, texts, writes, &n, &why) != REASON_OK)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (!kernel_write(cg, writes[i].file, writes[i].text))
			fail_msg("%s %s: the kernel refuses %s %s", name, value, writes[i].file,
				writes[i].text);
	return true;
}

static void get(struct cgroup *cg, const char *name, char *buf)
{
	static char bufs[PLAN_FILES_MAX][TEXT_MAX * 2];
	const char *texts[PLAN_FILES_MAX], *why;
	struct plan p;

	assert_int_equal(plan_read(name, cg->v2, &p, &why), REASON_OK);
	read_all(cg, &p, bufs, texts);
	if (!p.setting)
		strcpy(buf, texts[0]);
	else if (plan_get(&p, texts, buf, TEXT_MAX * 2) != REASON_OK)
		fail_msg("%s cannot be read", name);
}

static uint64_t draw(uint64_t limit)
{
	static uint64_t state = 88172645463325252;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % limit;
}

typedef void (*drawer)(char *buf);

static unsigned long long below(uint64_t limit)
{
	return (unsigned long long)draw(limit);
}

static const char *device(void)
{
	return devices[draw(N_DEVICES)];
}

/* Near each other, so that sums and limits meet. */
static void draw_bytes_v1(char *buf)
{
	strcpy(buf, "-1");
	if (draw(4) > 0)
		sprintf(buf, "%llu",
			below(draw(2) ? 64 : UINT64_C(1) << 40) * PAGE +
				(draw(2) ? below(PAGE) : 0));
}

static void draw_bytes(char *buf)
{
	draw_bytes_v1(buf);
	if (*buf == '-')
		strcpy(buf, "max");
}

static void draw_shares(char *buf)
{
	sprintf(buf, "%llu", 2 + below(262143));
}

static void draw_weight(char *buf)
{
	sprintf(buf, "%llu", 1 + below(10000));
}

static void draw_quota(char *buf)
{
	strcpy(buf, "-1");
	if (draw(4) > 0)
		sprintf(buf, "%llu", 1000 + below(1000000));
}

static void draw_period(char *buf)
{
	sprintf(buf, "%llu", 1000 + below(999001));
}

static void draw_bandwidth(char *buf)
{
	draw_quota(buf);
	if (*buf == '-')
		strcpy(buf, "max");
	sprintf(buf + strlen(buf), " %llu", 1000 + below(999001));
}

static void draw_blkio_weight(char *buf)
{
	sprintf(buf, "%llu", 10 + below(991));
}

static void draw_blkio_weight_device(char *buf)
{
	sprintf(buf, "%s %llu", device(), draw(3) ? 10 + below(991) : 0);
}

static void draw_throttle(char *buf)
{
	sprintf(buf, "%s %llu", device(), draw(3) ? 1 + below(UINT32_MAX) : 0);
}

static void draw_io_max(char *buf)
{
	snprintf(buf, 64, "%s rbps=%llu", device(), 1 + below(UINT64_C(1) << 40));
	if (draw(2))
		strcat(buf, " wbps=max");
	if (draw(2))
		snprintf(buf + strlen(buf), 32, " wiops=%llu", 1 + below(UINT32_MAX));
}

static void draw_frozen(char *buf)
{
	strcpy(buf, draw(2) ? "FROZEN" : "THAWED");
}

static void draw_flag(char *buf)
{
	strcpy(buf, draw(2) ? "0" : "1");
}

static void draw_pids(char *buf)
{
	strcpy(buf, "max");
	if (draw(3))
		sprintf(buf, "%llu", below(4194305));
}

static void draw_garbage(char *buf)
{
	static const char *const garbage[] = {
		"", "x", "-2", "1.5.5", "1 2 3", "18446744073709551616", "8:0 -1", "max max", "0x"};

	strcpy(buf, garbage[draw(sizeof(garbage) / sizeof(garbage[0]))]);
}

static const struct {
	const char *name;
	drawer draw;
} settings[] = {
	{"memory.limit_in_bytes", draw_bytes_v1},
	{"memory.limit_in_bytes", draw_bytes_v1},
	{"memory.memsw.limit_in_bytes", draw_bytes_v1},
	{"memory.memsw.limit_in_bytes", draw_bytes_v1},
	{"memory.soft_limit_in_bytes", draw_bytes_v1},
	{"memory.max", draw_bytes},
	{"memory.swap.max", draw_bytes},
	{"memory.high", draw_bytes},
	{"cpu.shares", draw_shares},
	{"cpu.weight", draw_weight},
	{"cpu.cfs_quota_us", draw_quota},
	{"cpu.cfs_period_us", draw_period},
	{"cpu.cfs_burst_us", draw_period},
	{"cpu.max", draw_bandwidth},
	{"cpuset.cpu_exclusive", draw_flag},
	{"blkio.weight", draw_blkio_weight},
	{"blkio.weight_device", draw_blkio_weight_device},
	{"blkio.throttle.read_bps_device", draw_throttle},
	{"blkio.throttle.write_bps_device", draw_throttle},
	{"blkio.throttle.read_iops_device", draw_throttle},
	{"blkio.throttle.write_iops_device", draw_throttle},
	{"io.max", draw_io_max},
	{"freezer.state", draw_frozen},
	{"freeze", draw_flag},
	{"hugetlb.2MB.limit_in_bytes", draw_bytes_v1},
	{"hugetlb.2MB.max", draw_bytes},
	{"pids.max", draw_pids},
};

#define N_SETTINGS (sizeof(settings) / sizeof(settings[0]))

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In which order devices are listed is no setting. */
static void sort_lines(char *text)
{
	char copy[TEXT_MAX * 2], *lines[8], *at = copy, *line;
	size_t n = 0;

	strcpy(copy, text);
	while (n < 8 && (line = strsep(&at, "\n")))
		lines[n++] = line;
	qsort(lines, n, sizeof(lines[0]), compare_lines);
	*text = '\0';
	for (size_t i = 0; i < n; i++)
		text += sprintf(text, "%s%s", i ? "\n" : "", lines[i]);
}

static void compare(struct cgroup *one, struct cgroup *two, const char *name, const char *after)
{
	char a[TEXT_MAX * 2], b[TEXT_MAX * 2];

	get(one, name, a);
	get(two, name, b);
	sort_lines(a);
	sort_lines(b);
	if (strcmp(name, "cpu.shares") == 0) {
		assert_int_equal(shares_to_weight(strtoull(a, NULL, 10)),
			shares_to_weight(strtoull(b, NULL, 10)));
		return;
	}
	if (strcmp(a, b) != 0)
		fail_msg("%s: v1 has %s: \"%s\", v2 \"%s\"", after, name, a, b);
}

/* And back: what the one says of a setting, line by line, the other takes. */
static void carry(struct cgroup *from, struct cgroup *to, const char *name, const char *after)
{
	char text[TEXT_MAX * 2], *at = text, *line;

	get(from, name, text);
	while ((line = strsep(&at, "\n")))
		if (*line && !set(to, name, line))
			fail_msg("%s: %s \"%s\" cannot be carried back", after, name, line);
}

/* Garbage is imagined only where it is judged here, not by the kernel. */
static bool is_judged(const char *name)
{
	const char *why;
	struct plan p;

	for (unsigned v2 = 0; v2 < 2; v2++)
		if (plan_write(name, v2, &p, &why) != REASON_OK || !p.setting)
			return false;
	return true;
}

static void compare_all(struct cgroup *one, struct cgroup *two, const char *after)
{
	static const char *const neutral[] = {"memory.max", "memory.swap.max", "memory.high",
		"cpu.cpus", "cpu.burst", "cpuset.partition", "io.max", "freeze"};

	for (size_t i = 0; i < N_SETTINGS; i++)
		compare(one, two, settings[i].name, after);
	for (size_t i = 0; i < sizeof(neutral) / sizeof(neutral[0]); i++)
		compare(one, two, neutral[i], after);
}

static void test_trips(void **state)
{
	struct cgroup one = {false, files_v1}, two = {true, files_v2};
	unsigned taken = 0, refused = 0;

	(void)state;
	for (unsigned step = 0; step < N_STEPS; step++) {
		size_t which = draw(N_SETTINGS);
		const char *name = settings[which].name;
		char value[128], after[192];
		bool bad = draw(20) == 0;

		(bad ? draw_garbage : settings[which].draw)(value);
		sprintf(after, "step %u, %s \"%s\"", step, name, value);
		if (bad && !is_judged(name))
			continue;
		if (!set(&one, name, value)) {
			refused++;
			/* v2 can limit swap alone, and lift the limit of memory beside that of swap
			 */
			if (strcmp(name, "memory.swap.max") != 0 &&
				strcmp(name, "memory.max") != 0 && set(&two, name, value))
				fail_msg("%s: only v2 takes it", after);
			continue;
		}
		taken++;
		if (!set(&two, name, value))
			fail_msg("%s: only v1 takes it", after);
		if (bad)
			fail_msg("%s: it is taken", after);
		compare_all(&one, &two, after);
		carry(&two, &one, name, after);
		compare(&one, &two, name, after);
	}
	assert_true(taken > N_STEPS / 2);
	assert_true(refused > N_STEPS / 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
