from __future__ import annotations

import os
import select

import pytest

from inet_lookup.bpf import Handle, Map, MapType, live_handles
from inet_lookup.errors import KernelError

pytestmark = pytest.mark.kernel


def make_map() -> Map:
    return Map.create(MapType.ARRAY, key_size=4, value_size=4, max_entries=1, name="owned")


def is_open(fd: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{fd}")


def test_with_block_closes_the_descriptor() -> None:
    with make_map() as array:
        fd = array.fd
        assert is_open(fd)
    assert array.closed
    assert not is_open(fd)


def test_with_block_closes_the_descriptor_when_it_is_left_by_an_error() -> None:
    with pytest.raises(ZeroDivisionError), make_map() as array:
        1 / 0  # noqa: B018
    assert array.closed


def test_closing_twice_does_not_close_the_number_of_another_file() -> None:
    array = make_map()
    fd = array.fd
    array.close()
    other = os.open(os.devnull, os.O_RDONLY)
    if other != fd:
        os.dup2(other, fd)
        os.close(other)
    array.close()
    assert is_open(fd)
    os.close(fd)


def test_descriptor_of_a_closed_object_is_not_handed_out() -> None:
    array = make_map()
    array.close()
    with pytest.raises(ValueError, match="the map is closed"):
        _ = array.fd
    with pytest.raises(ValueError, match="the map is closed"):
        array.lookup(0)


def test_garbage_collector_warns_of_an_open_object_and_closes_it() -> None:
    owned = [make_map()]
    fd = owned[0].fd
    with pytest.warns(ResourceWarning, match="unclosed <Map 'owned' array"):
        owned.clear()
    assert not is_open(fd)


def test_live_handles_lists_what_is_open() -> None:
    before = len(live_handles())
    with make_map() as array, array.dup() as twin:
        assert len(live_handles()) == before + 2
        assert array in live_handles()
        assert twin in live_handles()
    assert len(live_handles()) == before


def test_descriptors_do_not_leak_into_started_programs() -> None:
    with make_map() as array, array.dup() as twin:
        assert not os.get_inheritable(array.fd)
        assert not os.get_inheritable(twin.fd)


def test_duplicate_outlives_the_original() -> None:
    with make_map() as array:
        array.update(0, 7)
        twin = array.dup()
    with twin:
        assert twin.lookup(0) == (7).to_bytes(4, "little")


def test_descriptor_of_another_kind_is_refused_and_closed() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    with pytest.raises(KernelError, match=r"EINVAL: it is of another kind: pipe:.*, not a map"):
        Map.from_fd(reader)
    assert not is_open(reader)


def test_number_that_is_no_descriptor_is_refused() -> None:
    with pytest.raises(KernelError, match="EBADF"):
        Map.from_fd(987654)


def test_id_of_no_object_is_refused() -> None:
    with pytest.raises(
        KernelError, match=r"open map 4294967294: ENOENT: there is no map with"
    ) as raised:
        Map.from_id(0xFFFFFFFE)
    assert raised.value.errno_name == "ENOENT"


def test_object_is_found_by_its_id() -> None:
    with make_map() as array, Map.from_id(array.id) as twin:
        array.update(0, 3)
        assert twin.lookup(0) == array.lookup(0)
        assert twin.info() == array.info()


def test_handle_can_be_polled() -> None:
    with make_map() as array:
        poll = select.poll()
        poll.register(array)
        assert isinstance(array, Handle)
