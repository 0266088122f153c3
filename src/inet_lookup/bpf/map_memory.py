"""An array map as memory: reading and writing elements without a system call."""

from __future__ import annotations

import errno
import mmap
from typing import TYPE_CHECKING, Final

from .failures import Failure, Since, failure
from .handle import Resource
from .maps import round_up
from .uapi import ENOTSUPP, MapType

if TYPE_CHECKING:
    from .maps import Map

_REFUSED: Final = Failure(
    "it cannot be mapped into memory", "create it as an array with the flag MMAPABLE"
)


class MapMemory(Resource):
    """The elements of an array map, shared with programs as they run; made by :meth:`Map.mmap`.

    Element ``i`` begins at ``i * stride``. The stride is the value size rounded up to 8: the
    elements of an array of 4-byte values lie 8 bytes apart. Access is as atomic as the processor
    makes it: aligned words of up to 8 bytes are never torn, larger values may be.

    Closing the map leaves the memory usable, closing the memory leaves the map.
    """

    stride: int
    """Bytes from one element to the next."""
    view: memoryview
    """All elements, the padding of the last page left out."""

    def __init__(self, array: Map, *, writable: bool) -> None:
        operation = array.operation("map into memory:")
        if array.type != MapType.ARRAY:
            raise failure(
                OSError(errno.EINVAL, ""),
                operation,
                meanings={errno.EINVAL: _REFUSED},
            )
        self.stride = round_up(array.value_size)
        size = self.stride * array.max_entries
        self._name = array.name
        try:
            # mmap() keeps a duplicate of the descriptor, closed with the mapping.
            self._mmap = mmap.mmap(
                array.fd,
                size,
                flags=mmap.MAP_SHARED,
                prot=mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0),
            )
        except OSError as error:
            raise failure(
                error,
                operation,
                meanings={
                    errno.EINVAL: _REFUSED,
                    ENOTSUPP: _REFUSED,
                    errno.ENODEV: _REFUSED,
                    errno.EPERM: Failure("it is frozen or read-only", "map it with writable=False"),
                    errno.EACCES: Failure(
                        "programs may only read it, or it is read-only",
                        "map it with writable=False",
                    ),
                },
                since=Since("mapping a map into memory", (5, 5)),
            ) from error
        self.view = memoryview(self._mmap)
        super().__init__()

    def element(self, index: int) -> memoryview:
        """The memory of one element, padded to the stride.

        :raises IndexError: there is no such element.
        """
        if not 0 <= index < len(self.view) // self.stride:
            raise IndexError(f"map {self._name!r} has no element {index}")
        return self.view[index * self.stride : (index + 1) * self.stride]

    def _release(self) -> None:
        self.view.release()
        try:
            self._mmap.close()
        except BufferError:
            self.view = memoryview(self._mmap)
            raise

    def close(self) -> None:
        """Unmap the memory.

        :raises BufferError: views of the memory are still in use; release them first.
        """
        super().close()

    def __repr__(self) -> str:
        return f"<MapMemory of {self._name!r}{' closed' if self.closed else ''}>"
