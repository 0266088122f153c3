// The program of examples/two_http_servers.py, written in C as one would write it by hand.

#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u64));
} servers SEC(".maps");

static __always_inline int redirect(struct bpf_sk_lookup *ctx, __u32 index)
{
	struct bpf_sock *sk = bpf_map_lookup_elem(&servers, &index);

	if (!sk)
		return SK_PASS;
	bpf_sk_assign(ctx, sk, BPF_SK_LOOKUP_F_REPLACE);
	bpf_sk_release(sk);
	return SK_PASS;
}

SEC("sk_lookup")
int two_http_servers(struct bpf_sk_lookup *ctx)
{
	if (ctx->protocol != IPPROTO_TCP || ctx->local_port != 80)
		return SK_PASS;
	if (ctx->family == AF_INET) {
		switch (bpf_ntohl(ctx->local_ip4) >> 8) {
		case 0xc00002: // 192.0.2.0/24
			return redirect(ctx, 0);
		case 0xc63364: // 198.51.100.0/24
			return redirect(ctx, 1);
		}
		return SK_PASS;
	}
	if (ctx->local_ip6[0] != bpf_htonl(0x20010db8))
		return SK_PASS;
	switch (bpf_ntohl(ctx->local_ip6[1]) >> 16) {
	case 1: // 2001:db8:1::/48
		return redirect(ctx, 0);
	case 2: // 2001:db8:2::/48
		return redirect(ctx, 1);
	}
	return SK_PASS;
}
