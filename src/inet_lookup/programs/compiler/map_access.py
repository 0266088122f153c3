"""Operations on maps inside a program, by calls of the kernel's helpers.

Each operation gives what the method of the same name gives in plain Python; where that would be an
exception (an index out of range, a missing key, a full map), the operation is refused, and the
message names the one that cannot fail.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..maps import Array, Counters, Hash, LpmTrie, ProgramMap, SockArray
from ..maps.keys import PART_SIZE
from ..verdict import PASS
from . import arithmetic
from .context_access import ContextReader
from .flow import Flow, as_int, as_verdict, int_constant, join
from .ir import FunctionBuilder
from .refusal import Refused
from .values import (
    U64,
    AddressValue,
    Bool,
    Constant,
    ContextValue,
    Int,
    Interval,
    Maybe,
    TupleValue,
    Value,
    VerdictValue,
)

if TYPE_CHECKING:
    from .map_table import MapTable

_MAP_LOOKUP_ELEM = 1
_MAP_UPDATE_ELEM = 2
_MAP_DELETE_ELEM = 3
_SK_RELEASE = 86
_SK_ASSIGN = 124

_F_REPLACE = 1
_F_NO_REUSEPORT = 2
_BPF_ANY = 0
_BPF_NOEXIST = 1


@dataclass(slots=True)
class MapCall:
    """What an operation on a map needs: where instructions go, and on which path."""

    builder: FunctionBuilder
    reader: ContextReader
    maps: MapTable
    flow: Flow

    def emit(self, instruction: str) -> None:
        """Append an instruction to the path."""
        self.builder.emit(self.flow.block, instruction)

    def value(self, instruction: str) -> str:
        """Append an instruction to the path and return its result."""
        return self.builder.value(self.flow.block, instruction)

    def helper(self, number: int, type_: str, *arguments: str) -> str:
        """Call a helper of the kernel by its number."""
        listed = ", ".join(arguments)
        return self.value(f"call {type_} inttoptr (i64 {number} to ptr)({listed})")

    def split(self, condition: str, then: str, otherwise: str) -> tuple[Flow, Flow]:
        """End the path with a branch on an ``i1``."""
        yes, no = self.builder.new_block(then), self.builder.new_block(otherwise)
        self.builder.branch(self.flow.block, condition, yes, no)
        return self.flow.fork(yes), self.flow.fork(no)

    def along(self, flow: Flow) -> MapCall:
        """Return the same on another path."""
        return MapCall(self.builder, self.reader, self.maps, flow)

    def rejoin(self, *outcomes: tuple[Flow, Value]) -> Value:
        """Bring paths together; the path goes on behind them with the value that each brings."""
        joined = join(
            self.builder, [flow for flow, _ in outcomes], [[value] for _, value in outcomes]
        )
        assert joined is not None
        after, (value,) = joined
        self.flow.block = after.block
        self.flow.variables = after.variables
        self.flow.facts = after.facts
        self.flow.loads = after.loads
        return value

    def integer(self, value: Value, what: str) -> Int:
        """Return a value as an integer that 64 bits hold."""
        number = as_int(self.builder, self.flow, value)
        if number is None:
            raise Refused(f"{what} is not an integer", "use an integer here")
        return arithmetic.fitting(self.flow, number, what)


def get_item(call: MapCall, table: ProgramMap, index: Value) -> Value:
    """Compile ``table[index]``."""
    name = call.maps.name(table)
    if isinstance(table, Array):
        number = _in_range(call, table, index, f"use {name}.get(index, default)")
        return _load(call, _pointer(call, table, _index_key(call, number)), default=0)
    if isinstance(table, Counters):
        raise Refused(
            f"a program sees one processor's part of {name!r} alone",
            "read counters from Python, or use an Array",
        )
    if isinstance(table, Hash):
        raise Refused(
            f"{name}[key] raises KeyError in Python where the key is missing",
            f"use {name}.get(key) or {name}.get(key, default)",
        )
    if isinstance(table, LpmTrie):
        raise Refused(
            f"{name}[network] is for Python: it finds just that network",
            f"use {name}.get(address) or {name}.get(address, default)",
        )
    raise Refused(f"a socket cannot be read from {name!r}", f"use {name}.redirect(ctx, index)")


def set_item(call: MapCall, table: ProgramMap, index: Value, value: Value) -> None:
    """Compile ``table[index] = value``."""
    name = call.maps.name(table)
    if isinstance(table, Array):
        number = _in_range(call, table, index, f"test it first: if index < {table.max_entries}")
        stored = call.integer(value, "the value that is stored")
        pointer = _pointer(call, table, _index_key(call, number))
        there, missing = call.split(call.value(f"icmp ne ptr {pointer}, null"), "store", "none")
        call.along(there).emit(f"store i64 {stored.ref}, ptr {pointer}, align 8")
        call.rejoin((there, Constant(None)), (missing, Constant(None)))
        return
    if isinstance(table, Hash):
        raise Refused(
            f"{name}[key] = value raises an exception in Python where the map is full",
            f"use {name}.put(key, value), which says whether it did",
        )
    raise Refused(f"a program cannot assign to an element of {name!r}", "assign to it from Python")


def contains(call: MapCall, table: ProgramMap, key: Value) -> Bool:
    """Compile ``key in table``."""
    if isinstance(table, Hash | LpmTrie):
        pointer = _pointer(call, table, _key(call, table, key))
        return Bool(call.builder.is_set(call.flow.block, pointer))
    raise Refused(f"'in' does not work on {call.maps.name(table)!r}", "use .get(index)")


def call_method(
    call: MapCall,
    table: ProgramMap,
    method: str,
    arguments: list[Value],
    keywords: dict[str, Value],
) -> Value:
    """Compile ``table.method(...)``."""
    for cls, methods in _METHODS.items():
        if isinstance(table, cls):
            if method not in methods:
                raise Refused(
                    f"{call.maps.name(table)}.{method}() is not for programs",
                    f"a program may call {', '.join(f'{m}()' for m in sorted(methods))}",
                )
            function, parameters, required = methods[method]
            bound = _bind(f"{call.maps.name(table)}.{method}()", arguments, keywords, parameters)
            for name in parameters[:required]:
                if name not in bound:
                    raise Refused(f"{call.maps.name(table)}.{method}() needs {name!r}", "pass it")
            return function(call, table, bound)
    raise Refused(
        f"a {type(table).__name__} cannot be used in a program",
        "use an Array, Counters, Hash, LpmTrie or SockArray",
    )


def _listed(parameters: tuple[str, ...]) -> str:
    return ", ".join(f"{name[1:]}=" if name.startswith("*") else name for name in parameters)


def _bind(
    what: str, arguments: list[Value], keywords: dict[str, Value], parameters: tuple[str, ...]
) -> dict[str, Value]:
    positional = [name for name in parameters if not name.startswith("*")]
    if len(arguments) > len(positional):
        raise Refused(
            f"{what} takes {len(positional)} positional arguments, not {len(arguments)}",
            f"it takes {_listed(parameters)}",
        )
    bound = dict(zip(positional, arguments, strict=False))
    allowed = {name.lstrip("*") for name in parameters}
    for name, value in keywords.items():
        if name not in allowed:
            raise Refused(f"{what} has no argument {name!r}", f"it takes {_listed(parameters)}")
        if name in bound:
            raise Refused(f"{what} gets {name!r} twice", "pass it once")
        bound[name] = value
    return bound


# --- methods ----------------------------------------------------------------------------------


def _redirect(call: MapCall, table: ProgramMap, bound: dict[str, Value]) -> Value:
    otherwise = bound.get("otherwise", Constant(PASS))
    verdict = as_verdict(otherwise)
    if verdict is None:
        raise Refused("otherwise= is not a verdict", "use PASS or DROP")
    error = _select(call, table, bound)
    if isinstance(otherwise, Constant) and otherwise.value is PASS:
        return otherwise
    selected = call.value(f"icmp eq i64 {error.ref}, 0")
    return VerdictValue(call.value(f"select i1 {selected}, i32 {int(PASS)}, i32 {verdict}"))


def _select(call: MapCall, table: ProgramMap, bound: dict[str, Value]) -> Int:
    name = call.maps.name(table)
    if not isinstance(bound["ctx"], ContextValue):
        raise Refused("the first argument is not the context", f"write {name}.redirect(ctx, index)")
    reuseport = bound.get("reuseport", Constant(True))
    if not isinstance(reuseport, Constant) or not isinstance(reuseport.value, bool):
        raise Refused("reuseport= is not known when the program is compiled", "write True or False")
    number = call.integer(bound["index"], "the index")
    if isinstance(bound["index"], Constant) and 0 < table.max_entries <= number.interval.lo:
        raise Refused(
            f"index {number.ref} is out of range: {name!r} has {table.max_entries} slots",
            f"use 0 to {table.max_entries - 1}, or declare it with a larger max_entries",
        )

    flags = _F_REPLACE if reuseport.value else _F_REPLACE | _F_NO_REUSEPORT
    missing = int_constant(errno.ENOENT)
    outcomes: list[tuple[Flow, Value]] = []
    if number.interval.hi >= 2**32:
        # The key is 32 bits wide: a larger index must miss, not wrap around to a slot.
        inside, outside = call.split(
            call.value(f"icmp ult i64 {number.ref}, {2**32}"), "slot", "no"
        )
        outcomes.append((outside, missing))
        call.flow.block = inside.block
    socket = _pointer(call, table, _index_key(call, number))
    found, empty = call.split(call.value(f"icmp ne ptr {socket}, null"), "socket", "empty")
    outcomes.append((empty, missing))
    hit = call.along(found)
    error = hit.helper(_SK_ASSIGN, "i64", "ptr %ctx", f"ptr {socket}", f"i64 {flags}")
    hit.helper(_SK_RELEASE, "i64", f"ptr {socket}")
    positive = hit.value(f"sub i64 0, {error}")
    outcomes.append((found, Int(positive, _ERRNO)))
    value = call.rejoin(*outcomes)
    assert isinstance(value, Int)
    return value


def _array_get(call: MapCall, table: ProgramMap, bound: dict[str, Value]) -> Value:
    number = call.integer(bound["index"], "the index")
    if number.interval.hi < table.max_entries:
        return _load(call, _pointer(call, table, _index_key(call, number)), default=0)
    inside, outside = _inside(call, table, number)
    here = call.along(inside)
    found = _load_or(here, _pointer(here, table, _index_key(here, number)), bound)
    return call.rejoin((inside, found), (outside, _default(call, bound)))


def _array_add(call: MapCall, table: ProgramMap, bound: dict[str, Value]) -> Value:
    hint = f"use {call.maps.name(table)}.try_add(index), or test it first"
    number = _in_range(call, table, bound["index"], hint)
    amount = call.integer(bound.get("amount", Constant(1)), "the amount")
    pointer = _pointer(call, table, _index_key(call, number))
    _add_at(call, pointer, amount)
    return Constant(None)


def _array_try_add(call: MapCall, table: ProgramMap, bound: dict[str, Value]) -> Value:
    number = call.integer(bound["index"], "the index")
    amount = call.integer(bound.get("amount", Constant(1)), "the amount")
    inside, outside = _inside(call, table, number)
    here = call.along(inside)
    added = _add_at(here, _pointer(here, table, _index_key(here, number)), amount)
    return call.rejoin((inside, added), (outside, Constant(False)))


def _inside(call: MapCall, table: ProgramMap, index: Int) -> tuple[Flow, Flow]:
    """Split by whether an index is in range; where the size is open, the kernel's look-up tells."""
    limit = table.max_entries or 2**32
    return call.split(call.value(f"icmp ult i64 {index.ref}, {limit}"), "inside", "outside")


