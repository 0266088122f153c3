#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static volatile int target = 1;
static volatile int *volatile pointer = &target;

SEC("sk_lookup")
int follows(struct bpf_sk_lookup *ctx)
{
	return *pointer;
}
