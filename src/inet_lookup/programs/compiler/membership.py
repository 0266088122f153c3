"""The ``in`` operator: sets of numbers and networks as search trees rather than chains of tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .flow import Flow
from .ir import Block, FunctionBuilder
from .refusal import Refused

# The kernel's jumps reach 32,767 instructions; a tree over IPv6 takes about 12 for each interval.
LIMIT = 1024

# Up to this many single values LLVM's switch is best: it finds bit tests and ranges by itself.
_SWITCH = 64


def intervals_of(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return numbers as sorted, disjoint (first, last) pairs."""
    pairs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if pairs and number == pairs[-1][1] + 1:
            pairs[-1] = (pairs[-1][0], number)
        else:
            pairs.append((number, number))
    return pairs


def search(
    builder: FunctionBuilder,
    flow: Flow,
    ref: str,
    bits: int,
    intervals: Sequence[tuple[int, int]],
) -> tuple[Flow, Flow]:
    """End ``flow`` with a search of an unsigned number in sorted, disjoint intervals.

    :param ref: the number, an ``i<bits>``.
    :return: the path on which an interval holds the number, and the one on which none does.
    :raises Refused: there are more intervals than a program can hold.
    """
    if len(intervals) > LIMIT:
        raise Refused(
            f"the set has {len(intervals)} separate ranges; a program holds up to {LIMIT}",
            "put them in an LpmTrie or Hash map",
        )
    found, missed = builder.new_block("in"), builder.new_block("out")
    count = sum(hi - lo + 1 for lo, hi in intervals)
    if bits == 64 and count <= _SWITCH:
        cases = [(number, found) for lo, hi in intervals for number in range(lo, hi + 1)]
        builder.switch(flow.block, ref, cases, missed)
    else:
        _tree(builder, flow.block, ref, bits, intervals, (0, 2**bits - 1), found, missed)
    return flow.fork(found), flow.fork(missed)


def _tree(
    builder: FunctionBuilder,
    block: Block,
    ref: str,
    bits: int,
    intervals: Sequence[tuple[int, int]],
    known: tuple[int, int],
    found: Block,
    missed: Block,
) -> None:
    """Compile the search of ``ref``, known to lie within ``known``, as a balanced tree."""
    if not intervals:
        builder.jump(block, missed)
        return
    middle = len(intervals) // 2
    lo, hi = intervals[middle]
    if lo > known[0]:
        below, here = builder.new_block("below"), builder.new_block("from")
        condition = builder.value(block, f"icmp ult i{bits} {ref}, {lo}")
        builder.branch(block, condition, below, here)
        _tree(builder, below, ref, bits, intervals[:middle], (known[0], lo - 1), found, missed)
        block = here
    if hi >= known[1]:
        builder.jump(block, found)
        return
    above = builder.new_block("above")
    condition = builder.value(block, f"icmp ule i{bits} {ref}, {hi}")
    builder.branch(block, condition, found, above)
    _tree(builder, above, ref, bits, intervals[middle + 1 :], (hi + 1, known[1]), found, missed)
