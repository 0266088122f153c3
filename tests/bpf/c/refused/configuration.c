#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int CONFIG_HZ __kconfig;

SEC("sk_lookup")
int reads_configuration(struct bpf_sk_lookup *ctx)
{
	return CONFIG_HZ > 100;
}