def _hash_get(call: MapCall, table: ProgramMap, bound: dict[str, Value]) -> Value:
    pointer = _pointer(call, table, _key(call, table, bound["key"]))
    return _load_or(call, pointer, bound)


def _hash_put(call: MapCall, table: ProgramMap, bound: dict[str, Value]) -> Value:
    key = _key(call, table, bound["key"])
    value = call.integer(bound["value"], "the value that is stored")
    failed = _update(call, table, key, value, _BPF_ANY)
    return Bool(call.value(f"icmp eq i64 {failed}, 0"))


def _hash_add(call: MapCall, table: ProgramMap, bound: dict[str, Value]) -> Value:
    key = _key(call, table, bound["key"])
    amount = call.integer(bound.get("amount", Constant(1)), "the amount")
    pointer = _pointer(call, table, key)
    there, missing = call.split(call.value(f"icmp ne ptr {pointer}, null"), "there", "missing")
    _atomic_add(call.along(there), pointer, amount)

    new = call.along(missing)
    failed = _update(new, table, key, amount, _BPF_NOEXIST)
    made, lost = new.split(new.value(f"icmp eq i64 {failed}, 0"), "made", "lost")
    # Another processor may have made the entry since the look-up: then there is one to add to.
    again = call.along(lost)
    second = _pointer(again, table, key)
    raced, full = again.split(again.value(f"icmp ne ptr {second}, null"), "raced", "full")
    _atomic_add(call.along(raced), second, amount)
    return call.rejoin(
        (there, Constant(True)),
        (made, Constant(True)),
        (raced, Constant(True)),
        (full, Constant(False)),
    )


