#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(numa_node, 0);
	__type(key, __u32);
	__type(value, __u32);
} placed SEC(".maps");

SEC("sk_lookup")
int uses_placed(struct bpf_sk_lookup *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&placed, &key) ? SK_PASS : SK_DROP;
}
