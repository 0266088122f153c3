"""Random programs as source text, for comparing the kernel with Python on what nobody thought of.

The same seed gives the same program. Expressions are made by kind and with an upper bound, so that
most programs compile; what the compiler refuses all the same is left out of the comparison.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

HEADER = """\
from __future__ import annotations

import enum
import socket
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from inet_lookup import (
    AF_INET, AF_INET6, DROP, IPPROTO_TCP, IPPROTO_UDP, PASS, Address, Array, Context, Counters,
    Hash, LpmTrie, NetworkSet, SockArray, Verdict, htonl, htons, inline, ntohl, ntohs, program,
)

servers = SockArray(8)
numbers = Array(16)
hits = Counters(8)
ports = Hash(16)
flows = Hash(12, key=(Address, int))
pairs = Hash(16, key=(int, int))
tenants = LpmTrie(16)
scoped = LpmTrie(16, key=(int, Address))

for index in range(16):
    numbers[index] = index * 0x0123_4567_89AB
for key in (80, 443, 7, 0xFFFF_FFFF_FFFF_FFFF):
    ports[key] = key >> 3
tenants["0.0.0.0/0"] = 1
tenants["192.0.2.64/26"] = 6
tenants["2001:db8::/32"] = 0
tenants["2001:db8:0:1::/64"] = 2**64 - 1
scoped[1, "192.0.2.0/24"] = 3
scoped[2, "::/0"] = 5

SETS = (
    NetworkSet("192.0.2.0/25", "198.51.100.64/26", "2001:db8:1::/48", "::/96"),
    NetworkSet("0.0.0.0/0"),
    NetworkSet("::/0", "255.255.255.255/32"),
    NetworkSet(),
    NetworkSet("::ffff:0:0/96", "10.0.0.0/9", "10.128.0.0/10", "fe80::/10"),
)
OFFICES, ALL_V4, ALL_V6, NOWHERE, MAPPED = SETS
FRIENDS = frozenset({ip_address("192.0.2.1"), ip_address("2001:db8::1"), ip_address("::1")})
WEB = (80, 443, 8080)
SPARSE = frozenset({0, 1, 22, 53, 80, 443, 999, 5432, 30001, 65535, 2**32, 2**64 - 1})
MIXED = frozenset({True, 7, 8, 53, 443})


class Colour(enum.IntEnum):
    RED = 1
    GREEN = 80
    BLUE = 65535


class Route(NamedTuple):
    port: int
    slot: int


@dataclass(frozen=True)
class Limits:
    low: int = 1024
    high: int = 49151


ROUTE = Route(443, 3)
LIMITS = Limits()

"""

U64 = 2**64 - 1
NETWORKS = (
    "192.0.2.0/24",
    "192.0.2.64/26",
    "10.0.0.0/9",
    "0.0.0.0/0",
    "255.255.255.255/32",
    "0.0.0.0/32",
    "2001:db8::/32",
    "2001:db8:0:1::/64",
    "2001:db8:8000::/33",
    "::/0",
    "::/127",
    "::1/128",
    "::ffff:0:0/96",
    "fe80::/10",
)
ADDRESSES = ("192.0.2.1", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::", "::ffff:192.0.2.1")
# Some hide what the module or Python has under the same name.
NAMES = ("a", "b", "c", "x", "y", "total", "slot", "input", "id", "LIMIT", "list", "index", "_")
CAPS = (1, 7, 0xFF, 0xFFFF, 0xFFFF_FFFF, 2**40, 2**63, U64)


@dataclass
class Scope:
    """The local variables of a function at one place, by name: kind, and bound of an integer."""

    variables: dict[str, tuple[str, int]] = field(default_factory=dict)
    context: str | None = "ctx"
    in_loop: bool = False
    returns: str = "verdict"
    cap: int = 0

    def of(self, kind: str) -> list[str]:
        return [name for name, (found, _) in self.variables.items() if found == kind]

    def fork(self, **changes: Any) -> Scope:
        return Scope(
            **{
                "variables": dict(self.variables),
                "context": self.context,
                "in_loop": self.in_loop,
                "returns": self.returns,
                "cap": self.cap,
                **changes,
            }
        )


@dataclass(frozen=True)
class Inline:
    """A function that may be called: its parameters' bounds, and what it gives."""

    name: str
    parameters: tuple[int, ...]
    defaults: int
    context: bool
    returns: str
    cap: int


