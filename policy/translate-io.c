/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Block devices: lines that begin with MAJOR:MINOR. v1 has a file for each kind of limit and of
 * count, v2 a field; weights have two scales. */
#include <string.h>

#include "convert.h"

#define NARROW_MIN 10 /* of blkio.weight */
#define NARROW_MAX 1000
#define BFQ_MIN 1
#define WIDE_MAX 10000 /* of io.weight, from 1 on */

/* The fields of io.max, in the order of the files of v1 that the row has. */
static const struct {
	const char *name;
	bool bytes;
} limits[] = {{"rbps", true}, {"wbps", true}, {"riops", false}, {"wiops", false}};

#define N_LIMITS (sizeof(limits) / sizeof(limits[0]))

/* "rbps=1" somewhere in the line at `line`; the place behind the "=". NULL: it is not there. */
static const char *line_field(const char *line, const char *name)
{
	size_t end = strcspn(line, "\n"), len = strlen(name), at = 0;

	while (at < end) {
		size_t word = strcspn(line + at, " \n");

		if (word > len && memcmp(line + at, name, len) == 0 && line[at + len] == '=')
			return line + at + len + 1;
		at += word + (at + word < end);
	}
	return NULL;
}

static bool limit_parse(const char **at, unsigned kind, uint64_t *ret)
{
	uint64_t n;

	if (take_word(at, "max")) {
		*ret = VALUE_MAX;
		return true;
	}
	if (!(limits[kind].bytes ? take_bytes(at, &n) : take_decimal(at, &n)) || n == 0)
		return false;
	/* the kernel cuts larger ones of v1 to 32 bits (tg_set_conf_uint(), block/blk-throttle.c)
	 */
	if (!limits[kind].bytes && n > UINT32_MAX)
		return false;
	*ret = n;
	return true;
}

/* The fields of one line; 0 for one that is not named. */
static bool limits_parse(const char *at, uint64_t *ret)
{
	bool any = false;

	memset(ret, 0, N_LIMITS * sizeof(*ret));
	while (*at) {
		size_t len = strcspn(at, "=");
		unsigned i = 0;

		while (i < N_LIMITS &&
			(strlen(limits[i].name) != len || memcmp(limits[i].name, at, len) != 0))
			i++;
		if (i == N_LIMITS || at[len] != '=')
			return false;
		at += len + 1;
		if (!limit_parse(&at, i, &ret[i]) || (*at && *at != ' '))
			return false;
		at += strspn(at, " ");
		any = true;
	}
	return any;
}

static void limit_print(uint64_t n, const char *none, struct text *out)
{
	if (n == VALUE_MAX)
		text_put(out, none);
	else
		text_number(out, n);
}

static enum reason io_max_set(struct conversion *c, const char *value)
{
	uint64_t n[N_LIMITS];
	const char *at = value;
	struct text t = {.size = 0};
	size_t device;

	if (!take_device(&at, &device) || !limits_parse(at, n))
		return REASON_VALUE_FORMAT;
	if (c->here == FACE_V2) {
		t = write_next(c, 0);
		text_bytes(&t, value, device);
	}
	for (unsigned i = 0; i < N_LIMITS; i++) {
		if (n[i] == 0)
			continue;
		if (c->here == FACE_V1) {
			t = write_next(c, i);
			text_bytes(&t, value, device);
			text_put(&t, " ");
			limit_print(n[i], "0", &t);
		} else {
			text_put(&t, " ");
			text_put(&t, limits[i].name);
			text_put(&t, "=");
			limit_print(n[i], "max", &t);
		}
	}
	return REASON_OK;
}

/* The line of a file of v1 that is about this device; the place behind the device. */
static const char *device_line(const char *text, const char *device, size_t len)
{
	do {
		if (strncmp(text, device, len) == 0 && text[len] == ' ')
			return text + len + 1;
	} while (next_line(&text));
	return NULL;
}

/* Is `line` of file i the first that names its device, over all files? */
static bool device_first(struct conversion *c, unsigned file, const char *line, size_t len)
{
	for (unsigned i = 0; i < file; i++)
		if (device_line(c->texts[i], line, len))
			return false;
	return device_line(c->texts[file], line, len) == line + len + 1;
}

static bool io_max_line(struct conversion *c, const char *device, size_t len)
{
	text_bytes(&c->out, device, len);
	for (unsigned i = 0; i < N_LIMITS; i++) {
		const char *at = device_line(c->texts[i], device, len);
		uint64_t n = VALUE_MAX;

		if (at && !take_decimal(&at, &n))
			return false;
		text_put(&c->out, " ");
		text_put(&c->out, limits[i].name);
		text_put(&c->out, "=");
		limit_print(n == 0 ? VALUE_MAX : n, "max", &c->out);
	}
	return true;
}

