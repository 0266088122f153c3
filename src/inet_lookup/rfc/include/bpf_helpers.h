/* SPDX-License-Identifier: Apache-2.0 */
/* What the BPF selftests of 2019 had under this name, libbpf has today. */
#if __has_include_next(<bpf_helpers.h>)
#include_next <bpf_helpers.h>
#elif __has_include(<bpf/bpf_helpers.h>)
#include <bpf/bpf_helpers.h>
#else
#include <inet_lookup.h>
#endif
