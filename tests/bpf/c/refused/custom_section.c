#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile int elsewhere SEC("private") = 1;

SEC("sk_lookup")
int uses_elsewhere(struct bpf_sk_lookup *ctx)
{
	return elsewhere;
}
