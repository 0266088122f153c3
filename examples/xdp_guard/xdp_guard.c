// SPDX-License-Identifier: Apache-2.0
/* Drops TCP and UDP packets to guarded prefixes for which the stack would find no socket.
 *
 * bpf_skc_lookup_tcp() and bpf_sk_lookup_udp() look up sockets as the stack will: connections,
 * then socket lookup programs, then sockets that are bound. So what such programs steer passes,
 * and what they drop is dropped here, before the stack spends anything on it. Nobody is told: no
 * reset, no ICMP message.
 *
 * What this does not take apart passes: fragments, VLAN tags, IPv6 extension headers, other
 * protocols.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FRAGMENT 0x3fff /* the flag "more fragments" and the offset */

struct prefix {
	__u32 length; /* in bits, those of the family included */
	__u32 family; /* 4 or 6 */
	__u32 address[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u64);
} guarded SEC(".maps");

enum { PASSED, DROPPED, VERDICTS };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICTS);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

static __always_inline void count(__u32 verdict)
{
	__u64 *packets = bpf_map_lookup_elem(&verdicts, &verdict);

	if (packets)
		++*packets; /* of this CPU alone */
}

/* TCP and UDP headers both begin with the ports. */
struct ports {
	__be16 source;
	__be16 destination;
};

static __always_inline int judge(struct xdp_md *ctx, __u8 protocol, struct bpf_sock_tuple *tuple,
				 __u32 size)
{
	struct bpf_sock *sk;

	/* Not bpf_sk_lookup_tcp(): it finds no connection in TIME_WAIT. */
	if (protocol == IPPROTO_TCP)
		sk = bpf_skc_lookup_tcp(ctx, tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_udp(ctx, tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk) {
		count(DROPPED);
		return XDP_DROP;
	}
	bpf_sk_release(sk);
	count(PASSED);
	return XDP_PASS;
}

static __always_inline int guard_ipv4(struct xdp_md *ctx, struct iphdr *ip, void *end)
{
	struct prefix destination = { .length = 32 + 32, .family = 4 };
	struct bpf_sock_tuple tuple = {};
	struct ports *ports;

	if ((void *)(ip + 1) > end || ip->ihl < 5)
		return XDP_PASS;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return XDP_PASS;
	if (ip->frag_off & bpf_htons(FRAGMENT))
		return XDP_PASS;
	destination.address[0] = ip->daddr;
	if (!bpf_map_lookup_elem(&guarded, &destination))
		return XDP_PASS;
	ports = (void *)ip + ip->ihl * 4;
	if ((void *)(ports + 1) > end)
		return XDP_PASS;
	tuple.ipv4.saddr = ip->saddr;
	tuple.ipv4.daddr = ip->daddr;
	tuple.ipv4.sport = ports->source;
	tuple.ipv4.dport = ports->destination;
	return judge(ctx, ip->protocol, &tuple, sizeof(tuple.ipv4));
}

static __always_inline int guard_ipv6(struct xdp_md *ctx, struct ipv6hdr *ip, void *end)
{
	struct prefix destination = { .length = 32 + 128, .family = 6 };
	struct ports *ports = (void *)(ip + 1);
	struct bpf_sock_tuple tuple = {};

	if ((void *)(ports + 1) > end)
		return XDP_PASS;
	if (ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_UDP)
		return XDP_PASS;
	__builtin_memcpy(destination.address, &ip->daddr, sizeof(ip->daddr));
	if (!bpf_map_lookup_elem(&guarded, &destination))
		return XDP_PASS;
	__builtin_memcpy(tuple.ipv6.saddr, &ip->saddr, sizeof(ip->saddr));
	__builtin_memcpy(tuple.ipv6.daddr, &ip->daddr, sizeof(ip->daddr));
	tuple.ipv6.sport = ports->source;
	tuple.ipv6.dport = ports->destination;
	return judge(ctx, ip->nexthdr, &tuple, sizeof(tuple.ipv6));
}

SEC("xdp")
int xdp_guard(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = (void *)(long)ctx->data;

	if ((void *)(ethernet + 1) > end)
		return XDP_PASS;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP))
		return guard_ipv4(ctx, (void *)(ethernet + 1), end);
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6))
		return guard_ipv6(ctx, (void *)(ethernet + 1), end);
	return XDP_PASS;
}
