"""Logs of kernels other than the running one."""

from __future__ import annotations

import pytest

from inet_lookup.bpf import SourceLine
from inet_lookup.bpf.verifier_log import commented_source, rejected_instruction, summary

LINUX_5_10 = """\
Unrecognized arg#0 type PTR
; return servers.redirect(ctx, 7)
0: (b4) w0 = 7
; return verdict
1: (95) exit
At program exit the register R0 has value (0x7; 0x0) should have been in (0x0; 0x1)
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""

LINUX_6_1 = """\
reg type unsupported for arg#0 function steer#5
0: R1=ctx(off=0,imm=0) R10=fp0
; if ctx.local_port == 80:
0: (61) r2 = *(u32 *)(r1 +60)         ; R1=ctx(off=0,imm=0) R2_w=scalar(umax=4294967295)
1: (15) if r2 == 0x50 goto pc+1       ; R2_w=scalar(umax=4294967295,var_off=(0x0; 0xffffffff))
from 1 to 3: R1=ctx(off=0,imm=0) R2_w=80 R10=fp0
3: (79) r3 = *(u64 *)(r0 +8)
R0 !read_ok
processed 4 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""

LINUX_6_12 = """\
0: R1=ctx() R10=fp0
; return servers.redirect(ctx, index) @ steer.py:17
0: (63) *(u32 *)(r10 -4) = r2
R2 !read_ok
verification time 35 usec
stack depth 4
processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""


@pytest.mark.parametrize(
    ("log", "message", "index"),
    [
        (
            LINUX_5_10,
            "At program exit the register R0 has value (0x7; 0x0) should have been in (0x0; 0x1)",
            1,
        ),
        (LINUX_6_1, "R0 !read_ok", 3),
        (LINUX_6_12, "R2 !read_ok", 0),
        ("back-edge from insn 3 to 2\nprocessed 0 insns\n", "back-edge from insn 3 to 2", 3),
        ("", "", None),
        ("processed 0 insns (limit 1000000)\n", "", None),
    ],
)
def test_last_word_and_instruction_are_found(log: str, message: str, index: int | None) -> None:
    assert summary(log) == message
    assert rejected_instruction(log) == index


def test_quoted_line_has_its_place_where_the_kernel_tells_it() -> None:
    assert commented_source(LINUX_6_12) == SourceLine(
        "steer.py", 17, 0, "return servers.redirect(ctx, index)"
    )
    assert commented_source(LINUX_6_1) is None
    assert commented_source("") is None


def test_long_logs_are_read_from_their_end() -> None:
    log = "0: (07) r2 += 1\n" * 200_000 + "1: (95) exit\nR0 !read_ok\nprocessed 200001 insns\n"
    assert summary(log) == "R0 !read_ok"
    assert rejected_instruction(log) == 1