def _hash_remove(call: MapCall, table: ProgramMap, bound: dict[str, Value]) -> Value:
    key = _key(call, table, bound["key"])
    failed = call.helper(_MAP_DELETE_ELEM, "i64", f"ptr {call.maps.symbol(table)}", f"ptr {key}")
    return Bool(call.value(f"icmp eq i64 {failed}, 0"))


def _trie_get(call: MapCall, table: ProgramMap, bound: dict[str, Value]) -> Value:
    pointer = _pointer(call, table, _key(call, table, bound["address"]))
    return _load_or(call, pointer, bound)


def _trie_add(call: MapCall, table: ProgramMap, bound: dict[str, Value]) -> Value:
    pointer = _pointer(call, table, _key(call, table, bound["address"]))
    amount = call.integer(bound.get("amount", Constant(1)), "the amount")
    return _add_at(call, pointer, amount)


_Method = Callable[[MapCall, ProgramMap, dict[str, Value]], Value]

_ERRNO = Interval(0, 4095)

# Each class's methods: how to compile it, its parameters (a star marks those that must be named),
# and how many of them it cannot do without.
_METHODS: dict[type[ProgramMap], dict[str, tuple[_Method, tuple[str, ...], int]]] = {
    SockArray: {
        "redirect": (_redirect, ("ctx", "index", "*otherwise", "*reuseport"), 2),
        "select": (_select, ("ctx", "index", "*reuseport"), 2),
    },
    Array: {
        "get": (_array_get, ("index", "default"), 1),
        "add": (_array_add, ("index", "amount"), 1),
        "try_add": (_array_try_add, ("index", "amount"), 1),
    },
    Counters: {
        "add": (_array_add, ("index", "amount"), 1),
        "try_add": (_array_try_add, ("index", "amount"), 1),
    },
    Hash: {
        "get": (_hash_get, ("key", "default"), 1),
        "put": (_hash_put, ("key", "value"), 2),
        "add": (_hash_add, ("key", "amount"), 1),
        "remove": (_hash_remove, ("key",), 1),
    },
    LpmTrie: {
        "get": (_trie_get, ("address", "default"), 1),
        "add": (_trie_add, ("address", "amount"), 1),
    },
}


