/* SPDX-License-Identifier: Apache-2.0 */
/* clang -target bpf does not look where some distributions keep this header of the kernel's. */
#if __has_include_next(<asm/swab.h>)
#include_next <asm/swab.h>
#else
#include <asm-generic/swab.h>
#endif
