#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	unsigned int type, key_size, value_size, max_entries, map_flags;
} old SEC("maps") = { BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0 };

SEC("sk_lookup")
int uses_old(struct bpf_sk_lookup *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&old, &key) ? SK_PASS : SK_DROP;
}
