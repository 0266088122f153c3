/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C library's header where it can be used for BPF, else the kernel's. glibc's headers take BPF
 * for 32-bit x86, so that they need a header of the 32-bit C library, which is seldom installed.
 */
#if __has_include_next(<netinet/in.h>) && __has_include(<gnu/stubs-32.h>)
#include_next <netinet/in.h>
#elif __has_include(<linux/in.h>)
#include <linux/in.h>
#elif !defined(IPPROTO_TCP)
enum {
	IPPROTO_TCP = 6,
#define IPPROTO_TCP IPPROTO_TCP
	IPPROTO_UDP = 17,
#define IPPROTO_UDP IPPROTO_UDP
};
#endif
