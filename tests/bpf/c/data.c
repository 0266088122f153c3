/* Global variables: sections with suffixes, strings, structures, functions as callbacks. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum mode { QUIET = -1, LOUD = 1 };
struct pair {
	__u32 low, high;
};

const volatile enum mode mode = LOUD;
const volatile _Bool enabled = 1;
volatile struct pair pair = { 1, 2 };
volatile __u8 one_byte SEC(".data.separate") = 5;
volatile __u32 table[4] SEC(".bss.table");
static volatile const char names[2][8] SEC(".rodata.names") = { "first", "second" };

static long step(__u32 index, void *sum)
{
	*(__u32 *)sum += index;
	return 0;
}

SEC("sk_lookup")
int read_globals(struct bpf_sk_lookup *ctx)
{
	__u32 index = ctx->local_port & 1;

	table[3]++;
	pair.high++;
	return enabled && mode == LOUD && one_byte == 5 && names[index][0] == (index ? 's' : 'f');
}

SEC("sk_lookup")
int loop(struct bpf_sk_lookup *ctx)
{
	__u32 sum = 0;

	bpf_loop(4, step, &sum, 0);
	return sum == 6 ? SK_PASS : SK_DROP;
}
