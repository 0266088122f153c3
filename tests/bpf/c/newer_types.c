/* Types that came into BTF after Linux 5.9. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum wide { WIDE = 0x100000000ULL };
#define tagged __attribute__((btf_type_tag("tagged")))
#define declared __attribute__((btf_decl_tag("declared")))
struct holder {
	double real;
	enum wide wide;
	int tagged *pointer;
} declared;

volatile struct holder holder;

SEC("sk_lookup")
int uses(struct bpf_sk_lookup *ctx)
{
	return holder.wide == WIDE ? SK_DROP : SK_PASS;
}
