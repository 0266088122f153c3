/* SPDX-License-Identifier: Apache-2.0 */
/* What the BPF selftests of 2019 had under this name, libbpf has today. */
#if __has_include_next(<bpf_endian.h>)
#include_next <bpf_endian.h>
#elif __has_include(<bpf/bpf_endian.h>)
#include <bpf/bpf_endian.h>
#else
#include <inet_lookup.h>
#endif
