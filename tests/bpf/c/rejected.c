/* The verifier rejects both programs: at the marked lines. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} values SEC(".maps");

static __noinline __u64 read_value(__u32 key)
{
	__u64 *value = bpf_map_lookup_elem(&values, &key);

	return *value; /* rejected: in a subprogram */
}

SEC("sk_lookup")
int in_subprogram(struct bpf_sk_lookup *ctx)
{
	return read_value(ctx->local_port) ? SK_PASS : SK_DROP;
}

SEC("sk_lookup")
int in_program(struct bpf_sk_lookup *ctx)
{
	__u32 key = ctx->local_port;
	__u64 *value = bpf_map_lookup_elem(&values, &key);

	*value = 1; /* rejected: in the program */
	return SK_PASS;
}
