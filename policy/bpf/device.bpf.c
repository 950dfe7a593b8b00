/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the kernel runs for each open and mknod of a device: one program for each class of policies,
 * all the same but for the size.
 *
 * cgmd_dev_SIZE has the policy of the cgroup that it is attached to, also when a task far below
 * opens something: the kernel keeps a value for each cgroup that is attached to (4.19). A value is
 * replaced by an update of the map, never written into, so what is read here is one policy.
 * cgmd_arr_SIZE, for kernels without that map, has the one policy of its array, frozen before it is
 * loaded.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "../device-policy.h"

static inline __attribute__((always_inline)) int decide(
	struct bpf_cgroup_dev_ctx *ctx, const __u32 *words, __u64 n_words)
{
	__u32 asked = ctx->access_type;

	return device_policy_decide(
		words, n_words, asked & 0xffff, ctx->major, ctx->minor, asked >> 16);
}

/* The key has a fixed layout (4.19); its size is all that the kernel looks at. */
#define CLASS(size)                                                                    \
	struct value_##size {                                                          \
		__u32 words[(size) / 4];                                               \
	};                                                                             \
	struct {                                                                       \
		__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);                             \
		__type(key, struct bpf_cgroup_storage_key);                            \
		__type(value, struct value_##size);                                    \
	} cgmd_pol_##size SEC(".maps");                                                \
	struct {                                                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                      \
		__uint(map_flags, BPF_F_RDONLY_PROG);                                  \
		__uint(max_entries, 1);                                                \
		__type(key, __u32);                                                    \
		__type(value, struct value_##size);                                    \
	} cgmd_fix_##size SEC(".maps");                                                \
                                                                                       \
	SEC("cgroup/dev")                                                              \
	int cgmd_dev_##size(struct bpf_cgroup_dev_ctx *ctx)                            \
	{                                                                              \
		struct value_##size *v = bpf_get_local_storage(&cgmd_pol_##size, 0);   \
                                                                                       \
		return decide(ctx, v->words, (size) / 4);                              \
	}                                                                              \
                                                                                       \
	SEC("cgroup/dev")                                                              \
	int cgmd_arr_##size(struct bpf_cgroup_dev_ctx *ctx)                            \
	{                                                                              \
		__u32 zero = 0;                                                        \
		struct value_##size *v = bpf_map_lookup_elem(&cgmd_fix_##size, &zero); \
                                                                                       \
		return v ? decide(ctx, v->words, (size) / 4) : 0;                      \
	}

CLASS(240)
CLASS(1008)
CLASS(4080)
CLASS(16368)
CLASS(65280)

char device_license[] SEC("license") = "Dual BSD/GPL";