# --- keys and values --------------------------------------------------------------------------


def _in_range(call: MapCall, table: ProgramMap, index: Value, hint: str) -> Int:
    number = call.integer(index, "the index")
    if table.max_entries == 0:
        raise Refused(
            f"{call.maps.name(table)!r} has no size yet, so any index may be out of it", hint
        )
    if number.interval.lo >= table.max_entries:
        raise Refused(
            f"index {number.interval.lo} is out of range: "
            f"{call.maps.name(table)!r} has {table.max_entries} entries",
            f"use 0 to {table.max_entries - 1}, or declare it with a larger max_entries",
        )
    if number.interval.hi >= table.max_entries:
        raise Refused(
            f"the index may be up to {number.interval.hi}, where Python raises IndexError: "
            f"{call.maps.name(table)!r} has {table.max_entries} entries",
            hint,
        )
    return number


def _index_key(call: MapCall, index: Int) -> str:
    slot = call.builder.stack_slot("key", 4)
    narrow = call.value(f"trunc i64 {index.ref} to i32")
    call.emit(f"store i32 {narrow}, ptr {slot}, align 4")
    return slot


def _key(call: MapCall, table: ProgramMap, key: Value) -> str:
    if isinstance(table, LpmTrie):
        return _trie_key(call, table, key)
    assert isinstance(table, Hash)
    spec = table.key_spec
    items = _parts(key, spec.single)
    if len(items) != len(spec.parts):
        raise Refused(
            f"a key of {call.maps.name(table)!r} has {len(spec.parts)} parts, not {len(items)}",
            f"write ({', '.join(spec.parts)})",
        )
    numbers = [
        call.integer(item, "a part of the key") if kind == "int" else None
        for kind, item in zip(spec.parts, items, strict=True)
    ]
    slot = call.builder.stack_slot("key", spec.size)
    offset = 0
    for kind, item, number in zip(spec.parts, items, numbers, strict=True):
        if number is not None:
            call.emit(f"store i64 {number.ref}, ptr {_at(call, slot, offset)}, align 8")
        else:
            _store_address(call, slot, offset, _address(item), version_bits=64)
        offset += PART_SIZE[kind]
    return slot