class Generator:
    """Writes one module with a program ``f``."""

    def __init__(self, seed: int | str) -> None:
        self.rng = random.Random(seed)
        self.lines: list[str] = []
        self.inlines: list[Inline] = []
        self.scope = Scope()
        # Names of closures, which must not be assigned to.
        self.frozen: set[str] = set()
        self.budget = 0

    # --- choices ------------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def pick(self, *choices: Any) -> Any:
        return self.rng.choice(choices)

    def any_of(self, *makers: Callable[[], Any]) -> Any:
        return self.rng.choice(makers)()

    # --- the module ---------------------------------------------------------------------------

    def module(self) -> str:
        for number in range(self.rng.randrange(4)):
            self.inline_function(number)
        if self.chance(0.2):
            self.write(0, f"def make(low, net=ip_network({self.pick(*NETWORKS)!r})):")
            closure = {"low": ("int", 100)}
            self.function(1, "f", Scope(variables={}), outer=closure)
            self.write(1, "return f")
            self.write(0, f"f = make({self.rng.randrange(100)})")
        else:
            self.function(0, "f", Scope())
        return HEADER + "\n".join(self.lines) + "\n"

    def write(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def function(
        self, depth: int, name: str, scope: Scope, outer: dict[str, tuple[str, int]] | None = None
    ) -> None:
        self.scope = scope
        scope.variables.update(outer or {})
        self.frozen = set(outer or {})
        self.write(depth, "@program")
        self.write(depth, f"def {name}(ctx: Context) -> Verdict:")
        self.budget = self.rng.randrange(4, 26)
        self.block(depth + 1, self.rng.randrange(2, 9))
        self.write(depth + 1, f"return {self.verdict(2)}")
        self.write(0, "")

    def inline_function(self, number: int) -> None:
        parameters = tuple(self.pick(*CAPS[:5]) for _ in range(self.rng.randrange(4)))
        defaults = self.rng.randrange(len(parameters) + 1)
        returns = self.pick("int", "int", "bool", "maybe", "verdict", "pair")
        found = Inline(
            f"helper{number}", parameters, defaults, self.chance(0.5), returns, self.pick(*CAPS)
        )
        names = [f"p{position}" for position in range(len(parameters))]
        written = ["ctx"] * found.context
        for position, (name, cap) in enumerate(zip(names, parameters, strict=True)):
            default = f"={min(cap, 5)}" if position >= len(parameters) - defaults else ""
            written.append(name + default)
        self.scope = Scope(
            variables={n: ("int", c) for n, c in zip(names, parameters, strict=True)},
            context="ctx" if found.context else None,
            returns=returns,
            cap=found.cap,
        )
        self.frozen = set()
        self.write(0, "@inline")
        self.write(0, f"def {found.name}({', '.join(written)}):")
        self.budget = self.rng.randrange(1, 7)
        self.block(1, self.rng.randrange(3))
        self.write(1, f"return {self.returned()}")
        self.write(0, "")
        self.inlines.append(found)

    def returned(self) -> str:
        scope = self.scope
        match scope.returns:
            case "int":
                return self.int_within(2, scope.cap)
            case "bool":
                return self.boolean(2)
            case "maybe":
                return "None" if self.chance(0.4) else self.maybe(2)
            case "pair":
                return f"({self.int_within(1, 0xFFFF)}, {self.int_within(1, 0xFFFF)})"
        return self.verdict(2)

    # --- statements ---------------------------------------------------------------------------

    def block(self, depth: int, count: int) -> None:
        before = len(self.lines)
        for _ in range(count):
            if self.budget <= 0:
                break
            self.budget -= 1
            self.statement(depth)
        if len(self.lines) == before:
            self.write(depth, "pass")

    def nested(self, depth: int, scope: Scope, count: int | None = None) -> None:
        """Write a block in a scope of its own; seldom, what it assigns is used behind it."""
        outer, self.scope = self.scope, scope
        self.block(depth, self.rng.randrange(1, 4) if count is None else count)
        if self.chance(0.12):
            self.write(depth, f"return {self.returned()}")
        self.scope = outer
        if self.chance(0.03):
            for name, variable in scope.variables.items():
                outer.variables.setdefault(name, variable)

    def statement(self, depth: int) -> None:
        makers: list[Callable[[int], None]] = [
            self.assignment,
            self.assignment,
            self.assignment,
            self.augmented,
            self.unpacking,
            self.branch,
            self.branch,
            self.map_statement,
            self.map_statement,
            self.unless_none,
        ]
        if depth < 4:
            makers += [self.matching, self.matching, self.loop]
        if self.scope.in_loop:
            makers.append(self.leave)
        self.rng.choice(makers)(depth)

    def fresh(self) -> str:
        names = [name for name in NAMES if name not in self.frozen]
        return self.rng.choice(names)

    def assign(self, kind: str, cap: int = 0) -> str:
        """Return a name to assign to; a variable keeps its kind and bound on all paths, mostly."""
        known = [
            name
            for name, (found, limit) in self.scope.variables.items()
            if found == kind and limit >= cap and name not in self.frozen
        ]
        if known and self.chance(0.5):
            return self.rng.choice(known)
        free = [name for name in NAMES if name not in self.scope.variables]
        return self.rng.choice(free) if free and not self.chance(0.03) else self.fresh()

    def assigned(self, name: str, kind: str, cap: int = 0) -> None:
        known = self.scope.variables.get(name)
        if known is None or known[0] != kind or known[1] < cap:
            self.scope.variables[name] = (kind, cap)

    def assignment(self, depth: int) -> None:
        match self.pick("int", "int", "int", "int", "bool", "verdict", "maybe", "pair", "socket"):
            case "socket" if self.scope.context:
                name = self.assign("socket")
                self.write(depth, f"{name} = {self.scope.context}.sk")
                self.assigned(name, "socket")
            case "socket" | "int":
                text, cap = self.integer(3)
                if cap > U64:
                    text, cap = f"({text}) & {U64:#x}", U64
                name = self.assign("int", cap)
                annotation = ": int" if self.chance(0.05) else ""
                if self.chance(0.05) and not annotation:
                    other = self.assign("int", cap)
                    self.write(depth, f"{name} = {other} = {text}")
                    self.assigned(other, "int", cap)
                else:
                    self.write(depth, f"{name}{annotation} = {text}")
                self.assigned(name, "int", cap)
            case "bool":
                name, text = self.assign("bool"), self.boolean(3)
                self.write(depth, f"{name} = {text}")
                self.assigned(name, "bool")
            case "verdict":
                text = self.verdict(2)
                name = self.assign("verdict")
                self.write(depth, f"{name} = {text}")
                self.assigned(name, "verdict")
            case "maybe":
                text = self.maybe(2)
                name = self.assign("maybe")
                self.write(depth, f"{name} = {text}")
                self.assigned(name, "maybe")
            case "pair":
                text = self.pair(2)
                name = self.assign("pair")
                self.write(depth, f"{name} = {text}")
                self.assigned(name, "pair")

    def augmented(self, depth: int) -> None:
        names = [n for n in self.scope.of("int") if n not in self.frozen]
        if not names:
            return self.assignment(depth)
        name = self.rng.choice(names)
        cap = self.scope.variables[name][1]
        choice = self.rng.randrange(5)
        if choice == 0:
            self.write(depth, f"{name} &= {self.integer(2)[0]}")
        elif choice == 1:
            self.write(depth, f"{name} >>= {self.int_within(1, 7)}")
        elif choice == 2:
            self.write(depth, f"{name} //= {self.rng.randrange(1, 9)}")
        elif choice == 3:
            self.write(depth, f"{name} %= {self.positive(1)}")
        else:
            operator = self.pick("+", "-", "*", "^", "|", "<<")
            right = self.int_within(1, 31 if operator == "<<" else 0xFFFF)
            self.write(depth, f"{name} {operator}= {right}")
            self.write(depth, f"{name} &= {_mask(cap):#x}")
        return None

    def unpacking(self, depth: int) -> None:
        first, second = self.assign("int", 0xFFFF), self.assign("int", 0xFFFF)
        if first == second and self.chance(0.9):
            return self.assignment(depth)
        pairs = self.scope.of("int")
        if self.chance(0.4) and len(pairs) >= 2:
            left, right = self.rng.sample(pairs, 2)
            if not {left, right} & self.frozen:
                caps = [self.scope.variables[name][1] for name in (left, right)]
                self.write(depth, f"{left}, {right} = {right}, {left}")
                for name in (left, right):
                    self.assigned(name, "int", max(caps))
                return None
        self.write(depth, f"{first}, {second} = {self.pair(2)}")
        self.assigned(first, "int", 0xFFFF)
        self.assigned(second, "int", 0xFFFF)
        return None

    def branch(self, depth: int) -> None:
        self.write(depth, f"if {self.boolean(3)}:")
        self.nested(depth + 1, self.scope.fork())
        while self.chance(0.3):
            self.write(depth, f"elif {self.boolean(2)}:")
            self.nested(depth + 1, self.scope.fork())
        if self.chance(0.5):
            self.write(depth, "else:")
            self.nested(depth + 1, self.scope.fork())

    def unless_none(self, depth: int) -> None:
        name = self.assign("maybe")
        self.write(depth, f"{name} = {self.maybe(2)}")
        self.assigned(name, "maybe")
        inner = self.scope.fork()
        inner.variables[name] = ("int", U64)
        if self.chance(0.5):
            self.write(depth, f"if {name} is not None:")
            self.nested(depth + 1, inner)
        else:
            self.write(depth, f"if {name} is None:")
            self.nested(depth + 1, self.scope.fork())
            self.write(depth, "else:")
            self.nested(depth + 1, inner)

    def matching(self, depth: int) -> None:
        match self.pick("int", "int", "pair", "verdict", "bool", "maybe"):
            case "int":
                text, cap = self.integer(2)
                if cap > U64:
                    return self.matching(depth)
                self.write(depth, f"match {text}:")
                for _ in range(self.rng.randrange(1, 5)):
                    self.int_case(depth + 1, cap)
                self.wildcard(depth + 1)
            case "pair":
                self.write(depth, f"match {self.pair(2)}:")
                for _ in range(self.rng.randrange(1, 4)):
                    self.pair_case(depth + 1)
                self.wildcard(depth + 1)
            case "verdict":
                self.write(depth, f"match {self.verdict(2)}:")
                self.write(depth + 1, f"case Verdict.{self.pick('PASS', 'DROP')}:")
                self.nested(depth + 2, self.scope.fork())
                self.wildcard(depth + 1)
            case "bool":
                self.write(depth, f"match {self.boolean(2)}:")
                self.write(depth + 1, f"case {self.pick('True', 'False')}:")
                self.nested(depth + 2, self.scope.fork())
                self.wildcard(depth + 1)
            case "maybe":
                self.write(depth, f"match {self.maybe(2)}:")
                self.write(depth + 1, "case None:")
                self.nested(depth + 2, self.scope.fork())
                inner = self.scope.fork()
                name = self.assign("int", U64)
                inner.variables[name] = ("int", U64)
                self.write(depth + 1, f"case {name}:")
                self.nested(depth + 2, inner)
        return None

    def wildcard(self, depth: int) -> None:
        if self.chance(0.5):
            self.write(depth, "case _:")
            self.nested(depth + 1, self.scope.fork())

    def literal(self) -> str:
        return self.any_of(
            lambda: str(self.interesting(0xFFFF)),
            lambda: "Colour.GREEN",
            lambda: "ROUTE.port",
            lambda: "LIMITS.low",
            lambda: "-1",
            lambda: "socket.AF_INET",
        )

    def int_case(self, depth: int, cap: int) -> None:
        inner = self.scope.fork()
        pattern = " | ".join(self.literal() for _ in range(self.rng.randrange(1, 4)))
        guard = ""
        shape = self.rng.randrange(4)
        if shape == 0:
            name = self.assign("int", cap).replace("_", "z")
            inner.variables[name] = ("int", max(cap, 0xFFFF))
            pattern = f"{pattern} as {name}" if "|" not in pattern else f"({pattern}) as {name}"
        elif shape == 1:
            name = self.assign("int", cap)
            inner.variables[name] = ("int", max(cap, 0xFFFF))
            outer, self.scope = self.scope, inner
            pattern, guard = name, f" if {self.boolean(2)}"
            self.scope = outer
        elif shape == 2:
            guard = f" if {self.boolean(2)}"
        self.write(depth, f"case {pattern}{guard}:")
        self.nested(depth + 1, inner)

    def pair_case(self, depth: int) -> None:
        inner = self.scope.fork()
        parts = []
        used: set[str] = set()
        for _ in range(2):
            if self.chance(0.4):
                name = self.assign("int", 0xFFFF)
                if name != "_" and name in used:
                    name = "_"
                if name != "_":
                    used.add(name)
                    inner.variables[name] = ("int", 0xFFFF)
                parts.append(name)
            else:
                parts.append(self.literal())
        guard = ""
        if self.chance(0.3):
            outer, self.scope = self.scope, inner
            guard = f" if {self.boolean(2)}"
            self.scope = outer
        self.write(depth, f"case ({', '.join(parts)}){guard}:")
        self.nested(depth + 1, inner)

    def loop(self, depth: int) -> None:
        target = self.assign("int", 0xFFFF)
        inner = self.scope.fork(in_loop=True)
        values = ", ".join(self.int_within(1, 0xFFFF) for _ in range(self.rng.randrange(1, 4)))
        match self.rng.randrange(6):
            case 0:
                over = f"range({self.rng.randrange(5)})"
            case 1:
                over = f"range({self.rng.randrange(9)}, {self.rng.randrange(9)}, {self.pick(2, 3)})"
            case 2:
                over = f"({values},)"
            case 3:
                over = self.pick(
                    "WEB", "reversed(WEB)", "reversed(range(3))", "ROUTE", "(1, 2)[1:]"
                )
            case 4:
                second = self.assign("int", 0xFFFF)
                over = f"enumerate(({values},))"
                inner.variables[second] = ("int", 0xFFFF)
                target = f"{target}, {second}"
            case _:
                second = self.assign("int", 0xFFFF)
                over = f"zip(range(9, 0, -2), ({values},))"
                inner.variables[second] = ("int", 0xFFFF)
                target = f"{target}, {second}"
        inner.variables[target.split(",")[0]] = ("int", 0xFFFF)
        self.write(depth, f"for {target} in {over}:")
        self.nested(depth + 1, inner)
        if self.chance(0.3):
            self.write(depth, "else:")
            self.nested(depth + 1, self.scope.fork(in_loop=self.scope.in_loop))

    def leave(self, depth: int) -> None:
        self.write(depth, f"if {self.boolean(2)}:")
        self.write(depth + 1, self.pick("break", "continue"))

    def map_statement(self, depth: int) -> None:
        key = self.int_within(1, 0xFFFF)
        makers = [
            lambda: f"hits.add({self.int_within(1, 7)}, {self.int_within(1, U64)})",
            lambda: f"hits.add({self.int_within(1, 7)})",
            lambda: f"numbers.add({self.int_within(1, 15)}, amount={self.int_within(1, U64)})",
            lambda: f"numbers[{self.int_within(1, 15)}] = {self.int_within(2, U64)}",
            lambda: f"ports.put({key}, {self.int_within(1, U64)})",
            lambda: f"ports.add({self.int_within(1, 0xFF)}, {self.int_within(1, U64)})",
            lambda: f"pairs.put(({key}, {self.int_within(1, U64)}), {self.int_within(1, U64)})",
        ]
        if self.scope.context:
            makers += [
                lambda: f"flows.add(({self.address()}, {self.int_within(1, 7)}), {key})",
                lambda: f"tenants.add({self.address()}, {self.int_within(1, U64)})",
                lambda: f"scoped.add(({self.int_within(1, 3)}, {self.address()}), {key})",
                lambda: self.redirect(1),
            ]
        self.write(depth, self.any_of(*makers))

    # --- integers -----------------------------------------------------------------------------

    def interesting(self, cap: int) -> int:
        known = (0, 1, 2, 5, 7, 8, 15, 22, 53, 80, 81, 255, 256, 443, 1000, 1024, 8080, 65535)
        large = (65536, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1)
        choices = [n for n in (*known, *known, *large) if n <= cap]
        return self.rng.choice(choices) if self.chance(0.8) else self.rng.randrange(cap + 1)

    def leaf(self) -> tuple[str, int]:
        if self.scope.context and self.chance(0.5):
            ctx = self.scope.context
            side = self.pick("local", "remote")
            return self.pick(
                (f"{ctx}.local_port", 65535),
                (f"{ctx}.local_port", 65535),
                (f"ntohs({ctx}.remote_port)", 65535),
                (f"{ctx}.remote_port", 65535),
                (f"{ctx}.protocol", 255),
                (f"{ctx}.family", 10),
                (f"{ctx}.{side}_ip4", 2**32 - 1),
                (f"ntohl({ctx}.{side}_ip4)", 2**32 - 1),
                (f"{ctx}.{side}_ip6[{self.rng.randrange(4)}]", 2**32 - 1),
                (f"{ctx}.{side}_ip.version", 6),
                (f"{ctx}.ingress_ifindex", 2**31 - 1),
            )
        names = self.scope.of("int")
        if names and self.chance(0.7):
            name = self.rng.choice(names)
            return name, self.scope.variables[name][1]
        if self.chance(0.15):
            return self.pick(
                ("Colour.BLUE", 65535),
                ("ROUTE.port", 443),
                ("ROUTE[1]", 3),
                ("LIMITS.high", 49151),
                ("len(WEB)", 3),
                ("max(WEB)", 8080),
                ("WEB[-1]", 8080),
                ("sum((1, 2, 3))", 6),
                ("True", 1),
                ("AF_INET6", 10),
            )
        number = self.interesting(self.pick(7, 0xFFFF, 0xFFFF, U64))
        return str(number), number

    def integer(self, depth: int) -> tuple[str, int]:
        """Return an expression of an integer that is not negative, and its upper bound."""
        if depth <= 0 or self.chance(0.15):
            return self.leaf()
        makers: list[Callable[[int], tuple[str, int]]] = [
            self.arithmetic,
            self.arithmetic,
            self.arithmetic,
            self.wrapping,
            self.bits,
            self.division,
            self.shift,
            self.chosen,
            self.either,
            self.read,
            self.read,
            self.counted,
            self.called,
        ]
        text, cap = self.rng.choice(makers)(depth - 1)
        return (f"({text})", cap)

    def int_within(self, depth: int, cap: int) -> str:
        """Return an expression of an integer of 0 to ``cap``."""
        if self.chance(0.02):
            return self.integer(depth)[0]  # whether it fits is for the compiler to say
        if self.chance(0.15):
            return str(self.interesting(cap))
        text, found = self.integer(depth)
        if found <= cap:
            return text
        if cap & (cap + 1) == 0:
            return f"({text} & {cap:#x})"
        return f"({text} % {cap + 1})" if found <= U64 else f"(({text} & {U64:#x}) % {cap + 1})"

    def positive(self, depth: int) -> str:
        return self.any_of(
            lambda: str(self.rng.randrange(1, 1000)),
            lambda: f"({self.int_within(depth, 0xFFFF)} + 1)",
            lambda: f"({self.int_within(depth, 0xFFFF)} | 1)",
            lambda: f"max({self.int_within(depth, 0xFFFF)}, 1)",
        )

    def arithmetic(self, depth: int) -> tuple[str, int]:
        (a, x), (b, y) = self.integer(depth), self.integer(depth)
        match self.pick("+", "+", "*", "min", "max", "abs", "int", "+flag"):
            case "+":
                text, cap = f"{a} + {b}", x + y
            case "*":
                text, cap = f"{a} * {b}", x * y
            case "min" if x <= U64 and y <= U64:
                text, cap = f"min({a}, {b})", min(x, y)
            case "max" if x <= U64 and y <= U64:
                text, cap = f"max({a}, {b}, {self.rng.randrange(9)})", max(x, y, 9)
            case "abs" if x <= U64:
                text, cap = f"abs(+{a})", x
            case "int":
                text, cap = f"int({self.boolean(depth)})", 1
            case _:
                text, cap = f"{self.boolean(depth)} + {a}", x + 1
        if cap > U64 and self.chance(0.95):
            mask = self.pick(0xFFFF, 0xFFFF_FFFF, U64)
            return f"({text}) & {mask:#x}", mask
        return text, cap

    def wrapping(self, depth: int) -> tuple[str, int]:
        """What may be negative or too long on the way, and is masked in the end."""
        a, b, c = (self.integer(depth)[0] for _ in range(3))
        mask = self.pick(0xFF, 0xFFFF, 0xFFFF_FFFF, U64)
        form = self.pick(
            "({a} - {b})",
            "(-{a})",
            "(~{a} ^ {b})",
            "({a} * {b} - {c})",
            "(({a} - {b}) * ({c} - 7))",
            "(({a} - {b}) | ({c} - {a}))",
            "(~{a} & ~{b})",
            "(({a} - {b}) << 5)",
            "(-1 - {a} * 2**70 + {b})",
        )
        return f"{form.format(a=a, b=b, c=c)} & {mask:#x}", mask

    def bits(self, depth: int) -> tuple[str, int]:
        (a, x), (b, y) = self.integer(depth), self.integer(depth)
        operator = self.pick("&", "|", "^")
        if operator == "&":
            return f"{a} & {b}", min(x, y)
        return f"{a} {operator} {b}", max(_mask(x), _mask(y))

    def division(self, depth: int) -> tuple[str, int]:
        a, x = self.integer(depth)
        if x > U64:
            a, x = f"({a} & 0xFFFF)", 0xFFFF
        if self.chance(0.5):
            return f"{a} // {self.positive(depth)}", x
        number = self.rng.randrange(1, 1000)
        return f"{a} % {number}", number - 1

    def shift(self, depth: int) -> tuple[str, int]:
        a, x = self.integer(depth)
        if x > U64:
            a, x = f"({a} & 0xFFFF)", 0xFFFF
        if self.chance(0.6):
            amount = self.pick(0, 1, 3, 8, 16, 31, 32, 63)
            by = str(amount) if self.chance(0.6) else self.int_within(depth, 63)
            return f"{a} >> {by}", x
        amount = self.rng.randrange(8)
        return f"{a} << {amount}", x << amount

    def chosen(self, depth: int) -> tuple[str, int]:
        (a, x), (b, y) = self.integer(depth), self.integer(depth)
        names = self.scope.of("maybe")
        if names and self.chance(0.3):
            name = self.rng.choice(names)
            return f"{name} if {name} is not None else {a}", max(U64, x)
        return f"{a} if {self.boolean(depth)} else {b}", max(x, y)

    def either(self, depth: int) -> tuple[str, int]:
        (a, x), (b, y) = self.integer(depth), self.integer(depth)
        names = self.scope.of("maybe")
        if names and self.chance(0.3):
            return f"{self.rng.choice(names)} or {a}", max(U64, x)
        return f"{a} {self.pick('and', 'or')} {b}", max(x, y)

    def read(self, depth: int) -> tuple[str, int]:
        key, default = self.int_within(depth, 0xFFFF), self.int_within(depth, U64)
        makers = [
            lambda: f"numbers[{self.int_within(depth, 15)}]",
            lambda: f"numbers.get({key}, {default})",
            lambda: f"ports.get({key}, default={default})",
            lambda: f"ports.get({self.pick(80, 443, 7, U64)}, 0)",
            lambda: f"pairs.get(({key}, {self.int_within(depth, U64)}), {default})",
        ]
        if self.scope.context:
            makers += [
                lambda: f"tenants.get({self.address()}, {default})",
                lambda: f"scoped.get(({self.int_within(depth, 3)}, {self.address()}), {default})",
                lambda: f"flows.get(({self.address()}, {self.int_within(depth, 7)}), {default})",
            ]
        return self.any_of(*makers), U64

    def counted(self, depth: int) -> tuple[str, int]:
        """What assigns or changes something on the way."""
        if self.scope.context and self.chance(0.3):
            return f"servers.select({self.scope.context}, {self.int_within(depth, 9)})", 4095
        text, cap = self.integer(depth)
        if cap > U64:
            text, cap = f"({text} & 0xFFFF)", 0xFFFF
        name = self.assign("int", cap)
        if name in self.frozen:
            return text, cap
        result = f"({name} := {text})", cap
        if name in self.scope.variables:
            self.assigned(name, "int", cap)
        return result

    def called(self, depth: int) -> tuple[str, int]:
        for inline in self.candidates("int"):
            return self.call(inline, depth), inline.cap
        for inline in self.candidates("pair"):
            return f"{self.call(inline, depth)}[{self.pick(0, 1, -1)}]", 0xFFFF
        names = self.scope.of("pair")
        if names:
            return f"{self.rng.choice(names)}[{self.pick(0, 1)}]", 0xFFFF
        return self.leaf()

    # --- the other kinds ----------------------------------------------------------------------

    def candidates(self, returns: str) -> list[Inline]:
        found = [
            inline
            for inline in self.inlines
            if inline.returns == returns and (self.scope.context or not inline.context)
        ]
        self.rng.shuffle(found)
        return found[:1]

    def call(self, inline: Inline, depth: int) -> str:
        arguments = [str(self.scope.context)] * inline.context
        given = len(inline.parameters) - self.rng.randrange(inline.defaults + 1)
        for position, cap in enumerate(inline.parameters[:given]):
            keyword = f"p{position}=" if position >= given - 1 and self.chance(0.3) else ""
            arguments.append(keyword + self.int_within(depth, cap))
        return f"{inline.name}({', '.join(arguments)})"

    def pair(self, depth: int) -> str:
        names = self.scope.of("pair")
        if names and self.chance(0.3):
            return self.rng.choice(names)
        for inline in self.candidates("pair"):
            if self.chance(0.5):
                return self.call(inline, depth)
        one, other = self.int_within(depth, 0xFFFF), self.int_within(depth, 0xFFFF)
        if self.chance(0.15):
            return f"((1, {one}) if {self.boolean(depth)} else ({other}, 2))"
        return f"({one}, {other})"

    def maybe(self, depth: int) -> str:
        key = self.int_within(depth, 0xFFFF)
        makers = [
            lambda: f"numbers.get({key})",
            lambda: f"ports.get({key})",
            lambda: f"ports.get({self.pick(80, 443, 7)})",
            lambda: f"pairs.get(({key}, {self.int_within(depth, 7)}))",
            lambda: f"({self.int_within(depth, U64)} if {self.boolean(depth)} else None)",
        ]
        if self.scope.context:
            makers += [
                lambda: f"tenants.get({self.address()})",
                lambda: f"flows.get(({self.address()}, {self.int_within(depth, 7)}), None)",
            ]
        for inline in self.candidates("maybe"):
            makers.append(lambda inline=inline: self.call(inline, depth))
        return self.any_of(*makers)

    def address(self) -> str:
        return f"{self.scope.context}.{self.pick('local', 'remote')}_ip"

    def boolean(self, depth: int) -> str:
        if depth <= 0 or self.chance(0.1):
            names = self.scope.of("bool")
            if names and self.chance(0.5):
                return self.rng.choice(names)
            return f"({self.comparison(0)})"
        makers: list[Callable[[int], str]] = [
            self.comparison,
            self.comparison,
            self.comparison,
            self.membership,
            self.membership,
            self.logic,
            self.logic,
            self.tested,
            self.asked,
        ]
        if self.scope.context:
            makers += [self.address_test, self.address_test]
        return f"({self.rng.choice(makers)(depth - 1)})"

    def comparison(self, depth: int) -> str:
        terms = []
        for _ in range(self.pick(2, 2, 2, 3, 4)):
            text, cap = self.integer(depth)
            if cap > U64 and self.chance(0.9):
                text, cap = f"({text} & 0xFFFF)", 0xFFFF
            if cap < 2**32 and self.chance(0.1):
                text = self.pick(f"-{text}", f"({text} - {self.leaf()[0]})", f"~{text}")
            terms.append(text)
        if self.chance(0.03):
            terms[-1] = self.pick("-1", str(2**64), str(2**70), "True")
        operators = ["==", "!=", "<", "<=", ">", ">="]
        if self.chance(0.5):
            terms[self.rng.randrange(len(terms))] = str(self.interesting(0xFFFF))
        text = terms[0]
        for term in terms[1:]:
            text += f" {self.rng.choice(operators)} {term}"
        return text

    def membership(self, depth: int) -> str:
        text, cap = self.integer(depth)
        if cap > U64:
            text = f"({text} & 0xFFFF)"
        numbers = [str(self.interesting(0xFFFF)) for _ in range(self.rng.randrange(4))]
        low = self.rng.randrange(0, 70000)
        container = self.any_of(
            lambda: f"range({self.rng.randrange(low + 1)}, {low})",
            lambda: f"range({low}, {low + self.rng.randrange(70000)}, {self.rng.randrange(1, 40)})",
            lambda: f"range({low}, -1, {-self.rng.randrange(1, 40)})",
            lambda: f"range({-low}, {low})",
            lambda: f"({''.join(number + ', ' for number in numbers)})",
            lambda: self.pick("WEB", "SPARSE", "MIXED", "ROUTE", "WEB[1:] + (9,)", "(True, False)"),
            lambda: f"({self.int_within(1, 0xFFFF)}, {self.int_within(1, 0xFFFF)})",
        )
        return f"{text} {self.pick('in', 'in', 'not in')} {container}"

    def address_test(self, depth: int) -> str:
        address = self.address()
        del depth
        container = self.any_of(
            lambda: f"ip_network({self.pick(*NETWORKS)!r})",
            lambda: self.pick("OFFICES", "ALL_V4", "ALL_V6", "NOWHERE", "MAPPED", "FRIENDS"),
            lambda: f"(ip_address({self.pick(*ADDRESSES)!r}), {self.address()})",
            lambda: f"(ip_address({self.pick(*ADDRESSES)!r}),)",
            lambda: "tenants",
        )
        return self.any_of(
            lambda: f"{address} {self.pick('in', 'not in')} {container}",
            lambda: f"{address} {self.pick('in', 'not in')} {container}",
            lambda: f"{address} {self.pick('==', '!=')} ip_address({self.pick(*ADDRESSES)!r})",
            lambda: f"{address} {self.pick('==', '!=')} {self.address()}",
        )

    def logic(self, depth: int) -> str:
        a, b = self.boolean(depth), self.boolean(depth)
        form = self.pick(
            "{a} and {b}",
            "{a} or {b}",
            "not {a}",
            "{a} and not {b}",
            "{a} & {b}",
            "{a} | {b}",
            "{a} ^ {b}",
            "{a} == {b}",
            "{a} is {constant}",
            "{b} if {a} else {constant}",
            "bool({a})",
        )
        return form.format(a=a, b=b, constant=self.pick("True", "False"))

    def tested(self, depth: int) -> str:
        names = self.scope.of("socket")
        if names and self.chance(0.6):
            return f"{self.rng.choice(names)} is {self.pick('None', 'not None')}"
        names = self.scope.of("maybe")
        if names and self.chance(0.6):
            name = self.rng.choice(names)
            return self.pick(
                f"{name} is None",
                f"{name} is not None",
                f"{name} is None or {name} > {self.int_within(depth, U64)}",
                f"{name} is not None and {name} == {self.int_within(depth, U64)}",
                f"not {name}",
            )
        text, cap = self.integer(depth)
        return f"not {text}" if cap <= U64 else f"{text} & 1 == 1"

    def asked(self, depth: int) -> str:
        key = self.int_within(depth, 0xFFFF)
        makers = [
            lambda: f"{key} in ports",
            lambda: f"({key}, {self.int_within(depth, 7)}) not in pairs",
            lambda: f"ports.put({key}, {self.int_within(depth, U64)})",
            lambda: f"ports.add({key})",
            lambda: f"ports.remove({key})",
            lambda: f"pairs.remove(({key}, {self.int_within(depth, 7)}))",
            lambda: f"hits.try_add({self.int_within(depth, 9)}, {self.int_within(depth, U64)})",
            lambda: f"numbers.try_add({self.int_within(depth, 20)})",
        ]
        if self.scope.context:
            makers += [
                lambda: f"{self.scope.context}.sk is {self.pick('None', 'not None')}",
                lambda: " ".join(
                    (
                        self.verdict(depth),
                        self.pick("==", "is", "!=", "is not"),
                        self.pick("PASS", "DROP"),
                    )
                ),
                lambda: f"flows.add(({self.address()}, {self.int_within(depth, 3)}))",
            ]
        for inline in self.candidates("bool"):
            makers += [lambda inline=inline: self.call(inline, depth)] * 3
        return self.any_of(*makers)

    def verdict(self, depth: int) -> str:
        names = self.scope.of("verdict")
        if names and self.chance(0.3):
            return self.rng.choice(names)
        if depth <= 0 or self.chance(0.2):
            return self.pick("PASS", "DROP")
        makers: list[Callable[[int], str]] = [
            lambda depth: (
                f"({self.verdict(depth)} if {self.boolean(depth)} else {self.verdict(depth)})"
            ),
            lambda depth: f"({self.verdict(depth)} {self.pick('and', 'or')} {self.verdict(depth)})",
        ]
        if self.scope.context:
            makers += [self.redirect] * 4
        for inline in self.candidates("verdict"):
            makers += [lambda depth, inline=inline: self.call(inline, depth)] * 2
        return self.rng.choice(makers)(depth - 1)

    def redirect(self, depth: int) -> str:
        index = self.pick(
            str(self.rng.randrange(8)), self.int_within(depth, 15), self.int_within(depth, U64)
        )
        options = ""
        if self.chance(0.5):
            options += f", otherwise={self.verdict(depth)}"
        if self.chance(0.2):
            options += f", reuseport={self.pick('True', 'False')}"
        return f"servers.redirect({self.scope.context}, {index}{options})"


def _mask(bound: int) -> int:
    return (1 << bound.bit_length()) - 1


def random_program(seed: int | str) -> str:
    """Return the source of a module with a program ``f``."""
    return Generator(seed).module()
