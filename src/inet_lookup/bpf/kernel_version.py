"""The running kernel's version, for messages: what works is found by trying, never by version."""

from __future__ import annotations

import os
import re


def running_kernel() -> tuple[int, int]:
    """Major and minor version of the running kernel, ``(0, 0)`` where ``uname`` has none."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def show(version: tuple[int, int]) -> str:
    """``(5, 9)`` as ``Linux 5.9``."""
    return f"Linux {version[0]}.{version[1]}"
