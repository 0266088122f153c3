from __future__ import annotations

import struct
import sys

import pytest

from inet_lookup.bpf import (
    Map,
    MapFlags,
    MapType,
    Program,
    ProgramType,
    UpdateMode,
    map_ids,
    possible_cpus,
)
from inet_lookup.errors import CapacityError, KernelError, UnsupportedError
from support.instructions import count_runs

pytestmark = pytest.mark.kernel

HASHES = (MapType.HASH, MapType.LRU_HASH)
ARRAYS = (MapType.ARRAY, MapType.PERCPU_ARRAY)


def u32(number: int) -> bytes:
    return number.to_bytes(4, sys.byteorder)


def u64(number: int) -> bytes:
    return number.to_bytes(8, sys.byteorder)


def make(
    type: MapType, key_size: int = 4, value_size: int = 8, max_entries: int = 4, **more: object
) -> Map:
    return Map.create(
        type,
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        **more,  # type: ignore[arg-type]
    )


def prefix(length: int, *octets: int) -> bytes:
    return u32(length) + bytes(octets)


def make_trie(max_entries: int = 4) -> Map:
    return make(MapType.LPM_TRIE, 8, 4, max_entries, flags=MapFlags.NO_PREALLOC)


class TestCreation:
    def test_info_is_what_was_asked_for(self) -> None:
        with make(MapType.HASH, 12, 20, 77, flags=MapFlags.NO_PREALLOC, name="bindings") as table:
            info = table.info()
            assert info.type == MapType.HASH
            assert (info.key_size, info.value_size, info.max_entries) == (12, 20, 77)
            assert info.flags == MapFlags.NO_PREALLOC
            assert info.name == "bindings"
            assert info.id == table.id > 0
            assert table.id in set(map_ids())
        assert table.id not in set(map_ids())

    def test_names_are_made_fit_for_the_kernel(self) -> None:
        with make(MapType.ARRAY, name="größer als fünfzehn Zeichen") as array:
            assert array.name == "gr__er_als_f_nf"

    def test_refused_sizes_are_named_with_what_the_type_takes(self) -> None:
        with pytest.raises(KernelError) as raised:
            make(MapType.ARRAY, key_size=8, name="bad")
        assert raised.value.errno_name == "EINVAL"
        assert "create map 'bad' (array): EINVAL" in raised.value.message
        assert "key_size=8 value_size=8 max_entries=4" in raised.value.message
        assert raised.value.hint == "an array has key_size 4 and at least one entry"

    def test_trie_without_its_flag_is_refused_with_a_hint(self) -> None:
        with pytest.raises(KernelError, match="needs the flag NO_PREALLOC"):
            make(MapType.LPM_TRIE, 8, 4)

    def test_too_large_a_map_is_a_matter_of_capacity(self) -> None:
        with pytest.raises(CapacityError, match=r"E2BIG|ENOMEM"):
            make(MapType.ARRAY, value_size=1 << 20, max_entries=0xFFFFFFFF)

    def test_type_of_a_future_kernel_is_refused(self) -> None:
        with pytest.raises(KernelError, match=r"create map 'x' \(unknown_4000\)"):
            make(MapType(4000), name="x")