def _trie_key(call: MapCall, table: LpmTrie, key: Value) -> str:
    items = _parts(key, not table.scoped)
    if len(items) != 1 + table.scoped:
        raise Refused(
            f"a key of {call.maps.name(table)!r} is {'a number and ' * table.scoped}an address",
            "write (number, ctx.local_ip)" if table.scoped else "write ctx.local_ip",
        )
    scope = call.integer(items[0], "the first part of the key") if table.scoped else None
    if scope is not None and scope.interval.hi >= 2**32:
        raise Refused("the first part of the key may exceed 32 bits", "keep it: x & 0xFFFF_FFFF")
    slot = call.builder.stack_slot("key", table.key_size)
    call.emit(f"store i32 {8 * (table.key_size - 4)}, ptr {slot}, align 4")
    offset = 4
    if scope is not None:
        narrow = call.value(f"trunc i64 {scope.ref} to i32")
        call.emit(f"store i32 {narrow}, ptr {_at(call, slot, offset)}, align 4")
        offset += 4
    _store_address(call, slot, offset, _address(items[-1]), version_bits=32)
    return slot


def _parts(key: Value, single: bool) -> list[Value]:
    if single:
        return [key]
    match key:
        case TupleValue(items):
            return list(items)
        case Constant(value=tuple() as items):
            return [Constant(item) for item in items]
    raise Refused("the key must be a tuple", "write (ctx.local_ip, ctx.local_port)")


