#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern const int bpf_prog_active __ksym;

SEC("sk_lookup")
int reads_kernel(struct bpf_sk_lookup *ctx)
{
	return (long)&bpf_prog_active > 0 ? SK_PASS : SK_DROP;
}
