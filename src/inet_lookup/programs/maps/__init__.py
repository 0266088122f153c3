"""Maps that programs and Python share."""

from __future__ import annotations

from .array import Array
from .base import ProgramMap
from .counters import Counters
from .hash_map import Hash
from .lpm_trie import LpmTrie
from .sock_array import SockArray

__all__ = ["Array", "Counters", "Hash", "LpmTrie", "ProgramMap", "SockArray"]
