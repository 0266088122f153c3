from __future__ import annotations

import struct

import pytest

from inet_lookup.bpf import Map, MapFlags, MapType, live_handles
from inet_lookup.errors import KernelError

pytestmark = pytest.mark.kernel


def make(value_size: int = 8, max_entries: int = 4, flags: MapFlags = MapFlags.MMAPABLE) -> Map:
    return Map.create(
        MapType.ARRAY,
        key_size=4,
        value_size=value_size,
        max_entries=max_entries,
        flags=flags,
        name="table",
    )


@pytest.mark.parametrize(("value_size", "stride"), [(1, 8), (4, 8), (8, 8), (12, 16), (1024, 1024)])
def test_memory_and_system_calls_see_the_same_elements(value_size: int, stride: int) -> None:
    with make(value_size, 1000) as array, array.mmap() as memory:
        assert memory.stride == stride
        assert len(memory.view) == stride * 1000
        value = bytes(range(1, value_size % 256 + 1)).ljust(value_size, b"\xee")
        memory.element(999)[:value_size] = value
        assert array.lookup(999) == value
        array.update(3, value)
        assert bytes(memory.element(3)[:value_size]) == value
        assert array.lookup(2) == bytes(value_size)


def test_whole_table_is_filled_at_once() -> None:
    with make(8, 10_000) as array, array.mmap() as memory:
        memory.view[:] = struct.pack("=10000Q", *range(10_000))
        assert array.lookup(9_999) == struct.pack("=Q", 9_999)


def test_index_outside_of_the_map_is_refused() -> None:
    with make() as array, array.mmap() as memory:
        for index in (-1, 4):
            with pytest.raises(IndexError, match=f"map 'table' has no element {index}"):
                memory.element(index)


def test_memory_stays_when_the_map_is_closed() -> None:
    with make() as array:
        memory = array.mmap()
    with memory:
        memory.view[0] = 1
        assert memory.view[0] == 1


def test_closing_is_refused_while_a_view_is_in_use() -> None:
    with make() as array:
        memory = array.mmap()
        element = memory.element(0)
        with pytest.raises(BufferError):
            memory.close()
        assert not memory.closed
        assert memory in live_handles()
        element[0] = 7
        element.release()
        assert memory.view[0] == 7
        memory.close()
        assert memory.closed
        memory.close()


def test_garbage_collector_warns_of_open_memory() -> None:
    with make() as array:
        owned = [array.mmap()]
        with pytest.warns(ResourceWarning, match="unclosed <MapMemory of 'table'>"):
            owned.clear()


def test_read_only_memory_cannot_be_written() -> None:
    with make() as array:
        array.update(0, 5)
        with array.mmap(writable=False) as memory:
            assert memory.view[0] == 5
            with pytest.raises(TypeError):
                memory.view[0] = 1


def test_frozen_map_is_mapped_for_reading_only() -> None:
    with make() as array:
        array.freeze()
        with pytest.raises(KernelError, match=r"EPERM: it is frozen.*writable=False"):
            array.mmap()
        array.mmap(writable=False).close()


def test_map_with_writable_memory_is_not_frozen() -> None:
    with make() as array:
        with array.mmap(), pytest.raises(KernelError, match=r"EBUSY: .*mapped into memory"):
            array.freeze()
        array.freeze()


def test_array_without_the_flag_is_refused() -> None:
    with (
        make(flags=MapFlags(0)) as array,
        pytest.raises(KernelError, match=r"map into memory.*'table'.*flag MMAPABLE"),
    ):
        array.mmap()


def test_other_types_are_refused() -> None:
    with (
        Map.create(MapType.HASH, key_size=4, value_size=8, max_entries=1) as table,
        pytest.raises(KernelError, match="flag MMAPABLE"),
    ):
        table.mmap()