static void line_break(struct conversion *c)
{
	if (c->out.len > 0)
		text_put(&c->out, "\n");
}

static enum reason io_max_get(struct conversion *c)
{
	if (c->here == FACE_V2) {
		text_put(&c->out, c->texts[0] ? c->texts[0] : "");
		return c->texts[0] ? REASON_OK : REASON_KEY_MISSING;
	}
	for (unsigned i = 0; i < N_LIMITS; i++)
		if (!c->texts[i])
			return REASON_KEY_MISSING;
	for (unsigned i = 0; i < N_LIMITS && !c->out.cut; i++) {
		const char *line = c->texts[i];

		if (!*line)
			continue;
		do {
			const char *at = line;
			size_t len;

			if (!take_device(&at, &len))
				return REASON_VALUE_FORMAT;
			if (!device_first(c, i, line, len))
				continue;
			line_break(c);
			if (!io_max_line(c, line, len))
				return REASON_VALUE_FORMAT;
		} while (!c->out.cut && next_line(&line));
	}
	return REASON_OK;
}

/* One file of v1 is one field of io.max. */
static enum reason throttle_get(struct conversion *c)
{
	const char *line = c->texts[0];
	char field[16];

	if (!line)
		return REASON_KEY_MISSING;
	if (!place_field(c, 0, field, sizeof(field))) {
		text_put(&c->out, line);
		return REASON_OK;
	}
	if (!*line)
		return REASON_OK;
	do {
		const char *at = line, *value = line_field(line, field);
		size_t len;
		uint64_t n;

		if (!take_device(&at, &len))
			return REASON_VALUE_FORMAT;
		if (!value || take_word(&value, "max"))
			continue;
		if (!take_decimal(&value, &n))
			return REASON_VALUE_FORMAT;
		line_break(c);
		text_bytes(&c->out, line, len);
		text_put(&c->out, " ");
		text_number(&c->out, n);
	} while (next_line(&line));
	return REASON_OK;
}

static enum reason throttle_set(struct conversion *c, const char *value)
{
	const char *at = value;
	char field[16];
	struct text t;
	size_t device;
	uint64_t n;

	if (!take_device(&at, &device) || !take_decimal(&at, &n) || *at)
		return REASON_VALUE_FORMAT;
	if (strstr(c->setting->v1, "_iops_") && n > UINT32_MAX)
		return REASON_VALUE_FORMAT;
	t = write_next(c, 0);
	text_bytes(&t, value, device);
	text_put(&t, " ");
	if (place_field(c, 0, field, sizeof(field))) {
		text_put(&t, field);
		text_put(&t, "=");
		limit_print(n == 0 ? VALUE_MAX : n, "max", &t);
	} else {
		text_number(&t, n);
	}
	return REASON_OK;
}

static enum reason io_latency_set(struct conversion *c, const char *value)
{
	const char *at = value;
	struct text t;
	size_t device;
	uint64_t usec;

	if (!take_device(&at, &device) || !take_word(&at, "target="))
		return REASON_VALUE_FORMAT;
	if (strcmp(at, "max") == 0)
		usec = 0;
	else if (!take_time(&at, &usec) || *at)
		return REASON_VALUE_FORMAT;
	t = write_next(c, 0);
	text_bytes(&t, value, device);
	text_put(&t, " target=");
	text_number(&t, usec);
	return REASON_OK;
}

static enum reason io_latency_get(struct conversion *c)
{
	text_put(&c->out, c->texts[0] ? c->texts[0] : "");
	return c->texts[0] ? REASON_OK : REASON_KEY_MISSING;
}

/* The file to read: of several the first that is there. */
static bool first_there(struct conversion *c, unsigned *ret)
{
	for (unsigned i = 0; i < c->plan->n; i++)
		if (c->texts[i]) {
			*ret = i;
			return true;
		}
	return false;
}

/* A count of v1: "8:0 Read 5". */
static bool count_v1(const char *at, const char *kind, uint64_t *ret)
{
	return take_word(&at, kind) && *at++ == ' ' && take_decimal(&at, ret);
}

/* A neutral count: lines "8:0 5". */
static enum reason io_stat_get(struct conversion *c)
{
	const char *line, *value;
	char field[16];
	unsigned file;
	size_t len;

	if (!first_there(c, &file) || !place_field(c, file, field, sizeof(field)))
		return REASON_KEY_MISSING;
	line = c->texts[file];
	do {
		const char *at = line;
		uint64_t n;

		/* v1 ends with "Total 5" */
		if (!take_device(&at, &len))
			continue;
		if (c->here == FACE_V1
				? !count_v1(at, field, &n)
				: !((value = line_field(line, field)) && take_decimal(&value, &n)))
			continue;
		line_break(c);
		text_bytes(&c->out, line, len);
		text_put(&c->out, " ");
		text_number(&c->out, n);
	} while (next_line(&line));
	return REASON_OK;
}

