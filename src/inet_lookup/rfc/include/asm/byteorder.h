/* SPDX-License-Identifier: Apache-2.0 */
/* clang -target bpf does not look where some distributions keep this header of the kernel's. */
#if __has_include_next(<asm/byteorder.h>)
#include_next <asm/byteorder.h>
#elif __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#include <linux/byteorder/little_endian.h>
#else
#include <linux/byteorder/big_endian.h>
#endif
