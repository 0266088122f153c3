/* The RFC's names and sizes, where the kernel's context has them. */

#define HAS(member, size) \
	_Static_assert(sizeof(((struct bpf_inet_lookup *)0)->member) == size, #member)
#define AT(member, offset) \
	_Static_assert(__builtin_offsetof(struct bpf_inet_lookup, member) == offset, #member)

HAS(family, 4);
HAS(protocol, 4);
HAS(remote_ip4, 4);
HAS(local_ip4, 4);
HAS(remote_ip6, 16);
HAS(remote_ip6[0], 4);
HAS(local_ip6, 16);
HAS(local_ip6[0], 4);
HAS(remote_port, 4);
HAS(local_port, 4);

AT(family, 8);
AT(protocol, 12);
AT(remote_ip4, 16);
AT(remote_ip6, 20);
AT(remote_port, 36);
AT(local_ip4, 40);
AT(local_ip6, 44);
AT(local_port, 60);

_Static_assert(BPF_OK == 0 && BPF_DROP == 2 && BPF_REDIRECT == 7, "verdicts");
_Static_assert(BPF_MAP_TYPE_REUSEPORT_SOCKARRAY == 20, "map type");
_Static_assert(IPPROTO_TCP == 6 && IPPROTO_UDP == 17, "protocols");
_Static_assert(AF_INET == 2 && AF_INET6 == 10, "families");
_Static_assert(IP4(192, 0, 2, 255) == 0xc00002ffu, "host byte order");
_Static_assert(bpf_htonl(1) == 0x01000000u && bpf_ntohs(1) == 0x0100, "byte orders");