class TestElements:
    @pytest.mark.parametrize("type", HASHES)
    def test_hash_entries_come_and_go(self, type: MapType) -> None:
        with make(type) as table:
            assert table.lookup(5) is None
            table.update(5, u64(50))
            assert table.lookup(5) == u64(50)
            table.update(5, 51)
            assert table.lookup(u32(5)) == u64(51)
            assert table.delete(5)
            assert not table.delete(5)
            assert table.lookup(5) is None

    def test_array_elements_begin_as_zero_and_cannot_be_removed(self) -> None:
        with make(MapType.ARRAY) as array:
            assert array.lookup(3) == u64(0)
            array.update(3, 9)
            assert array.lookup(3) == u64(9)
            with pytest.raises(KernelError, match="EINVAL: an array's elements cannot be removed"):
                array.delete(3)

    def test_modes_say_whether_a_key_must_exist(self) -> None:
        with make(MapType.HASH) as table:
            with pytest.raises(KernelError, match="ENOENT: the key does not exist"):
                table.update(1, 1, UpdateMode.EXIST)
            table.update(1, 1, UpdateMode.NOEXIST)
            with pytest.raises(KernelError, match="EEXIST: the key exists"):
                table.update(1, 2, UpdateMode.NOEXIST)
            table.update(1, 3, UpdateMode.EXIST)
            assert table.lookup(1) == u64(3)

    def test_full_hash_is_a_matter_of_capacity(self) -> None:
        with make(MapType.HASH, max_entries=2) as table:
            table.update(1, 1)
            table.update(2, 2)
            with pytest.raises(CapacityError) as raised:
                table.update(3, 3)
            assert "E2BIG: the map is full: it has room for 2 entries" in raised.value.message
            assert raised.value.hint is not None

    def test_full_trie_is_a_matter_of_capacity(self) -> None:
        with make_trie(1) as trie:
            trie.update(prefix(8, 10, 0, 0, 0), 1)
            with pytest.raises(CapacityError, match="ENOSPC: the map is full"):
                trie.update(prefix(8, 11, 0, 0, 0), 2)

    @pytest.mark.parametrize("type", ARRAYS)
    def test_index_outside_of_an_array_is_refused(self, type: MapType) -> None:
        with make(type) as array:
            assert array.lookup(4) is None
            with pytest.raises(CapacityError, match=r"outside of the map's 4 entries.*0 to 3"):
                array.update(4, bytes(array.user_value_size))

    def test_sizes_are_checked_before_the_kernel_reads_beyond_them(self) -> None:
        with make(MapType.HASH, name="t") as table:
            with pytest.raises(ValueError, match="a key of map 't' has 4 bytes, not 3"):
                table.lookup(b"abc")
            with pytest.raises(ValueError, match="a value of map 't' has 8 bytes, not 4"):
                table.update(1, b"abcd")
            with pytest.raises(ValueError, match="-1 does not fit in the 4 bytes of a key"):
                table.delete(-1)
        with (
            make(MapType.HASH, 12) as table,
            pytest.raises(ValueError, match="an int does not fit"),
        ):
            table.lookup(1)

    def test_walk_returns_every_entry(self) -> None:
        with make(MapType.HASH, max_entries=100) as table:
            wanted = {u32(number): u64(number * 3) for number in range(100)}
            for key, value in wanted.items():
                table.update(key, value)
            assert set(table.keys()) == set(wanted)
            assert dict(table.items()) == wanted

    def test_walk_goes_on_when_the_key_it_returned_is_deleted(self) -> None:
        with make(MapType.HASH, max_entries=50) as table:
            for number in range(50):
                table.update(number, number)
            seen = []
            for key in table.keys():  # noqa: SIM118
                seen.append(key)
                table.delete(key)
            assert len(seen) == len(set(seen)) == 50
            assert list(table.keys()) == []

    def test_frozen_map_takes_no_more_writes(self) -> None:
        with make(MapType.ARRAY) as array:
            array.update(0, 1)
            array.freeze()
            with pytest.raises(KernelError, match="EPERM: the map is read-only for user space"):
                array.update(0, 2)
            with pytest.raises(KernelError, match="EPERM: it is frozen already"):
                array.freeze()
            assert array.lookup(0) == u64(1)

    def test_write_only_map_cannot_be_read(self) -> None:
        with (
            make(MapType.HASH, flags=MapFlags.WRONLY) as table,
            pytest.raises(KernelError, match="EPERM: the map is write-only for user space"),
        ):
            table.lookup(0)


class TestLongestPrefix:
    def test_longest_covering_prefix_answers(self) -> None:
        with make_trie() as trie:
            trie.update(prefix(8, 10, 0, 0, 0), 8)
            trie.update(prefix(24, 10, 1, 2, 0), 24)
            assert trie.lookup(prefix(32, 10, 1, 2, 3)) == u32(24)
            assert trie.lookup(prefix(32, 10, 1, 3, 3)) == u32(8)
            assert trie.lookup(prefix(32, 11, 1, 3, 3)) is None
            assert set(trie.keys()) == {prefix(8, 10, 0, 0, 0), prefix(24, 10, 1, 2, 0)}

    def test_prefix_longer_than_the_key_is_refused(self) -> None:
        with (
            make_trie() as trie,
            pytest.raises(KernelError, match="EINVAL: the prefix length is more than the 32 bits"),
        ):
            trie.update(prefix(33, 10, 0, 0, 0), 1)


