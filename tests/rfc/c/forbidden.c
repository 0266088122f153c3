/* A program for each access that the RFC forbids. */

#define FORBIDDEN(name, statement) \
	SEC("?inet_lookup/" #name) \
	int name(struct bpf_inet_lookup *ctx) \
	{ \
		statement; \
		return BPF_OK; \
	}

#define READ(type, member) (void)*(volatile type *)&ctx->member

/* By a pointer whose origin is hidden: the compiler reads it at once, whatever the alignment. */
static inline __attribute__((always_inline)) void read_8(const void *from)
{
	(void)*(volatile __u64 *)from;
}

FORBIDDEN(write_local_port, ctx->local_port = 81)
FORBIDDEN(write_local_ip4, ctx->local_ip4 = bpf_htonl(IP4(127, 0, 0, 1)))
FORBIDDEN(write_ip6_byte, *(__u8 *)&ctx->remote_ip6[2] = 1)
FORBIDDEN(half_of_remote_port, READ(__u16, remote_port))
FORBIDDEN(byte_of_family, READ(__u8, family))
FORBIDDEN(half_of_protocol, READ(__u16, protocol))
FORBIDDEN(two_addresses_at_once, read_8(&ctx->local_ip6[1]))
FORBIDDEN(the_selected_socket, (void)*(volatile __u64 *)ctx)
FORBIDDEN(the_interface, (void)*(volatile __u32 *)(&ctx->local_port + 1))
FORBIDDEN(across_two_words, (void)*(volatile __u16 *)((char *)ctx + 19))

SEC("inet_lookup/allowed")
int allowed(struct bpf_inet_lookup *ctx)
{
	READ(__u8, remote_ip4);
	READ(__u16, local_ip4);
	READ(__u8, local_ip6[3]);
	READ(__u32, remote_ip6[1]);
	READ(__u32, family);
	READ(__u32, protocol);
	READ(__u32, remote_port);
	READ(__u32, local_port);
	return BPF_OK;
}
