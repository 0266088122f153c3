"""Bytes of any length in a map: compressed, in the elements of an array, never to be changed."""

from __future__ import annotations

import contextlib
import struct
import zlib
from typing import Final

from ..bpf.maps import Map
from ..bpf.uapi import MapType
from ..errors import UnreadableStateError

_CHUNK: Final = 4096
_LENGTH: Final = struct.Struct("<Q")
_FASTEST: Final = 1


def write(data: bytes, name: str) -> Map:
    """Make a map that holds some bytes; it is the caller's to close.

    :raises KernelError: the kernel refuses it.
    """
    packed = zlib.compress(data, _FASTEST)
    whole = _LENGTH.pack(len(packed)) + packed
    count = -(-len(whole) // _CHUNK)
    made = Map.create(MapType.ARRAY, key_size=4, value_size=_CHUNK, max_entries=count, name=name)
    with contextlib.ExitStack() as on_failure:
        on_failure.enter_context(made)
        made.update_batch(
            struct.pack(f"={count}I", *range(count)), whole.ljust(count * _CHUNK, b"\0")
        )
        made.freeze()
        on_failure.pop_all()
    return made


def read(source: Map) -> bytes:
    """Read what :func:`write` wrote.

    :raises UnreadableStateError: the map holds something else.
    """
    whole = b"".join(value for _, value in source.lookup_batch(source.max_entries))
    try:
        (length,) = _LENGTH.unpack_from(whole)
        return zlib.decompress(whole[_LENGTH.size : _LENGTH.size + length])
    except (struct.error, zlib.error) as error:
        raise UnreadableStateError(
            f"the map {source.name!r} does not hold a state: {error}",
            hint="something else wrote to it: load the dispatcher anew, after 'inet-lookup unload'",
        ) from error
