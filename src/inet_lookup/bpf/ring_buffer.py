"""Reading a ring buffer: records that programs send to user space (Linux 5.8).

The map is memory shared with the kernel (``Documentation/bpf/ringbuf.rst``): a page with the
consumer's position, which is the reader's to write; a page with the producers' position; then the
data, mapped twice in a row so that a record that wraps around lies in one piece.
"""

from __future__ import annotations

import errno
import mmap
import os
import select
import struct
import threading
from typing import TYPE_CHECKING, Final

from .failures import Failure, Since, failure
from .handle import Resource
from .uapi import MapType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .maps import Map

_HEADER_SIZE: Final = 8  # BPF_RINGBUF_HDR_SZ
_BUSY: Final = 1 << 31  # BPF_RINGBUF_BUSY_BIT: reserved, not yet submitted
_DISCARDED: Final = 1 << 30  # BPF_RINGBUF_DISCARD_BIT

# Positions are of the C type unsigned long and wrap around with it.
_POSITION_MASK: Final = (1 << 8 * struct.calcsize("L")) - 1

_STRONGLY_ORDERED: Final = os.uname().machine in ("x86_64", "i686", "i586", "s390x")
_fence: Final = threading.Lock()


class RingBuffer(Resource):
    """The one reader of a ring buffer map; a map has room for one.

    :param source: the map; it may be closed while the reader goes on.
    :raises KernelError: the map is not a ring buffer, or cannot be mapped.

    Example::

        with RingBuffer(events) as reader:
            while reader.wait(timeout=1.0):
                for record in reader.read():
                    print(record.hex())
    """

    def __init__(self, source: Map) -> None:
        operation = source.operation("read records from")
        if source.type != MapType.RINGBUF:
            raise failure(
                OSError(errno.EINVAL, ""),
                operation,
                meanings={errno.EINVAL: Failure("it is not a ring buffer")},
            )
        self._size = source.max_entries
        self._map = source.dup()
        try:
            self._consumer_page = mmap.mmap(self._map.fd, mmap.PAGESIZE)
            try:
                self._producer_pages = mmap.mmap(
                    self._map.fd,
                    mmap.PAGESIZE + 2 * self._size,
                    prot=mmap.PROT_READ,
                    offset=mmap.PAGESIZE,
                )
            except BaseException:
                self._consumer_page.close()
                raise
        except OSError as error:
            self._map.close()
            raise failure(error, operation, since=Since("a ring buffer", (5, 8))) from error
        except BaseException:
            self._map.close()
            raise
        self._consumer = memoryview(self._consumer_page).cast("L")
        self._producer = memoryview(self._producer_pages).cast("L")
        self._lengths = memoryview(self._producer_pages)[mmap.PAGESIZE :].cast("I")
        super().__init__()

    def fileno(self) -> int:
        """The descriptor that is readable when there are records, for :mod:`selectors`.

        :raises ValueError: the reader is closed.
        """
        return self._map.fd

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for records.

        The kernel wakes a reader that had read everything; read until nothing is left before
        waiting again.

        :param timeout: in seconds, None to wait without end.
        :returns: whether there may be records.
        """
        with select.epoll() as poll:
            poll.register(self.fileno(), select.EPOLLIN)
            return bool(poll.poll(timeout))

    def read(self) -> Iterator[bytes]:
        """The records that are there now, oldest first, without waiting.

        A record is taken out of the buffer when the next one is asked for. Behind a record that a
        program has reserved and not yet submitted, nothing is read.
        """
        position = self._consumer[0]
        while position != self._producer[0]:
            _order_memory()
            start = position % self._size
            header = self._lengths[start // 4]
            if header & _BUSY:
                return
            _order_memory()
            length = header & ~_DISCARDED
            if not header & _DISCARDED:
                data = mmap.PAGESIZE + start + _HEADER_SIZE
                yield self._producer_pages[data : data + length]
            # Records begin at multiples of 8.
            position = (position + (_HEADER_SIZE + length + 7 & ~7)) & _POSITION_MASK
            _order_memory()
            self._consumer[0] = position

    def _release(self) -> None:
        for view in (self._consumer, self._producer, self._lengths):
            view.release()
        self._consumer_page.close()
        self._producer_pages.close()
        self._map.close()

    def __repr__(self) -> str:
        return f"<RingBuffer of {self._map!r}>"


def _order_memory() -> None:
    """Keep the processor from moving reads of shared memory across this point.

    The positions and lengths want load-acquire and store-release. Python has neither, but on
    processors that reorder loads, a lock's release followed by an acquisition keeps what is before
    from what is after.
    """
    if not _STRONGLY_ORDERED:
        for _ in range(2):
            _fence.acquire()
            _fence.release()
