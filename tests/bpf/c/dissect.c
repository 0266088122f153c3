/* A flow dissector, an XDP program and programs on cgroups. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("flow_dissector")
int dissect(struct __sk_buff *skb)
{
	struct bpf_flow_keys *keys = skb->flow_keys;

	keys->nhoff = 14;
	keys->thoff = 34;
	keys->is_frag = 1;
	return BPF_OK;
}

SEC("xdp")
int drop_short(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	return data + 64 > end ? XDP_DROP : XDP_PASS;
}

SEC("xdp.frags")
int with_frags(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("sockops")
int on_sock_ops(struct bpf_sock_ops *ctx)
{
	return 1;
}

SEC("cgroup/bind4")
int on_bind4(struct bpf_sock_addr *ctx)
{
	return 1;
}

SEC("cgroup/connect6")
int on_connect6(struct bpf_sock_addr *ctx)
{
	return 1;
}

SEC("cgroup/sock_create")
int on_create(struct bpf_sock *ctx)
{
	return 1;
}

SEC("sk_reuseport")
int select_socket(struct sk_reuseport_md *ctx)
{
	return SK_PASS;
}
