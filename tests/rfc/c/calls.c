/* Functions, callbacks and tail calls of programs for the RFC. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} redir_map SEC(".maps");

/* A global function: on its own, the kernel would take its argument for memory. */
__attribute__((noinline)) int is_for_us(struct bpf_inet_lookup *ctx)
{
	return ctx->local_port == 7007;
}

static __attribute__((noinline)) int redirect(struct bpf_inet_lookup *ctx)
{
	__u32 key = 0;

	return bpf_redirect_lookup(ctx, &redir_map, &key, 0);
}

SEC("inet_lookup/through_functions")
int through_functions(struct bpf_inet_lookup *ctx)
{
	return is_for_us(ctx) ? redirect(ctx) : BPF_OK;
}

struct loop {
	struct bpf_inet_lookup *ctx;
	__u32 ports;
	int result;
};

static int add_port(__u32 index, void *data)
{
	struct loop *loop = data;

	loop->ports += loop->ctx->local_port;
	return 0;
}

SEC("inet_lookup/through_callback")
int through_callback(struct bpf_inet_lookup *ctx)
{
	struct loop loop = { .ctx = ctx };

	bpf_loop(2, add_port, &loop, 0);
	return loop.ports == 2 * 7007 ? redirect(ctx) : BPF_OK;
}

static int read_half_of_port(__u32 index, void *data)
{
	struct loop *loop = data;

	loop->ports += *(volatile __u16 *)&loop->ctx->local_port;
	return 0;
}

SEC("?inet_lookup/forbidden_in_callback")
int forbidden_in_callback(struct bpf_inet_lookup *ctx)
{
	struct loop loop = { .ctx = ctx };

	bpf_loop(2, read_half_of_port, &loop, 0);
	return loop.ports ? BPF_REDIRECT : BPF_OK;
}

static __attribute__((noinline)) int half_of_port(struct bpf_inet_lookup *ctx)
{
	return *(volatile __u16 *)&ctx->local_port;
}

SEC("?inet_lookup/forbidden_in_function")
int forbidden_in_function(struct bpf_inet_lookup *ctx)
{
	return half_of_port(ctx);
}

SEC("?inet_lookup/select_and_redirect")
int select_and_redirect(struct bpf_inet_lookup *ctx)
{
	return redirect(ctx);
}

SEC("?inet_lookup/select_and_pass")
int select_and_pass(struct bpf_inet_lookup *ctx)
{
	redirect(ctx);
	return BPF_OK;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} targets SEC(".maps");

const volatile __u32 target = 0;

SEC("?inet_lookup/through_tail_call")
int through_tail_call(struct bpf_inet_lookup *ctx)
{
	bpf_tail_call(ctx, &targets, target);
	return BPF_OK;
}
