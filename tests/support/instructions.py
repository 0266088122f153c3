"""BPF instructions assembled by hand, as far as the tests of the kernel's surface need them.

A program is the concatenation of instructions; registers are plain numbers.
"""

from __future__ import annotations

import struct
import sys

from inet_lookup.bpf import Helper, Map

R0, R1, R2, R3, R4, R5, R6 = range(7)
FP = 10

SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}


def instruction(
    opcode: int, dst: int = 0, src: int = 0, offset: int = 0, immediate: int = 0
) -> bytes:
    registers = src << 4 | dst if sys.byteorder == "little" else dst << 4 | src
    return struct.pack("=BBhi", opcode, registers, offset, immediate)


def move(dst: int, value: int) -> bytes:
    return instruction(0xB7, dst, immediate=value)


def copy(dst: int, src: int) -> bytes:
    return instruction(0xBF, dst, src)


def add(dst: int, value: int) -> bytes:
    return instruction(0x07, dst, immediate=value)


def load(size: int, dst: int, src: int, offset: int) -> bytes:
    """``dst = *(uN *)(src + offset)``."""
    return instruction(0x61 & ~0x18 | SIZES[size], dst, src, offset)


def store(size: int, dst: int, offset: int, src: int) -> bytes:
    """``*(uN *)(dst + offset) = src``."""
    return instruction(0x63 & ~0x18 | SIZES[size], dst, src, offset)


def store_value(size: int, dst: int, offset: int, value: int) -> bytes:
    """``*(uN *)(dst + offset) = value``."""
    return instruction(0x62 & ~0x18 | SIZES[size], dst, offset=offset, immediate=value)


def jump(offset: int) -> bytes:
    return instruction(0x05, offset=offset)


def jump_if_zero(register: int, offset: int) -> bytes:
    return instruction(0x15, register, offset=offset)


def call(helper: Helper) -> bytes:
    return instruction(0x85, immediate=helper)


def map_address(dst: int, target: Map) -> bytes:
    """A 64-bit immediate load of a map, in two slots; 1 is ``BPF_PSEUDO_MAP_FD``."""
    return instruction(0x18, dst, 1, immediate=target.fd) + instruction(0)


def leave() -> bytes:
    return instruction(0x95)


def returning(value: int) -> bytes:
    """A program that does nothing but return a value."""
    return move(R0, value) + leave()


def select_socket(sockets: Map, index: int, flags: int = 0) -> bytes:
    """Redirect to the socket in a slot of a sock map; drop where there is none to take.

    ::

        struct bpf_sock *sk = bpf_map_lookup_elem(&sockets, &index);
        if (!sk) return SK_DROP;
        err = bpf_sk_assign(ctx, sk, flags);
        bpf_sk_release(sk);
        return err ? SK_DROP : SK_PASS;
    """
    return (
        copy(R6, R1)
        + store_value(4, FP, -4, index)
        + map_address(R1, sockets)
        + copy(R2, FP)
        + add(R2, -4)
        + call(Helper.MAP_LOOKUP_ELEM)
        + jump_if_zero(R0, 12)
        + copy(7, R0)
        + copy(R1, R6)
        + copy(R2, 7)
        + move(R3, flags)
        + call(Helper.SK_ASSIGN)
        + copy(8, R0)
        + copy(R1, 7)
        + call(Helper.SK_RELEASE)
        + move(R0, 0)
        + instruction(0x55, 8, offset=1)
        + move(R0, 1)
        + leave()
        + leave()
    )


def count_runs(counters: Map, index: int = 0) -> bytes:
    """Add one to an 8-byte element of an array, then pass."""
    return (
        store_value(4, FP, -4, index)
        + map_address(R1, counters)
        + copy(R2, FP)
        + add(R2, -4)
        + call(Helper.MAP_LOOKUP_ELEM)
        + jump_if_zero(R0, 2)
        + move(R1, 1)
        + instruction(0xDB, R0, R1)  # lock *(u64 *)(r0 + 0) += r1
        + returning(1)
    )


def emit_records(ring: Map, *records: bytes) -> bytes:
    """Write records of 8 bytes each to a ring buffer, then pass."""
    code = b""
    for record in records:
        low, high = struct.unpack("=ii", record)
        code += (
            store_value(4, FP, -8, low)
            + store_value(4, FP, -4, high)
            + map_address(R1, ring)
            + copy(R2, FP)
            + add(R2, -8)
            + move(R3, 8)
            + move(R4, 0)
            + call(Helper.RINGBUF_OUTPUT)
        )
    return code + returning(1)
