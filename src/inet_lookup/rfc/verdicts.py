"""What a program returns (``enum bpf_ret_code`` of ``linux/bpf.h``, as far as the RFC uses it)."""

from __future__ import annotations

from typing import Final

BPF_OK: Final = 0
"""The regular lookup goes on."""

BPF_DROP: Final = 2
"""The regular lookup goes on: the RFC has no way to drop."""

BPF_REDIRECT: Final = 7
"""The selected socket is used; where none is, the regular lookup goes on."""
