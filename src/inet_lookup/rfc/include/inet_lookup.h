/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BPF programs' side of the RFC "Programming socket lookup with BPF" (RFCv2, August 2019), for
 * the kernels of today: a source that was written for the RFC compiles unchanged with
 *
 *	clang -O2 -g -target bpf -I"$(inet-lookup include-dir)" -include inet_lookup.h
 *
 * or with #include <inet_lookup.h> behind its other headers. inet-lookup loads the object; other
 * loaders do not know the sections "inet_lookup/...", and what a program there means.
 *
 * With -include this header comes first: all that it defines may be defined again, and the kernel's
 * headers and libbpf's may follow. Behind vmlinux.h, include it; vmlinux.h cannot follow.
 *
 * Copyright the inet-lookup authors. Licensed under the Apache License, Version 2.0; you may not
 * use this file except in compliance with the License, of which a copy is at
 * http://www.apache.org/licenses/LICENSE-2.0. It comes as it is, without warranties or conditions
 * of any kind.
 */
#ifndef INET_LOOKUP_H
#define INET_LOOKUP_H

/* What sources define themselves, or take from libbpf's headers, goes before what is here. */
#pragma clang diagnostic ignored "-Wmacro-redefined"

/* Numbers and types: those of the kernel's headers where they are installed. */

#if !defined(__VMLINUX_H__)
#if __has_include(<linux/bpf.h>)
#include <linux/bpf.h>
#else
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

enum bpf_map_type {
	BPF_MAP_TYPE_REUSEPORT_SOCKARRAY = 20,
};

enum bpf_ret_code {
	BPF_OK = 0,
	BPF_DROP = 2,
	BPF_REDIRECT = 7,
};
#endif

#ifndef IPPROTO_TCP
#include <netinet/in.h>
#endif
#endif

#ifndef AF_INET
#define AF_INET 2
#endif
#ifndef AF_INET6
#define AF_INET6 10
#endif

/*
 * What a program sees of a packet: the names, sizes and byte orders of the RFC. Addresses and the
 * remote port are in network byte order (the remote port in the first two bytes in memory), the
 * local port is in host byte order.
 *
 * The members lie where struct bpf_sk_lookup has them, not one behind the other as in the RFC: so
 * the instructions need no rewriting, and the kernel, its verifier and its tools see them as the
 * compiler wrote them. The members that the RFC does not have (the selected socket in front, the
 * ingress interface behind) have no names here, and inet-lookup refuses programs that read them.
 */
struct bpf_inet_lookup {
	__u64 : 64;
	__u32 family;		/* AF_INET, AF_INET6; read all 4 bytes */
	__u32 protocol;		/* IPPROTO_TCP, IPPROTO_UDP; read all 4 bytes */
	__u32 remote_ip4;	/* read 1, 2 or 4 bytes, as of the other addresses */
	__u32 remote_ip6[4];
	__u32 remote_port;	/* read all 4 bytes */
	__u32 local_ip4;
	__u32 local_ip6[4];
	__u32 local_port;	/* read all 4 bytes */
}
#if defined(__has_attribute)
#if __has_attribute(preserve_static_offset)
/* Keeps each read at a constant offset of the context, which the verifier demands. */
__attribute__((preserve_static_offset))
#endif
#endif
;

/*
 * Select the socket at a key of a socket array for the packet. It is used if the program then
 * returns BPF_REDIRECT; a later call that succeeds takes its place, one that fails does not.
 *
 * Returns BPF_REDIRECT, or what prevented it:
 *	-EINVAL		flags are not 0
 *	-ENOENT		there is no socket at the key, or it was closed
 *	-EPROTOTYPE	it is not of the packet's protocol
 *	-EAFNOSUPPORT	it does not take packets of this family: it is an IPv4 socket, or an IPv6
 *			socket with IPV6_V6ONLY
 *	-ESOCKTNOSUPPORT  it is a UDP socket that was connected after it was put into the array; the
 *			RFC would have used it, the kernels of today do not
 */
static inline __attribute__((always_inline)) int
bpf_redirect_lookup(void *ctx, void *map, const void *key, __u64 flags)
{
	/* By number, since a source may declare the helpers under their names later. */
	void *(*map_lookup_elem)(void *map, const void *key) = (void *)1;
	long (*sk_release)(void *sk) = (void *)86;
	long (*sk_assign)(void *ctx, void *sk, __u64 flags) = (void *)124;
	const __u64 replace = 1, no_reuseport = 2;
	const int no_entry = 2, invalid = 22;
	void *sk;
	int err;

	if (flags)
		return -invalid;
	sk = map_lookup_elem(map, key);
	if (!sk)
		return -no_entry;
	err = sk_assign(ctx, sk, replace | no_reuseport);
	sk_release(sk);
	return err ? err : BPF_REDIRECT;
}

/* What the sources of the RFC take from the BPF selftests' headers. */

#ifndef SEC
#define SEC(name) __attribute__((section(name), used))
#endif
#ifndef __uint
#define __uint(name, val) int (*name)[val]
#endif
#ifndef __type
#define __type(name, val) typeof(val) *name
#endif
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#ifndef bpf_ntohl
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define bpf_ntohs(x) __builtin_bswap16(x)
#define bpf_htons(x) __builtin_bswap16(x)
#define bpf_ntohl(x) __builtin_bswap32(x)
#define bpf_htonl(x) __builtin_bswap32(x)
#else
#define bpf_ntohs(x) ((__u16)(x))
#define bpf_htons(x) ((__u16)(x))
#define bpf_ntohl(x) ((__u32)(x))
#define bpf_htonl(x) ((__u32)(x))
#endif
#endif

#ifndef IP4
/* An IPv4 address in host byte order, as a constant. */
#define IP4(a, b, c, d) \
	((__u32)(a) << 24 | (__u32)(b) << 16 | (__u32)(c) << 8 | (__u32)(d))
#endif

#endif /* INET_LOOKUP_H */
