/* Called with a context pointer that a global function could not take. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__attribute__((visibility("hidden"), noinline)) int port_of(struct bpf_sk_lookup **ctx)
{
	return (*ctx)->local_port;
}

SEC("sk_lookup")
int calls_hidden(struct bpf_sk_lookup *ctx)
{
	struct bpf_sk_lookup *local = ctx;

	return port_of(&local) == 80;
}
