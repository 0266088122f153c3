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
_MENTIONED: Final = re.compile(r"\binsn[ #](\d+)")
_STATISTICS: Final = (
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


# A rejection is explained in one line, or two: what was wrong, and with which bounds.
_MESSAGE_LINES: Final = 2
# Logs reach a gigabyte; what ends them is within their last lines.
_TAIL: Final = 1 << 16


def _tail(log: str) -> list[str]:
    return log[-_TAIL:].splitlines()


def summary(log: str) -> str:
    """The verifier's last word: the message that ends the log, on one line.

    A message of several lines is joined. The empty string where the log has none.
    """
    message: list[str] = []
    for line in reversed(_tail(log)):
        if _INSTRUCTION.match(line) or _STATE.match(line) or line.startswith(";"):
            if message:
                break
            continue
        text = line.strip()
        if text and not text.startswith(_STATISTICS):
            message.append(text)
            if len(message) == _MESSAGE_LINES:
                break
    return "; ".join(reversed(message))


def rejected_instruction(log: str) -> int | None:
    """The index of the instruction that the verifier stopped at, None where the log names none.

    The index counts 8-byte slots of the program as it was passed to the kernel.
    """
    for line in reversed(_tail(log)):
        found = _INSTRUCTION.match(line)
        if found:
            return int(found[1])
    # Structural checks come before any instruction is simulated, and name theirs in the message.
    mentioned = _MENTIONED.search(summary(log))
    return int(mentioned[1]) if mentioned else None


def commented_source(log: str) -> SourceLine | None:
    """The source line that the log quotes last, None where it quotes none with its place.

    The verifier quotes lines where the program came with line info; newer kernels add the
    file and the number.
    """
    from .source_line import SourceLine

    for line in reversed(_tail(log)):
        found = _COMMENT.match(line)
        if found and found["file"]:
            return SourceLine(found["file"], int(found["line"]), 0, found["text"])
    return None
