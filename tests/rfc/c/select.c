/* One program that does with the helper what it is told, and says what the helper returned. */

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} redir_map SEC(".maps");

/* Set before the program is loaded. */
const volatile __u32 port = 0;
const volatile __u32 calls = 1;		/* how often the helper is called: 0, 1 or 2 times */
const volatile __u32 second_key = 0;
const volatile __u64 helper_flags = 0;
const volatile __u32 own_verdict = 0;	/* whether to return "verdict", not the helper's result */
const volatile __s32 verdict = 0;

int first_result;
int second_result;

SEC("inet_lookup/select")
int select_as_told(struct bpf_inet_lookup *ctx)
{
	int result = BPF_OK;
	__u32 key = 0;

	if (ctx->local_port != port)
		return BPF_OK;
	if (calls > 0) {
		result = bpf_redirect_lookup(ctx, &redir_map, &key, helper_flags);
		first_result = result;
	}
	if (calls > 1) {
		key = second_key;
		second_result = bpf_redirect_lookup(ctx, &redir_map, &key, helper_flags);
	}
	return own_verdict ? verdict : result;
}
