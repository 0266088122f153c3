from __future__ import annotations

import struct

import pytest

from inet_lookup.bpf import Map, MapFlags, MapType, map_batches, possible_cpus
from inet_lookup.errors import CapacityError, KernelError

pytestmark = pytest.mark.kernel

COUNT = 1000
BATCHED = (MapType.HASH, MapType.ARRAY, MapType.PERCPU_HASH, MapType.PERCPU_ARRAY)


def make(type: MapType, max_entries: int = COUNT, value_size: int = 8) -> Map:
    return Map.create(
        type, key_size=4, value_size=value_size, max_entries=max_entries, name="table"
    )


def keys_of(count: int) -> bytes:
    return struct.pack(f"={count}I", *range(count))


def values_of(table: Map, count: int) -> list[bytes]:
    copies = possible_cpus() if table.user_value_size != table.value_size else 1
    return [struct.pack("=Q", number * 7) * copies for number in range(count)]


@pytest.fixture(params=["batch calls", "one by one"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the kernel's batch calls, and as on a kernel that has none."""
    if request.param == "one by one":

        def without(command: object, attr: object) -> int:
            raise OSError(524, "as kernels say that they lack it")

        monkeypatch.setattr(map_batches, "bpf", without)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("type", BATCHED)
@pytest.mark.parametrize("chunk", [1, 7, COUNT, 2 * COUNT])
def test_everything_written_is_read_back(type: MapType, chunk: int) -> None:
    with make(type) as table:
        values = values_of(table, COUNT)
        table.update_batch(keys_of(COUNT), b"".join(values))
        found = dict(table.lookup_batch(chunk))
        assert found == {struct.pack("=I", n): value for n, value in enumerate(values)}


@pytest.mark.usefixtures("way")
def test_trie_is_written_and_read() -> None:
    with Map.create(
        MapType.LPM_TRIE,
        key_size=8,
        value_size=4,
        max_entries=COUNT,
        flags=MapFlags.NO_PREALLOC,
        name="table",
    ) as trie:
        wanted = {
            struct.pack("=I", 24) + bytes([10, number >> 8, number & 255, 0]): struct.pack(
                "=I", number
            )
            for number in range(COUNT)
        }
        trie.update_batch(b"".join(wanted), b"".join(wanted.values()))
        assert dict(trie.lookup_batch(64)) == wanted


@pytest.mark.usefixtures("way")
def test_deleting_passes_over_what_does_not_exist() -> None:
    with make(MapType.HASH) as table:
        table.update_batch(keys_of(10), b"".join(values_of(table, 10)))
        assert table.delete_batch(struct.pack("=6I", 77, 3, 78, 4, 5, 79)) == 3
        assert {struct.unpack("=I", key)[0] for key in table.keys()} == {0, 1, 2, 6, 7, 8, 9}  # noqa: SIM118
        assert table.delete_batch(b"") == 0


@pytest.mark.usefixtures("way")
def test_empty_map_has_nothing_to_read() -> None:
    with make(MapType.HASH) as table:
        table.update_batch(b"", b"")
        assert list(table.lookup_batch()) == []


def test_map_that_fills_up_on_the_way_says_where() -> None:
    with make(MapType.HASH, max_entries=5) as table:
        with pytest.raises(
            CapacityError, match=r"entry 6 of 8 \(those before are there\): E2BIG: .*full"
        ):
            table.update_batch(keys_of(8), b"".join(values_of(table, 8)))
        assert len(list(table.keys())) == 5


@pytest.mark.usefixtures("way")
def test_deleting_from_an_array_is_refused() -> None:
    with make(MapType.ARRAY) as table, pytest.raises(KernelError, match="cannot be removed"):
        table.delete_batch(keys_of(1))


def test_lengths_that_do_not_fit_are_refused() -> None:
    with make(MapType.HASH) as table:
        with pytest.raises(
            ValueError, match="3 bytes of keys are not a multiple of the key size, 4"
        ):
            table.update_batch(b"abc", b"")
        with pytest.raises(ValueError, match="2 keys need 16 bytes of values, not 8"):
            table.update_batch(keys_of(2), bytes(8))
        with pytest.raises(ValueError, match="a chunk of 0 entries"):
            list(table.lookup_batch(0))
