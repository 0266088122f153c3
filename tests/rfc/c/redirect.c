/* The programs of the RFC's ten cases, with the headers that the BPF selftests of 2019 used. */
#include <linux/bpf.h>
#include <sys/socket.h>

#include "bpf_endian.h"
#include "bpf_helpers.h"

#define IP4(a, b, c, d) ((__u32)(((a) << 24) | ((b) << 16) | ((c) << 8) | (d)))

#define SOCKETS 4

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, SOCKETS);
	__type(key, __u32);
	__type(value, __u64);
} redir_map SEC(".maps");

static const __u32 EXTERNAL_PORT = 7007;
static const __u32 EXTERNAL_IP4 = IP4(127, 0, 0, 1);
static const __u32 EXTERNAL_IP6[] = { 0xfd000000, 0, 0, 1 };

SEC("inet_lookup/by_port")
int by_port(struct bpf_inet_lookup *ctx)
{
	__u32 key = 0;

	if (ctx->local_port != EXTERNAL_PORT)
		return BPF_OK;
	return bpf_redirect_lookup(ctx, &redir_map, &key, 0);
}

SEC("inet_lookup/by_ip4")
int by_ip4(struct bpf_inet_lookup *ctx)
{
	__u32 key = 0;

	if (ctx->family != AF_INET || ctx->local_port != EXTERNAL_PORT)
		return BPF_OK;
	if (ctx->local_ip4 != bpf_htonl(EXTERNAL_IP4))
		return BPF_OK;
	return bpf_redirect_lookup(ctx, &redir_map, &key, 0);
}

SEC("inet_lookup/by_ip6")
int by_ip6(struct bpf_inet_lookup *ctx)
{
	__u32 key = 0;

	if (ctx->family != AF_INET6 || ctx->local_port != EXTERNAL_PORT)
		return BPF_OK;
	if (ctx->local_ip6[0] != bpf_htonl(EXTERNAL_IP6[0]) ||
	    ctx->local_ip6[1] != bpf_htonl(EXTERNAL_IP6[1]) ||
	    ctx->local_ip6[2] != bpf_htonl(EXTERNAL_IP6[2]) ||
	    ctx->local_ip6[3] != bpf_htonl(EXTERNAL_IP6[3]))
		return BPF_OK;
	return bpf_redirect_lookup(ctx, &redir_map, &key, 0);
}

char _license[] SEC("license") = "GPL";
__u32 _version SEC("version") = 1;
