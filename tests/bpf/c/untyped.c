/* A section whose name says nothing about the type of program. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("steer/me")
int untyped(struct bpf_sk_lookup *ctx)
{
	return SK_PASS;
}
