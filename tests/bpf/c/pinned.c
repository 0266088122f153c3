/* A map that is shared by name. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__uint(value_size, 8);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} shared SEC(".maps");

SEC("sk_lookup")
int count(struct bpf_sk_lookup *ctx)
{
	__u32 key = 2;
	__u64 *value = bpf_map_lookup_elem(&shared, &key);

	if (value)
		*value += 1;
	return SK_PASS;
}
