"""Reading the verifier's log: its last word, the instruction it stopped at, the source line.

The log is text for people and changes between kernels; nothing here fails on a line that it does
not know. At log level 1 the verifier writes the path that led to the rejection::

    ; return servers.redirect(ctx, 0) @ steer.py:17
    4: (85) call bpf_map_lookup_elem#1
    R1 type=scalar expected=map_ptr
    processed 5 insns (limit 1000000) max_states_per_insn 0 total_states 0 ...
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .source_line import SourceLine


_INSTRUCTION: Final = re.compile(r"^\s*(\d+): \([0-9a-f]{2}\) ")
_STATE: Final = re.compile(
    r"^\s*(from \d+ to \d+.*: |\d+: )R\d+.*=|^\s*(\d+|from \d+ to \d+): (safe|\()"
)
_COMMENT: Final = re.compile(r"^; (?P<text>.*?)(?: @ (?P<file>[^@]*?):(?P<line>\d+))?$")
_MENTIONED: Final = re.compile(r"\binsn[ #](\d+)|\bat insn (\d+)")
_NOT_MESSAGES: Final = (
    ";",
    "processed ",
    "verification time ",
    "stack depth ",
    "func#",
    "mark_precise",
    "max_states_per_insn",
    "last_idx ",
    "regs=",
    "parent ",
)


def summary(log: str) -> str:
    """The verifier's last line that is a message: not an instruction, a state or a statistic.

    The empty string where the log has none.
    """
    for line in reversed(log.splitlines()):
        text = line.strip()
        if (
            not text
            or text.startswith(_NOT_MESSAGES)
            or _INSTRUCTION.match(line)
            or _STATE.match(line)
        ):
            continue
        return text
    return ""


def rejected_instruction(log: str) -> int | None:
    """The index of the instruction that the verifier stopped at, None where the log names none.

    The index counts 8-byte slots of the program as it was passed to the kernel.
    """
    # Structural checks come before any instruction is simulated, and name theirs in the message.
    for line in reversed(log.splitlines()):
        found = _INSTRUCTION.match(line)
        if found:
            return int(found[1])
    mentioned = _MENTIONED.search(summary(log))
    return int(mentioned[1] or mentioned[2]) if mentioned else None


def commented_source(log: str) -> SourceLine | None:
    """The source line that the log quotes last, None where it quotes none with its place.

    The verifier quotes lines where the program came with line info; with their file and number
    since Linux 6.10.
    """
    from .source_line import SourceLine

    for line in reversed(log.splitlines()):
        found = _COMMENT.match(line)
        if found and found["file"]:
            return SourceLine(found["file"], int(found["line"]), 0, found["text"])
    return None