static void count_put(
	struct conversion *c, const char *device, size_t len, const char *kind, uint64_t n)
{
	line_break(c);
	text_bytes(&c->out, device, len);
	text_put(&c->out, kind);
	text_number(&c->out, n);
}

/* v1's files of counts from io.stat. Kinds that v2 does not count (Sync, Async) are left out. */
static enum reason serviced_get(struct conversion *c)
{
	static const struct {
		const char *kind, *bytes, *ios;
	} kinds[] = {{" Read ", "rbytes", "rios"}, {" Write ", "wbytes", "wios"},
		{" Discard ", "dbytes", "dios"}};
	const char *line = c->texts[0];
	uint64_t total = 0;
	char field[16];

	if (!line || !place_field(c, 0, field, sizeof(field)))
		return REASON_KEY_MISSING;
	do {
		const char *at = line, *value;
		uint64_t device = 0, n;
		size_t len;

		if (!take_device(&at, &len) || !*at || *at == '\n')
			continue;
		for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
			value = line_field(line, field[0] == 'b' ? kinds[i].bytes : kinds[i].ios);
			if (!value || !take_decimal(&value, &n))
				continue;
			count_put(c, line, len, kinds[i].kind, n);
			device += n;
		}
		count_put(c, line, len, " Total ", device);
		total += device;
	} while (next_line(&line));
	count_put(c, "", 0, "Total ", total);
	return REASON_OK;
}

/* A weight, as blkio.weight has it or as io.weight has it. */
struct weight {
	const char *device; /* or NULL: of all others */
	size_t len;
	bool wide;
	uint64_t n; /* 0: the default again */
};

static uint64_t wide_of(uint64_t narrow)
{
	return narrow <= NARROW_MIN
		       ? 1
		       : 1 + (narrow - NARROW_MIN) * (WIDE_MAX - 1) / (NARROW_MAX - NARROW_MIN);
}

/* Rounded up: so what wide_of() makes of a number is that number again. */
static uint64_t narrow_of(uint64_t wide)
{
	return NARROW_MIN +
	       ((wide - 1) * (NARROW_MAX - NARROW_MIN) + WIDE_MAX - 2) / (WIDE_MAX - 1);
}

static bool file_is_wide(const char *file)
{
	return strcmp(file, "io.weight") == 0;
}

static bool file_is_bfq(const char *file)
{
	return strncmp(file, "io.bfq.", 7) == 0 || strncmp(file, "blkio.bfq.", 10) == 0;
}

static bool file_is_by_device(const char *file)
{
	const char *tail = strrchr(file, '_');

	return tail && strcmp(tail, "_device") == 0;
}

static uint64_t scale(uint64_t n, bool from_wide, bool to_wide)
{
	if (n == 0 || from_wide == to_wide)
		return n;
	return to_wide ? wide_of(n) : narrow_of(n);
}

static bool weight_valid(const struct weight *w, const char *name)
{
	if (w->wide)
		return w->n <= WIDE_MAX;
	return w->n <= NARROW_MAX &&
	       (w->n == 0 || w->n >= (file_is_bfq(name) ? BFQ_MIN : NARROW_MIN));
}

/* "100", "default 100", "8:0 100", "8:0 default" (v1: "8:0 0") */
static bool weight_parse(struct conversion *c, const char *value, bool by_device, struct weight *w)
{
	const char *at = value;

	memset(w, 0, sizeof(*w));
	w->wide = c->face == FACE_NEUTRAL || (c->face == FACE_V2 && file_is_wide(c->plan->name));
	if (take_device(&at, &w->len))
		w->device = value;
	else if (c->face != FACE_V1)
		take_word(&at, "default ");
	if (by_device && !w->device)
		return false;
	if (c->face == FACE_V1 && w->device && !by_device)
		return false;
	if (w->device && c->face != FACE_V1 && take_word(&at, "default"))
		return *at == '\0';
	if (!take_number(&at, &w->n) || *at)
		return false;
	/* 0 is v1's word for the default of a device */
	if (w->n == 0 && !(c->face == FACE_V1 && w->device))
		return false;
	return weight_valid(w, c->plan->name);
}

static bool there(struct conversion *c, unsigned i)
{
	return c->texts[i] || !c->plan->optional[i];
}

/* The file for such a weight: one with its own scale, else the other. */
static bool weight_file(struct conversion *c, bool wide, bool by_device, unsigned *ret)
{
	bool found = false;

	for (unsigned i = 0; i < c->plan->n; i++) {
		const char *file = c->plan->file[i];

		if (!there(c, i))
			continue;
		if (c->here == FACE_V1 && file_is_by_device(file) != by_device)
			continue;
		if (!found || file_is_wide(file) == wide)
			*ret = i;
		if (c->here == FACE_V1 || file_is_wide(file) == wide)
			return true;
		found = true;
	}
	return found;
}

