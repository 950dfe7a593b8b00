/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "../../policy/devices.h"

#define ANY DEVICE_MINOR_MAX

static void test_forms(void **state)
{
	static const struct {
		const char *name, *form, *word;
	} rows[] = {
		{"oci-default", "oci-default", ""},
		{"kvm", "kvm", ""},
		{"ttyS", "ttyS", ""},
		{"gpu", "gpu", ""},
		{"gpu:render", "gpu:render", ""},
		{"gpu:i915", "gpu:<DRIVER>", "i915"},
		{"gpu:virtio_gpu", "gpu:<DRIVER>", "virtio_gpu"},
		{"gpu:i915:render", "gpu:<DRIVER>:render", "i915"},
		{"gpu:render:render", "gpu:<DRIVER>:render", "render"},
		{"gpu@0000:03:00.0", "gpu@<ADDRESS>", "0000:03:00.0"},
		{"gpu@0000:03:00.0:render", "gpu@<ADDRESS>:render", "0000:03:00.0"},
		{"gpu@vgem", "gpu@<ADDRESS>", "vgem"},
		{"gpu@ff9a0000.gpu", "gpu@<ADDRESS>", "ff9a0000.gpu"},
		{"nvidia", "nvidia", ""},
		{"nvidia:0", "nvidia:<N>", "0"},
		{"nvidia:12", "nvidia:<N>", "12"},
		{"/dev/fuse", "/dev/<PATH>", "fuse"},
		{"/dev/dri/card0", "/dev/<PATH>", "dri/card0"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct device_form *f = device_form_find(rows[i].name);
		const char *word = "";
		size_t n;

		assert_non_null(f);
		assert_string_equal(f->form, rows[i].form);
		n = device_form_word(f, rows[i].name, &word);
		assert_int_equal(n, strlen(rows[i].word));
		assert_memory_equal(word, rows[i].word, n);
	}
}

static void test_no_forms(void **state)
{
	static const char *const names[] = {"", "kv", "kvmm", "KVM", "ttys", "gpu:", "gpu@",
		"gpu:i915:", "gpu:i915:card", "gpu:a b", "gpu@a/b", "gpu@../x", "gpu@:render x",
		"nvidia:", "nvidia:00", "nvidia:01", "nvidia:-1", "nvidia:1x", "nvidia:<N>",
		"/dev/", "/dev", "dev/null", "/etc/passwd", "/dev/a b", "/dev/a\n", "/dev/\x7f",
		"c 1:3", "gpu@<ADDRESS>", "all"};
	char name[DEVICE_NAME_MAX + 2];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_null(device_form_find(names[i]));
	memset(name, 'a', sizeof(name));
	memcpy(name, "/dev/", 5);
	name[DEVICE_NAME_MAX + 1] = '\0';
	assert_null(device_form_find(name));
	name[DEVICE_NAME_MAX] = '\0';
	assert_non_null(device_form_find(name));
}

/* One of each form finds its own row. */
static void test_rows(void **state)
{
	unsigned n = 0;

	for (const struct device_form *f; (f = device_form_row(n)); n++) {
		if (!strchr(f->form, '<'))
			assert_ptr_equal(device_form_find(f->form), f);
		assert_true((f->text != NULL) ==
			    (f->kind == DEVICE_FORM_FIXED || f->kind == DEVICE_FORM_PROC));
	}
	assert_true(n > 20);
	assert_null(device_form_row(~0U));
}

static void check(const char *name, const struct device_range *want, unsigned n)
{
	const char *text = device_form_find(name)->text, *driver;
	struct device_range r;
	unsigned i = 0;
	size_t len;

	while (device_form_next(&text, &r, &driver, &len)) {
		assert_true(i < n);
		assert_int_equal(r.types, want[i].types);
		assert_int_equal(r.access, want[i].access);
		assert_int_equal(r.major, want[i].major);
		assert_int_equal(r.first, want[i].first);
		assert_int_equal(r.last, want[i].last);
		assert_int_equal(len, strcmp(name, "kfd") == 0 ? 3 : 0);
		if (len)
			assert_memory_equal(driver, "kfd", len);
		i++;
	}
	assert_int_equal(i, n);
}

#define C(major, first, last)                                     \
	{                                                         \
		DEVICE_CHAR, DEVICE_ALL, (major), (first), (last) \
	}
#define CHECK(name, ...)                                                  \
	do {                                                              \
		static const struct device_range want_[] = {__VA_ARGS__}; \
		check(name, want_, sizeof(want_) / sizeof(want_[0]));     \
	} while (0)
#define MKNOD                                                  \
	{DEVICE_CHAR, DEVICE_MKNOD, DEVICE_ANY, 0, ANY},       \
	{                                                      \
		DEVICE_BLOCK, DEVICE_MKNOD, DEVICE_ANY, 0, ANY \
	}

static void test_ranges(void **state)
{
	CHECK("oci-default", MKNOD, C(1, 3, 3), C(1, 5, 5), C(1, 7, 7), C(1, 8, 8), C(1, 9, 9),
		C(5, 0, 0), C(5, 2, 2), C(136, 0, ANY), C(10, 200, 200));
	CHECK("all-mknod", MKNOD);
	CHECK("kvm", C(10, 232, 232));
	CHECK("fuse", C(10, 229, 229));
	CHECK("tun", C(10, 200, 200));
	CHECK("vhost-net", C(10, 238, 238));
	CHECK("snd", C(116, 0, ANY));
	CHECK("input", C(13, 0, ANY));
	CHECK("ttyS", C(4, 64, 255));
	CHECK("ttyUSB", C(188, 0, ANY));
	CHECK("ttyACM", C(166, 0, ANY));
	CHECK("video", C(81, 0, ANY));
	CHECK("loop", {DEVICE_BLOCK, DEVICE_ALL, 7, 0, ANY});
	CHECK("kfd", C(DEVICE_ANY, 0, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_no_forms),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
