/* Several programs in one object: sections, functions of one section, maps, globals, subprograms. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} servers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

const volatile __u32 port = 80;
const volatile __s16 bias = -1;
volatile __u64 runs = 7;
volatile __u64 passed;
static volatile __u32 private_count = 3;

static __noinline int wanted(struct bpf_sk_lookup *ctx)
{
	private_count++;
	return ctx->local_port == port;
}

__noinline int count(__u32 key)
{
	__u64 one = 1, *value = bpf_map_lookup_elem(&seen, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
	else
		bpf_map_update_elem(&seen, &key, &one, BPF_ANY);
	return 0;
}

SEC("sk_lookup")
int drop_wanted(struct bpf_sk_lookup *ctx)
{
	runs++;
	return wanted(ctx) ? SK_DROP : SK_PASS;
}

SEC("sk_lookup")
int pass_wanted(struct bpf_sk_lookup *ctx)
{
	if (!wanted(ctx))
		return SK_DROP;
	passed++;
	count(ctx->local_port);
	return SK_PASS;
}

SEC("sk_lookup/redirect")
int redirect(struct bpf_sk_lookup *ctx)
{
	__u32 index = 1;
	struct bpf_sock *sk = bpf_map_lookup_elem(&servers, &index);
	long failed;

	if (!sk)
		return SK_PASS;
	failed = bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	return failed ? SK_DROP : SK_PASS;
}

SEC("?sk_lookup")
int on_request(struct bpf_sk_lookup *ctx)
{
	return SK_DROP;
}


char _license[] SEC("license") = "Dual MIT/GPL";
