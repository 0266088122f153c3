/* SPDX-License-Identifier: Apache-2.0 */
/* The C library's header where it can be used for BPF (see netinet/in.h), else the families. */
#if __has_include_next(<sys/socket.h>) && __has_include(<gnu/stubs-32.h>)
#include_next <sys/socket.h>
#else
#include <inet_lookup.h>
#endif
