"""What a program returns: the verdict on one lookup."""

from __future__ import annotations

from enum import IntEnum


class Verdict(IntEnum):
    """The verdict of a program on one socket lookup (``enum sk_action`` of ``linux/bpf.h``).

    :cvar PASS: use the socket that was selected, or go on with the regular lookup where none was.
    :cvar DROP: the lookup fails: TCP answers with a reset, UDP with ICMP port unreachable.
    """

    DROP = 0
    PASS = 1


PASS = Verdict.PASS
DROP = Verdict.DROP
