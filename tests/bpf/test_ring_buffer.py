from __future__ import annotations

import mmap
import select
import struct

import pytest

from inet_lookup.bpf import Map, MapType, Program, ProgramType, RingBuffer
from inet_lookup.errors import KernelError
from support.instructions import emit_records

pytestmark = pytest.mark.kernel

SIZE = mmap.PAGESIZE


def make(size: int = SIZE) -> Map:
    return Map.create(MapType.RINGBUF, key_size=0, value_size=0, max_entries=size, name="events")


def emitter(ring: Map, *records: bytes) -> Program:
    return Program.load(ProgramType.SOCKET_FILTER, emit_records(ring, *records), name="emit")


def number(value: int) -> bytes:
    return struct.pack("=Q", value)


def test_records_are_read_once_and_in_order() -> None:
    with (
        make() as ring,
        emitter(ring, number(1), number(2), number(3)) as program,
        RingBuffer(ring) as reader,
    ):
        assert list(reader.read()) == []
        program.test_run(data=bytes(64))
        assert list(reader.read()) == [number(1), number(2), number(3)]
        assert list(reader.read()) == []


def test_records_wrap_around_the_end_of_the_buffer() -> None:
    with make() as ring, emitter(ring, number(5)) as program, RingBuffer(ring) as reader:
        for _ in range(5):
            program.test_run(data=bytes(64), repeat=100)  # 1,600 bytes with their headers
            assert list(reader.read()) == [number(5)] * 100


def test_full_buffer_keeps_what_it_has() -> None:
    with make() as ring, emitter(ring, number(5)) as program, RingBuffer(ring) as reader:
        program.test_run(data=bytes(64), repeat=10_000)
        kept = len(list(reader.read()))
        assert SIZE // 16 - 1 <= kept <= SIZE // 16
        program.test_run(data=bytes(64))
        assert list(reader.read()) == [number(5)]


def test_reader_that_stops_midway_gets_the_rest_later() -> None:
    with (
        make() as ring,
        emitter(ring, number(1), number(2), number(3)) as program,
        RingBuffer(ring) as reader,
    ):
        program.test_run(data=bytes(64))
        records = reader.read()
        assert next(records) == number(1)
        assert next(records) == number(2)
        records.close()
        assert list(reader.read()) == [number(2), number(3)]


def test_waiting_ends_when_a_record_comes() -> None:
    with make() as ring, emitter(ring, number(9)) as program, RingBuffer(ring) as reader:
        assert not reader.wait(0)
        program.test_run(data=bytes(64))
        assert reader.wait(5)
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        assert poll.poll(0)
        assert list(reader.read()) == [number(9)]
        assert not reader.wait(0)


def test_reader_goes_on_when_the_map_is_closed() -> None:
    with make() as ring:
        program = emitter(ring, number(4))
        reader = RingBuffer(ring)
    with program, reader:
        program.test_run(data=bytes(64))
        assert list(reader.read()) == [number(4)]
    with pytest.raises(ValueError, match="the map is closed"):
        reader.fileno()


def test_garbage_collector_warns_of_an_open_reader() -> None:
    with make() as ring:
        owned = [RingBuffer(ring)]
        with pytest.warns(ResourceWarning, match="unclosed <RingBuffer of <Map 'events' ringbuf"):
            owned.clear()


def test_size_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(KernelError, match="a power of two and a multiple of the page size"):
        make(3 * SIZE)


def test_other_maps_are_refused() -> None:
    with (
        Map.create(MapType.ARRAY, key_size=4, value_size=4, max_entries=1) as array,
        pytest.raises(KernelError, match="EINVAL: it is not a ring buffer"),
    ):
        RingBuffer(array)
