"""The maps that a program refers to, and their symbols in the object."""

from __future__ import annotations

from collections.abc import Iterable

from ..maps import ProgramMap
from .debug_info import DebugInfo
from .source import FunctionSource


class MapTable:
    """Names each map once, after the variable that holds it.

    :param reserved: the object's other symbols.
    :ivar sources: the functions whose surroundings are searched for that variable; inlined
        functions add theirs.
    """

    def __init__(self, reserved: Iterable[str]) -> None:
        self.sources: list[FunctionSource] = []
        self._reserved = frozenset(reserved)
        self._maps: dict[int, tuple[str, ProgramMap]] = {}

    def name(self, table: ProgramMap) -> str:
        """Return a map's name, the same at every call."""
        known = self._maps.get(id(table))
        if known is not None:
            return known[0]
        name = self._variable(table)
        taken = self._reserved.union(other for other, _ in self._maps.values())
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name}_{number}", number + 1
        self._maps[id(table)] = (unique, table)
        return unique

    def symbol(self, table: ProgramMap) -> str:
        """Return a map's symbol in LLVM IR."""
        return f"@{self.name(table)}"

    def by_name(self) -> dict[str, ProgramMap]:
        """Return all maps by their names."""
        return dict(self._maps.values())

    def text(self, debug_info: DebugInfo) -> str:
        """Return the definitions of the maps as LLVM IR, as libbpf reads them from ``.maps``."""
        lines = []
        for name, table in self._maps.values():
            attributes = [
                ("type", int(table.type)),
                ("key_size", table.key_size),
                ("value_size", table.value_size),
                ("max_entries", table.max_entries),
            ]
            if table.no_prealloc:
                attributes.append(("map_flags", 1))
            node = debug_info.map_definition(name, 1, attributes)
            size = 8 * len(attributes)
            lines.append(
                f"@{name} = dso_local global [{size} x i8] zeroinitializer, "
                f'section ".maps", align 8, !dbg !{node}'
            )
        return "\n".join(lines) + "\n"

    def _variable(self, table: ProgramMap) -> str:
        for source in self.sources:
            name = source.name_of(table)
            if name is not None and name.isascii():
                return name
        return type(table).__name__.lower()