def _address(value: Value) -> AddressValue:
    if not isinstance(value, AddressValue):
        raise Refused("this must be an address of the packet", "use ctx.local_ip or ctx.remote_ip")
    return value


def _store_address(
    call: MapCall, slot: str, offset: int, address: AddressValue, *, version_bits: int
) -> None:
    """Store an address without a branch: the words of the family that it is not of read as 0."""
    flow, reader = call.flow, call.reader
    version = reader.version(flow)
    size = version_bits // 8
    tag = version.ref
    if version_bits == 32:
        tag = call.value(f"trunc i64 {tag} to i32")
    call.emit(f"store i{version_bits} {tag}, ptr {_at(call, slot, offset)}, align {min(size, 8)}")
    for word in range(4):
        ref = reader.field(flow, f"{address.side}_ip6", word).ref
        if word == 0:
            ref = call.value(f"or i64 {ref}, {reader.field(flow, f'{address.side}_ip4').ref}")
        narrow = call.value(f"trunc i64 {ref} to i32")
        place = _at(call, slot, offset + size + 4 * word)
        call.emit(f"store i32 {narrow}, ptr {place}, align 4")


def _at(call: MapCall, slot: str, offset: int) -> str:
    return call.value(f"getelementptr inbounds i8, ptr {slot}, i64 {offset}")


def _pointer(call: MapCall, table: ProgramMap, key: str) -> str:
    return call.helper(_MAP_LOOKUP_ELEM, "ptr", f"ptr {call.maps.symbol(table)}", f"ptr {key}")


def _load(call: MapCall, pointer: str, *, default: int) -> Int:
    """Return the value behind a pointer that is null only in the verifier's eyes."""
    there, missing = call.split(call.value(f"icmp ne ptr {pointer}, null"), "load", "none")
    ref = call.along(there).value(f"load i64, ptr {pointer}, align 8")
    value = call.rejoin((there, Int(ref, U64)), (missing, Constant(default)))
    assert isinstance(value, Int)
    return value


def _load_or(call: MapCall, pointer: str, bound: dict[str, Value]) -> Value:
    there, missing = call.split(call.value(f"icmp ne ptr {pointer}, null"), "hit", "miss")
    ref = call.along(there).value(f"load i64, ptr {pointer}, align 8")
    value = call.rejoin((there, Int(ref, U64)), (missing, _default(call, bound)))
    if isinstance(value, Maybe):
        return Maybe(call.builder.hidden(call.flow.block, value.present), value.ref, value.interval)
    return value


def _default(call: MapCall, bound: dict[str, Value]) -> Value:
    default = bound.get("default", Constant(None))
    if isinstance(default, Constant) and default.value is None:
        return default
    if isinstance(default, Maybe):
        return default
    return call.integer(default, "the default")


def _update(call: MapCall, table: ProgramMap, key: str, value: Int, mode: int) -> str:
    slot = call.builder.stack_slot("value", 8)
    call.emit(f"store i64 {value.ref}, ptr {slot}, align 8")
    return call.helper(
        _MAP_UPDATE_ELEM,
        "i64",
        f"ptr {call.maps.symbol(table)}",
        f"ptr {key}",
        f"ptr {slot}",
        f"i64 {mode}",
    )


def _add_at(call: MapCall, pointer: str, amount: Int) -> Value:
    there, missing = call.split(call.value(f"icmp ne ptr {pointer}, null"), "add", "none")
    _atomic_add(call.along(there), pointer, amount)
    added = call.rejoin((there, Constant(True)), (missing, Constant(False)))
    assert isinstance(added, Bool)
    return Bool(call.builder.hidden(call.flow.block, added.ref))


def _atomic_add(call: MapCall, pointer: str, amount: Int) -> None:
    call.value(f"atomicrmw add ptr {pointer}, i64 {amount.ref} monotonic, align 8")
