/* Maps of maps and of programs, some of their slots filled in C. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct generation {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
};

struct generation first SEC(".maps");
struct generation second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct generation);
} generations SEC(".maps") = {
	.values = { [1] = &first, [3] = &second },
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u64);
	__array(values, struct generation);
} by_cookie SEC(".maps");

SEC("sk_lookup")
int called(struct bpf_sk_lookup *ctx)
{
	return SK_DROP;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, int (struct bpf_sk_lookup *));
} steps SEC(".maps") = {
	.values = { [1] = (void *)&called },
};

SEC("sk_lookup")
int look_inside(struct bpf_sk_lookup *ctx)
{
	__u32 key = 3, slot = 1, *value;
	void *inner = bpf_map_lookup_elem(&generations, &key);

	if (!inner)
		return SK_DROP;
	value = bpf_map_lookup_elem(inner, &slot);
	return value && *value == ctx->local_port ? SK_PASS : SK_DROP;
}

SEC("sk_lookup")
int jump(struct bpf_sk_lookup *ctx)
{
	bpf_tail_call(ctx, &steps, 1);
	return SK_PASS;
}
