"""Many map entries in one system call (``BPF_MAP_*_BATCH``, Linux 5.6), or one by one without it.

Which map types have batch calls differs between kernels. A kernel without them for a map does the
same work one entry at a time, so that callers need not know.
"""

from __future__ import annotations

import errno
from ctypes import addressof
from typing import TYPE_CHECKING, Final

from . import attr
from .failures import failure
from .kernel_version import running_kernel
from .syscall import bpf
from .uapi import ENOTSUPP, Command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .maps import Map

_SINCE: Final = (5, 6)
_TOKEN_SIZE: Final = 4  # a hash map's position is a u32, other types' is a key


def lookup_batch(source: Map, chunk: int) -> Iterator[tuple[bytes, bytes]]:
    """See :meth:`inet_lookup.bpf.maps.Map.lookup_batch`."""
    if chunk < 1:
        raise ValueError(f"a chunk of {chunk} entries")
    key_size, value_size = source.key_size, source.user_value_size
    position = attr.buffer(max(key_size, _TOKEN_SIZE))
    following = attr.buffer(max(key_size, _TOKEN_SIZE))
    started = False
    finished = False
    while not finished:
        keys = attr.buffer(chunk * key_size)
        values = attr.buffer(chunk * value_size)
        request = attr.MapBatch(
            in_batch=addressof(position) if started else 0,
            out_batch=addressof(following),
            keys=addressof(keys),
            values=addressof(values),
            count=chunk,
            map_fd=source.fd,
        )
        try:
            bpf(Command.MAP_LOOKUP_BATCH, request)
        except OSError as error:
            if error.errno == errno.EINTR:
                continue  # entries went away meanwhile: read the chunk again
            if error.errno == errno.ENOSPC:
                chunk *= 2  # a hash map's bucket holds more than fits
                continue
            if error.errno != errno.ENOENT:
                if not started and _unavailable(error):
                    yield from source.items()
                    return
                raise failure(error, source.operation("read")) from error
            finished = True
        all_keys, all_values = bytes(keys), bytes(values)
        for number in range(request.count):
            yield (
                all_keys[number * key_size : (number + 1) * key_size],
                all_values[number * value_size : (number + 1) * value_size],
            )
        position, following = following, position
        started = True


def read_array(source: Map) -> bytes:
    """All values of a map whose keys are indexes, one after the other, without their keys.

    A per-CPU array has several values an index: one for each possible CPU, each padded to 8 bytes.
    """
    size = source.user_value_size
    values = attr.buffer(source.max_entries * size)
    keys = attr.buffer(source.max_entries * source.key_size)
    following = attr.buffer(_TOKEN_SIZE)
    request = attr.MapBatch(
        out_batch=addressof(following),
        keys=addressof(keys),
        values=addressof(values),
        count=source.max_entries,
        map_fd=source.fd,
    )
    try:
        bpf(Command.MAP_LOOKUP_BATCH, request)
    except OSError as error:
        if _unavailable(error):
            return b"".join(value for _, value in source.items())
        if error.errno != errno.ENOENT:  # the end of the map
            raise failure(error, source.operation("read")) from error
    return bytes(values)


def update_batch(target: Map, keys: bytes, values: bytes) -> None:
    """See :meth:`inet_lookup.bpf.maps.Map.update_batch`."""
    key_size, value_size = target.key_size, target.user_value_size
    total = _count(target, keys)
    if len(values) != total * value_size:
        raise ValueError(
            f"{total} keys need {total * value_size} bytes of values, not {len(values)}"
        )
    if not total:
        return
    request = attr.MapBatch(
        keys=attr.address(keys), values=attr.address(values), count=total, map_fd=target.fd
    )
    try:
        bpf(Command.MAP_UPDATE_BATCH, request)
    except OSError as error:
        if _unavailable(error):
            for number in range(total):
                target.update(
                    keys[number * key_size : (number + 1) * key_size],
                    values[number * value_size : (number + 1) * value_size],
                )
            return
        done = min(request.count, total - 1)
        raise failure(
            error,
            f"{target.operation('write to')}, entry {done + 1} of {total} (those before are there)",
            meanings=target.update_meanings(
                keys[done * key_size : (done + 1) * key_size],
                values[done * value_size : (done + 1) * value_size],
            ),
        ) from error


def delete_batch(target: Map, keys: bytes) -> int:
    """See :meth:`inet_lookup.bpf.maps.Map.delete_batch`."""
    key_size = target.key_size
    total = _count(target, keys)
    at = removed = 0
    while at < total:
        request = attr.MapBatch(
            keys=attr.address(keys) + at * key_size, count=total - at, map_fd=target.fd
        )
        try:
            bpf(Command.MAP_DELETE_BATCH, request)
        except OSError as error:
            if error.errno == errno.ENOENT:
                # It stops at a key that does not exist: go on behind it.
                removed += request.count
                at += request.count + 1
                continue
            if _unavailable(error):
                return removed + sum(
                    target.delete(keys[start : start + key_size])
                    for start in range(at * key_size, total * key_size, key_size)
                )
            raise failure(error, target.operation("delete from")) from error
        removed += request.count
        at += request.count
    return removed


def _count(target: Map, keys: bytes) -> int:
    count, rest = divmod(len(keys), target.key_size)
    if rest:
        raise ValueError(
            f"{len(keys)} bytes of keys are not a multiple of the key size, {target.key_size}"
        )
    return count


def _unavailable(error: OSError) -> bool:
    """Whether the kernel has no batch call, or none for this type of map."""
    if error.errno == errno.EINVAL:
        return running_kernel() < _SINCE
    return error.errno == ENOTSUPP