static enum reason weight_store(struct conversion *c, const struct weight *w)
{
	struct text t;
	uint64_t n;
	unsigned i;

	if (!weight_file(c, w->wide, w->device, &i))
		return REASON_KEY_MISSING;
	t = write_next(c, i);
	if (w->device)
		text_bytes(&t, w->device, w->len);
	else if (c->here == FACE_V2)
		text_put(&t, "default");
	if (t.len > 0)
		text_put(&t, " ");
	n = scale(w->n, w->wide, file_is_wide(c->plan->file[i]));
	if (n == 0 && c->here == FACE_V2)
		text_put(&t, "default");
	else
		text_number(&t, n);
	return REASON_OK;
}

static enum reason io_weight_set(struct conversion *c, const char *value)
{
	struct weight w;

	return weight_parse(c, value, false, &w) ? weight_store(c, &w) : REASON_VALUE_FORMAT;
}

static enum reason io_weight_device_set(struct conversion *c, const char *value)
{
	struct weight w;

	return weight_parse(c, value, true, &w) ? weight_store(c, &w) : REASON_VALUE_FORMAT;
}

/* The lines of a file that are about devices (or not), in the scale that is wanted. */
static bool weights_print(struct conversion *c, unsigned file, bool wide, bool devices)
{
	const char *line = c->texts[file];
	bool from_wide = file_is_wide(c->plan->file[file]);

	if (!*line)
		return true;
	do {
		const char *at = line;
		bool is_device;
		size_t len;
		uint64_t n;

		is_device = take_device(&at, &len);
		if (!is_device)
			take_word(&at, "default ");
		if (is_device != devices)
			continue;
		if (!take_decimal(&at, &n))
			return false;
		line_break(c);
		if (is_device)
			text_bytes(&c->out, line, len);
		else if (c->face != FACE_V1)
			text_put(&c->out, "default");
		if (is_device || c->face != FACE_V1)
			text_put(&c->out, " ");
		text_number(&c->out, scale(n, from_wide, wide));
	} while (next_line(&line));
	return true;
}

static enum reason io_weight_get(struct conversion *c)
{
	bool wide = c->face == FACE_NEUTRAL || (c->face == FACE_V2 && file_is_wide(c->plan->name));
	unsigned i;

	if (!weight_file(c, wide, false, &i) || !c->texts[i])
		return REASON_KEY_MISSING;
	if (!weights_print(c, i, wide, false))
		return REASON_VALUE_FORMAT;
	if (c->face == FACE_V1)
		return REASON_OK;
	if (!weight_file(c, wide, true, &i) || !c->texts[i])
		return REASON_OK;
	return weights_print(c, i, wide, true) ? REASON_OK : REASON_VALUE_FORMAT;
}

static enum reason io_weight_device_get(struct conversion *c)
{
	unsigned i;

	if (!weight_file(c, false, true, &i) || !c->texts[i])
		return REASON_KEY_MISSING;
	return weights_print(c, i, false, true) ? REASON_OK : REASON_VALUE_FORMAT;
}

#define LINE_V1 "\"MAJOR:MINOR NUMBER\", 0 for no limit"

const struct type type_io_max = {"\"DEVICE rbps=N wbps=N riops=N wiops=N\", each a number or max, "
				 "DEVICE a path or MAJOR:MINOR",
	LINE_V1, io_max_get, io_max_set, NULL, PLAN_DEVICE | PLAN_BLIND, false};
const struct type type_throttle = {
	"", LINE_V1, throttle_get, throttle_set, NULL, PLAN_DEVICE | PLAN_BLIND, false};
const struct type type_io_latency = {
	"\"DEVICE target=TIME\", microseconds, or with us, ms or s, or max", NULL, io_latency_get,
	io_latency_set, NULL, PLAN_DEVICE | PLAN_BLIND, false};
const struct type type_io_stat = {
	"lines of MAJOR:MINOR and a number", NULL, io_stat_get, NULL, NULL, 0, false};
const struct type type_serviced = {"", "lines", serviced_get, NULL, NULL, 0, false};
const struct type type_io_weight = {
	"a weight from 1 to 10000, or \"DEVICE WEIGHT\", or \"DEVICE default\"",
	"a weight from 10 to 1000 (from 1 on for bfq)", io_weight_get, io_weight_set, NULL,
	PLAN_DEVICE, false};
const struct type type_io_weight_device = {"", "\"MAJOR:MINOR WEIGHT\", 10 to 1000, or 0",
	io_weight_device_get, io_weight_device_set, NULL, PLAN_DEVICE, false};
