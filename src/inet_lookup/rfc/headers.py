"""Where the header for programs in C is."""

from __future__ import annotations

from pathlib import Path


def include_dir() -> Path:
    """Return the directory to give to clang with ``-I``.

    It has ``inet_lookup.h``. The other headers in it stand in for such as ``asm/types.h`` and
    ``sys/socket.h``, which clang does not find, or cannot use, for BPF on some distributions.
    """
    return Path(__file__).with_name("include")