class TestPerCpu:
    @pytest.mark.parametrize("type", [MapType.PERCPU_ARRAY, MapType.PERCPU_HASH])
    @pytest.mark.parametrize("size", [4, 8, 12])
    def test_every_cpu_has_its_own_value(self, type: MapType, size: int) -> None:
        with make(type, value_size=size) as counters:
            values = [bytes([cpu + 1] * size) for cpu in range(possible_cpus())]
            counters.update_percpu(2, values)
            assert counters.lookup_percpu(2) == values
            raw = counters.lookup(2)
            assert raw is not None
            assert len(raw) == counters.user_value_size == (size + 7) // 8 * 8 * possible_cpus()

    def test_missing_key_has_no_values(self) -> None:
        with make(MapType.PERCPU_HASH) as counters:
            assert counters.lookup_percpu(1) is None

    def test_number_of_values_is_checked(self) -> None:
        with (
            make(MapType.PERCPU_ARRAY) as counters,
            pytest.raises(ValueError, match=f"{possible_cpus() + 1} values for {possible_cpus()}"),
        ):
            counters.update_percpu(0, [u64(0)] * (possible_cpus() + 1))

    def test_other_maps_have_one_value_for_all(self) -> None:
        with (
            make(MapType.ARRAY) as array,
            pytest.raises(ValueError, match="one value for all CPUs"),
        ):
            array.lookup_percpu(0)

    def test_program_counts_on_the_cpu_it_runs_on(self) -> None:
        with (
            make(MapType.PERCPU_ARRAY, max_entries=1) as counters,
            Program.load(ProgramType.SOCKET_FILTER, count_runs(counters)) as program,
        ):
            program.test_run(data=bytes(64), repeat=100)
            values = counters.lookup_percpu(0)
            assert values is not None
            assert sum(int.from_bytes(value, sys.byteorder) for value in values) == 100


class TestMapsOfMaps:
    @pytest.mark.parametrize("type", [MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS])
    def test_slot_holds_a_map_and_answers_with_its_id(self, type: MapType) -> None:
        with (
            make(MapType.HASH) as first,
            make(MapType.HASH) as second,
            make(type, value_size=4, inner=first) as outer,
        ):
            outer.update(1, first)
            assert outer.lookup(1) == u32(first.id)
            outer.update(1, second.fd)
            assert outer.lookup(1) == u32(second.id)
            assert outer.delete(1)
            assert outer.lookup(1) is None
            assert outer.lookup(0) is None

    def test_inner_map_of_another_shape_is_refused(self) -> None:
        with (
            make(MapType.ARRAY, max_entries=1) as template,
            make(MapType.ARRAY, max_entries=2) as larger,
            make(MapType.ARRAY_OF_MAPS, value_size=4, inner=template) as outer,
            pytest.raises(KernelError, match=r"EINVAL: the inner map differs .* needs INNER_MAP"),
        ):
            outer.update(0, larger)

    def test_inner_array_of_another_size_is_taken_with_the_flag(self) -> None:
        with (
            make(MapType.ARRAY, max_entries=1, flags=MapFlags.INNER_MAP) as template,
            make(MapType.ARRAY, max_entries=2, flags=MapFlags.INNER_MAP) as larger,
            make(MapType.ARRAY_OF_MAPS, value_size=4, inner=template) as outer,
        ):
            outer.update(0, larger)
            assert outer.lookup(0) == u32(larger.id)

    def test_inner_map_is_needed_at_creation(self) -> None:
        with pytest.raises(KernelError, match="a map of maps needs an inner map"):
            make(MapType.ARRAY_OF_MAPS, value_size=4)

    def test_number_that_is_no_descriptor_is_refused(self) -> None:
        with (
            make(MapType.ARRAY) as template,
            make(MapType.ARRAY_OF_MAPS, value_size=4, inner=template) as outer,
            pytest.raises(KernelError, match="EBADF: the value is not an open file descriptor"),
        ):
            outer.update(0, 987654)


def test_operation_that_a_type_lacks_is_unsupported() -> None:
    with (
        make(MapType.RINGBUF, key_size=0, value_size=0, max_entries=65536) as ring,
        pytest.raises(UnsupportedError, match=r"walk map .*ENOTSUPP: the kernel cannot do this"),
    ):
        list(ring.keys())


def test_unpacked_values_have_the_machines_byte_order() -> None:
    with make(MapType.ARRAY) as array:
        array.update(0, 0x0102030405060708)
        assert array.lookup(0) == struct.pack("=Q", 0x0102030405060708)
