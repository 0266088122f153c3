#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern void *bpf_cast_to_kern_ctx(void *obj) __ksym;

SEC("sk_lookup")
int calls_kernel(struct bpf_sk_lookup *ctx)
{
	return bpf_cast_to_kern_ctx(ctx) ? SK_PASS : SK_DROP;
}
