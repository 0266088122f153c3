#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct sock_common {
	unsigned short skc_family;
} __attribute__((preserve_access_index));

SEC("sk_lookup")
int core(struct bpf_sk_lookup *ctx)
{
	return ((struct sock_common *)(long)ctx->cookie)->skc_family;
}
