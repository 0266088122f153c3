"""Generations: one compiled ruleset in the kernel, immutable, replaced by the next as a whole."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING

from ..bpf.handle import Resource
from ..rules import Family
from . import objects
from .layout import FIRST_RULE_COUNTER, MAX_SERVICES, SLOTS_PER_SERVICE
from .prefix_search import halves, masks

if TYPE_CHECKING:
    from ..bpf import Map, MapType, Program
    from .tables import Tables

OWN_MAPS = (
    "shape",
    "lengths",
    "high_masks",
    "low_masks",
    "prefixes",
    "nodes",
    "parents",
    "intervals",
    "sources",
    "interfaces",
    "actions",
)
"""The maps of a generation, made anew for each."""

SHARED_MAPS = ("services", "sockets", "counters")
"""The maps that live as long as the dispatcher."""


class Generation(Resource):
    """A generation's maps and program, open in this process.

    :ivar program: the dispatcher, loaded with these maps.
    :ivar maps: the maps of :data:`OWN_MAPS` by name.
    """

    def __init__(self, program: Program, maps: dict[str, Map], owned: ExitStack) -> None:
        super().__init__()
        self.program = program
        self.maps = maps
        self._owned = owned

    def _release(self) -> None:
        self._owned.close()

    def __repr__(self) -> str:
        return f"<Generation program={self.program!r}{' closed' if self.closed else ''}>"


def make_shared(rule_counters: int) -> dict[str, Map]:
    """Make the maps that all generations of a dispatcher share.

    :param rule_counters: how many rules shall be counted.
    :return: the maps of :data:`SHARED_MAPS`; the caller's to close.
    """
    from ..bpf import Map, MapType

    with ExitStack() as stack:
        made = {
            name: stack.enter_context(
                Map.create(type_, key_size=4, value_size=8, max_entries=size, name=name)
            )
            for name, type_, size in (
                ("services", MapType.ARRAY, MAX_SERVICES),
                ("sockets", MapType.SOCKMAP, MAX_SERVICES * SLOTS_PER_SERVICE),
            )
        }
        made["counters"] = stack.enter_context(make_counters(rule_counters))
        stack.pop_all()
    return made


def make_counters(rule_counters: int) -> Map:
    """Make the map of counters for all services and this many rules."""
    from ..bpf import Map, MapType

    return Map.create(
        MapType.PERCPU_ARRAY,
        key_size=4,
        value_size=8,
        max_entries=FIRST_RULE_COUNTER + rule_counters,
        name="counters",
    )


def load(
    tables: Tables,
    actions: Sequence[int],
    shared: Mapping[str, Map],
    ifindexes: Mapping[str, int],
) -> Generation:
    """Put a compiled ruleset into the kernel, without attaching it.

    :param actions: the words of the rules' actions, as ``tables.action_words`` gives them.
    :param shared: the maps of :data:`SHARED_MAPS`.
    :param ifindexes: the index of each interface that rules name; rules of an interface that is
        missing here match nothing.
    :raises KernelError: the kernel refuses a map or the program.
    """
    with ExitStack() as stack:
        maps = {
            name: stack.enter_context(made) for name, made in _own_maps(tables, actions, ifindexes)
        }
        loaded = stack.enter_context(
            objects.read("dispatcher").load(maps={**maps, **shared}, programs=["dispatcher"])
        )
        return Generation(loaded.programs["dispatcher"], maps, stack.pop_all())


def _own_maps(
    tables: Tables, actions: Sequence[int], ifindexes: Mapping[str, int]
) -> Iterator[tuple[str, Map]]:
    v4, v6 = (tables.searches[family] for family in Family)
    yield (
        "shape",
        _array("shape", [len(v4.lengths), len(v6.lengths), v4.root, v6.root], 4),
    )
    padded = [*v4.lengths, *([0] * (256 - len(v4.lengths))), *v6.lengths]
    yield "lengths", _array("lengths", padded, 512)
    high, low = masks()
    yield "high_masks", _array("high_masks", high, 256)
    yield "low_masks", _array("low_masks", low, 256)
    prefixes = [
        (v6_bit << 8 | length, *halves(search.family, address), node)
        for v6_bit, search in enumerate((v4, v6))
        for (length, address), node in search.entries.items()
    ]
    yield "prefixes", _hash("prefixes", 24, prefixes)
    yield "nodes", _array("nodes", tables.nodes)
    yield "parents", _array("parents", tables.parents)
    yield "intervals", _array("intervals", tables.intervals)
    yield "sources", _trie(tables)
    by_index = [
        (number, 0 if interface is None else ifindexes[interface], rule)
        for number, interface, rule in tables.interfaces
        if interface is None or interface in ifindexes
    ]
    yield "interfaces", _hash("interfaces", 16, by_index)
    yield "actions", _array("actions", actions)


def _array(name: str, values: Sequence[int], size: int = 0) -> Map:
    from ..bpf import MapType

    keys = struct.pack(f"={len(values)}I", *range(len(values)))
    return _filled(name, MapType.ARRAY, 4, keys, _packed(values), size=size)


def _hash(name: str, key_size: int, rows: Sequence[tuple[int, ...]]) -> Map:
    """Make a hash map; the last number of each row is the value, those before it the key."""
    from ..bpf import MapType

    keys = _packed(chain.from_iterable(row[:-1] for row in rows))
    return _filled(name, MapType.HASH, key_size, keys, _packed(row[-1] for row in rows))


def _trie(tables: Tables) -> Map:
    from ..bpf import MapType

    keys = b"".join(
        struct.pack("=III", 64 + prefix.length, group, 4 if prefix.family is Family.IPV4 else 6)
        + prefix.address.to_bytes(prefix.family.bits // 8, "big").ljust(16, b"\0")
        for group, prefix, _ in tables.sources
    )
    values = _packed(value for _, _, value in tables.sources)
    return _filled("sources", MapType.LPM_TRIE, 28, keys, values)


def _filled(
    name: str, type_: MapType, key_size: int, keys: bytes, values: bytes, *, size: int = 0
) -> Map:
    """Make a map of values of 8 bytes and write its entries.

    :param size: how many entries it has at least; a map has one in any case.
    """
    from ..bpf import Map, MapFlags, MapType

    with ExitStack() as on_failure:
        made = on_failure.enter_context(
            Map.create(
                type_,
                key_size=key_size,
                value_size=8,
                max_entries=max(size, len(values) // 8, 1),
                # The kernel takes tries with this flag alone.
                flags=MapFlags.NO_PREALLOC if type_ is MapType.LPM_TRIE else MapFlags(0),
                name=name,
            )
        )
        if values:
            made.update_batch(keys, values)
        on_failure.pop_all()
    return made


def _packed(numbers: Iterable[int]) -> bytes:
    listed = list(numbers)
    return struct.pack(f"={len(listed)}Q", *listed)
