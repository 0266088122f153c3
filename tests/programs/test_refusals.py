"""What a program may not use is refused with its place, the reason, and what to write instead.

A line with nothing but ``^`` shows where the message must point in the line above it. Sources
without a definition are the body of a program.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from inet_lookup.errors import CompileError, InetLookupError
from support.loading import load_module

SURROUNDINGS = """\
import enum
import socket
from ipaddress import ip_address, ip_interface, ip_network

from inet_lookup import (
    AF_INET, DROP, PASS, Address, Array, Context, Counters, Hash, LpmTrie, NetworkSet, SockArray,
    Verdict, inline, ntohs, program,
)

servers = SockArray(8)
numbers = Array(16)
hits = Counters(8)
ports = Hash(8)
peers = Hash(8, key=Address)
flows = Hash(8, key=(Address, int))
tenants = LpmTrie(8)

WEB = (80, 443, 8080)
NETWORKS = frozenset({ip_network("192.0.2.0/24"), ip_network("198.51.100.0/24")})
a_list = [80, 443]
a_dict = {80: 1}
a_set = {80, 443}
a_float = 1.5
an_object = object()
an_interface = ip_interface("192.0.2.1/24")


class Flag(enum.IntFlag):
    A = 1
    B = 2


class Colour(enum.IntEnum):
    RED = 1


class Better(Hash):
    pass


better = Better(8)


def unmarked(port):
    return port + 1


@inline
def double(number):
    return number * 2


@program
def another(ctx):
    return PASS


"""

CASES = {
    # statements
    "while": (
        """
        while ctx.local_port:
        ^
            pass
        """,
        "while is not supported",
        "use for over a range, with break",
    ),
    "try": (
        """
        try:
        ^
            pass
        except ValueError:
            pass
        """,
        "try is not supported",
        "a program raises no exceptions: test first",
    ),
    "raise": (
        """
        raise ValueError
        ^
        """,
        "raise is not supported",
        "return DROP or PASS",
    ),
    "with": (
        """
        with servers:
        ^
            pass
        """,
        "with is not supported",
        "a program holds nothing that needs closing",
    ),
    "assert": (
        """
        assert ctx.local_port
        ^
        """,
        "assert is not supported",
        "return DROP, or count in a Counters map",
    ),
    "del": (
        """
        x = 1
        del x
        ^
        """,
        "del is not supported",
        "use table.remove(key) to remove an entry of a map",
    ),
    "import": (
        """
        import socket
        ^
        """,
        "import is not supported here",
        "import at the top of the module",
    ),
    "import from": (
        """
        from socket import AF_UNIX
        ^
        """,
        "import is not supported here",
        "import at the top of the module",
    ),
    "global": (
        """
        global WEB
        ^
        WEB = 5
        """,
        "global is not supported",
        "keep state in a map",
    ),
    "nested function": (
        """
        def inner(): pass
        ^
        """,
        "a nested function is not supported",
        "define it outside with @inline",
    ),
    "class": (
        """
        class Inner: pass
        ^
        """,
        "a class is not supported",
        "define it outside",
    ),
    "expression without effect": (
        """
        ctx.local_port
        ^
        """,
        "this expression has no effect",
        "remove it",
    ),
    "yield": (
        """
        return PASS
        yield 5
        ^
        """,
        "yield is not supported",
        "a program returns one verdict",
    ),
    # displays and other expressions
    "lambda": (
        """
        x = lambda: 5
            ^
        """,
        "lambda is not supported",
        "define a function and mark it with @inline",
    ),
    "list": (
        """
        x = [1, 2]
            ^
        """,
        "a list is not supported",
        "use a tuple",
    ),
    "dict": (
        """
        x = {1: 2}
            ^
        """,
        "a dict is not supported",
        "use match, or a Hash map",
    ),
    "set": (
        """
        x = {1, 2}
            ^
        """,
        "a set is not supported",
        "use a tuple, or a frozenset as a module constant",
    ),
    "list comprehension": (
        """
        x = [i for i in (1, 2)]
            ^
        """,
        "a comprehension is not supported",
        "compute it in a module constant",
    ),
    "generator expression": (
        """
        x = sum(i for i in (1, 2))
               ^
        """,
        "a generator is not supported",
        "compute it in a module constant",
    ),
    "f-string": (
        """
        x = f"{ctx.local_port}"
            ^
        """,
        "strings are not supported",
        "count or store numbers in a map",
    ),
    "string operation": (
        """
        x = "a" + "b"
            ^
        """,
        "strings are not supported",
        "compute what they say in a module constant",
    ),
    "bytes as a number": (
        """
        x = ctx.local_port + b"x"
                             ^
        """,
        "b'x' has no meaning in a program",
        "use an integer",
    ),
    "float": (
        """
        x = ctx.local_port * 1.5
                             ^
        """,
        "BPF has integers only",
        "use an integer",
    ),
    "division to a float": (
        """
        x = ctx.local_port / 2
            ^
        """,
        "/ makes a float, which BPF does not have",
        "use // instead",
    ),
    "power": (
        """
        x = ctx.local_port ** 2
            ^
        """,
        "** is supported between constants only",
        "multiply, or use <<",
    ),
    "matrix multiplication": (
        """
        x = ctx.local_port @ 2
            ^
        """,
        "this operator is not supported on integers",
        "use + - * // % & | ^ << >>",
    ),
    "starred tuple": (
        """
        x = (*WEB, 5)
            ^
        """,
        "* in a tuple is not supported",
        "write the elements out",
    ),
    # calls
    "print": (
        """
        print(ctx.local_port)
        ^
        """,
        "a program cannot print",
        "count in a Counters map and read it from Python",
    ),
    "call of a function that is not marked": (
        """
        x = unmarked(ctx.local_port)
            ^
        """,
        "unmarked() is not marked for programs",
        "decorate it with @inline",
    ),
    "call of an unknown built-in": (
        """
        x = hash(ctx.local_port)
            ^
        """,
        "hash() cannot be called in a program",
        "write it with the operators, or a map",
    ),
    "pure function of a number known at run time": (
        """
        x = ip_address(ctx.local_port)
            ^
        """,
        "ip_address() works here on constants only",
        "compute it in a module constant, or compare the parts",
    ),
    "call of a program": (
        """
        return another(ctx)
               ^
        """,
        "'another', of the type ProgramFunction, is not a function marked with @inline",
        "move what is to be called into a plain function and decorate that with @inline",
    ),
    "call of a class": (
        """
        x = Colour(ctx.local_port)
            ^
        """,
        "Colour() cannot be called in a program",
        "write it with the operators, or a map",
    ),
    "starred call": (
        """
        x = max(*WEB)
            ^
        """,
        "* and ** in a call are not supported",
        "write the arguments out",
    ),
    "wrong number of arguments": (
        """
        x = double(1, 2)
            ^
        """,
        "double(): too many positional arguments",
        "pass what its parameters ask for",
    ),
    "unknown argument of a method": (
        """
        return servers.redirect(ctx, 0, fallback=DROP)
               ^
        """,
        "servers.redirect() has no argument 'fallback'",
        "it takes ctx, index, otherwise=, reuseport=",
    ),
    "missing argument of a method": (
        """
        return servers.redirect(ctx)
               ^
        """,
        "servers.redirect() needs 'index'",
        "pass it",
    ),
    "enumerate outside of a loop": (
        """
        x = enumerate(WEB)
            ^
        """,
        "enumerate() is supported only as what a for loop runs over",
        "write it in the for",
    ),
    # names and constants
    "name that is nowhere": (
        """
        x = ctx.local_port + nowhere
                             ^
        """,
        "name 'nowhere' is not defined",
        "define it, or correct the name",
    ),
    "variable that is not assigned": (
        """
        return PASS if y else y
                       ^
        y = 5
        """,
        "'y' is not assigned yet here",
        "assign it first",
    ),
    "variable assigned on one path": (
        """
        if ctx.local_port == 80:
            y = 5
        return PASS if y else DROP
                       ^
        """,
        "'y' may be unassigned here",
        "assign it before the branch",
    ),
    "variable of two kinds": (
        """
        y = 5
        if ctx.local_port == 80:
            y = PASS
        return y
               ^
        """,
        "'y' has values of different kinds on different paths",
        "use a variable of its own on each path, or decide inside each branch",
    ),
    "list as a global": (
        """
        if ctx.local_port in a_list:
                             ^
            pass
        """,
        "'a_list' is a list, which can change after the program is compiled",
        "make it a tuple",
    ),
    "dict as a global": (
        """
        x = a_dict
            ^
        """,
        "'a_dict' is a dict, which can change after the program is compiled",
        "make it an Array or Hash map",
    ),
    "set as a global": (
        """
        if ctx.local_port in a_set:
                             ^
            pass
        """,
        "'a_set' is a set, which can change after the program is compiled",
        "make it a frozenset",
    ),
    "float as a global": (
        """
        x = a_float
            ^
        """,
        "'a_float' is a float; BPF has integers only",
        "make it an integer",
    ),
    "object as a global": (
        """
        if an_object:
           ^
            pass
        """,
        "'an_object', of the type object, may change after the program is compiled",
        "take what it holds into integers, tuples, a NamedTuple or a frozen dataclass",
    ),
    "interface as an address": (
        """
        if ctx.local_ip == an_interface:
                           ^
            pass
        """,
        "'an_interface' is an IPv4Interface, which equals no address of a packet",
        "use its .ip or its .network",
    ),
    "flag as a number": (
        """
        x = ctx.local_port & Flag.A
            ^
        """,
        "the right operand is the flag <Flag.A: 1>",
        "use Flag.A.value",
    ),
    "subclass of a map": (
        """
        x = better.get(1)
            ^
        """,
        "'better' is of Better, and what a subclass changes is not compiled",
        "use Array, Counters, Hash, LpmTrie or SockArray itself",
    ),
    "module attribute": (
        """
        x = socket.AF_INETT
            ^
        """,
        "socket has no attribute 'AF_INETT'",
        "correct the name",
    ),
    "division of constants by zero": (
        """
        x = 5 // 0
            ^
        """,
        "Python raises ZeroDivisionError here: integer division or modulo by zero",
        "correct the expression",
    ),
    "enormous constant": (
        """
        x = 2**100000
            ^
        """,
        "the result of this constant expression exceeds 4096 bits",
        "an integer of a program has 64 bits",
    ),
    # integers
    "comparison of what may be negative": (
        """
        if 5 - ctx.local_ip4 * ctx.remote_ip4 > 0:
           ^
            pass
        """,
        "the left side of the comparison may be negative (at least about -2**64)",
        "check the order first (if a >= b), or keep the bits you need: (a - b) & 0xFFFF",
    ),
    "membership of what may be negative": (
        """
        if ctx.local_port - 80 in (1, 2):
           ^
            pass
        """,
        "the left side of 'in' may be negative (at least -80)",
        "check the order first (if a >= b), or keep the bits you need: (a - b) & 0xFFFF",
    ),
    "comparison of what may overflow": (
        """
        if ctx.local_ip4 * ctx.remote_ip4 * 2 > 5:
           ^
            pass
        """,
        "the left side of the comparison may not fit in 64 bits (up to about 2**65)",
        "keep the bits you need: (a * b) & 0xFFFF_FFFF, or check the operands' size first",
    ),
    "division by what may be zero": (
        """
        x = 1000 // ctx.local_port
            ^
        """,
        "the divisor may be 0, where Python raises ZeroDivisionError",
        "divide by a constant, or under a condition such as: if n > 0",
    ),
    "remainder by what may be zero": (
        """
        x = 1000 % (ctx.local_port & 7)
            ^
        """,
        "the divisor may be 0, where Python raises ZeroDivisionError",
        "divide by a constant, or under a condition such as: if n > 0",
    ),
    "division of what may be negative": (
        """
        x = (ctx.local_port - 1) // 2
            ^
        """,
        "the number that is divided may be negative (at least -1)",
        "check the order first (if a >= b), or keep the bits you need: (a - b) & 0xFFFF",
    ),
    "shift by too much": (
        """
        x = 1 << ctx.local_port
            ^
        """,
        "the shift may be by 0 to 65535 bits, not by 0 to 63",
        "keep it within: x << (n & 63)",
    ),
    "shift right of what may be negative": (
        """
        x = (80 - ctx.local_port) >> 1
            ^
        """,
        "the number that is shifted right may be negative (at least -65455)",
        "check the order first (if a >= b), or keep the bits you need: (a - b) & 0xFFFF",
    ),
    "ntohs of more than 16 bits": (
        """
        x = ntohs(ctx.local_ip4)
            ^
        """,
        "the argument of ntohs() may exceed 16 bits, where Python raises an error",
        "keep it within: ntohs(x & 0xFFFF)",
    ),
    "identity of integers": (
        """
        if ctx.local_port is WEB[0]:
           ^
            pass
        """,
        "'is' compares identity, which numbers do not have",
        "use ==",
    ),
    "arithmetic with a verdict": (
        """
        x = servers.redirect(ctx, 0, otherwise=DROP) + 1
            ^
        """,
        "the left operand is a verdict, not a number",
        "compare it with PASS or DROP",
    ),
    "arithmetic with None": (
        """
        x = ports.get(80) + 1
            ^
        """,
        "the left operand may be None",
        "test it first (if x is not None), or give a default: table.get(key, 0)",
    ),
    "comparison of what may be None": (
        """
        if ports.get(80) > 1:
           ^
            pass
        """,
        "the value may be None",
        "test it first (if x is not None), or give a default: table.get(key, 0)",
    ),
    "order of verdicts": (
        """
        if servers.redirect(ctx, 0, otherwise=DROP) < PASS:
           ^
            pass
        """,
        "verdicts have no order",
        "use == or !=",
    ),
    # the context and addresses
    "misspelt field": (
        """
        if ctx.local_prot == 80:
           ^
            pass
        """,
        "the context has no field 'local_prot'",
        "did you mean 'local_port'?",
    ),
    "unknown field": (
        """
        x = ctx.packet
            ^
        """,
        "the context has no field 'packet'",
        "it has family, ingress_ifindex, local_ip, local_ip4, local_ip6, local_port, protocol, "
        "remote_ip, remote_ip4, remote_ip6, remote_port, sk",
    ),
    "assignment to a field": (
        """
        ctx.local_port = 80
        ^
        """,
        "only local variables and elements of an Array can be assigned",
        "the context is read-only; keep state in a map",
    ),
    "assignment to a word of an address": (
        """
        ctx.local_ip6[0] = 80
        ^
        """,
        "only local variables and elements of an Array can be assigned",
        "the context is read-only; keep state in a map",
    ),
    "address as a number": (
        """
        x = ctx.local_ip + 1
            ^
        """,
        "the left operand is an address, not a number",
        "compare it with ip_address(...), use 'in' with a network, or ctx.local_ip4",
    ),
    "address compared with text": (
        """
        if ctx.local_ip == "192.0.2.1":
           ^
            pass
        """,
        "an address is compared with str '192.0.2.1'",
        'compare it with ip_address("192.0.2.1"), or use in with ip_network("192.0.2.0/24")',
    ),
    "address in text": (
        """
        if ctx.local_ip in "192.0.2.0/24":
           ^
            pass
        """,
        "an address cannot be looked up in str '192.0.2.0/24'",
        "use ip_network(...), NetworkSet(...), or a tuple or frozenset of addresses",
    ),
    "order of addresses": (
        """
        if ctx.local_ip < ip_address("192.0.2.1"):
           ^
            pass
        """,
        "addresses have no order here",
        "use ==, !=, or 'in' with a network",
    ),
    "network in a frozenset": (
        """
        if ctx.local_ip in frozenset({ip_network("192.0.2.0/24")}):
                                     ^
            pass
        """,
        "a set is not supported",
        "use a tuple, or a frozenset as a module constant",
    ),
    "networks in a frozenset": (
        """
        if ctx.local_ip in NETWORKS:
           ^
            pass
        """,
        "a frozenset holds what is equal, and no address equals a network",
        'use NetworkSet("192.0.2.0/24", ...)',
    ),
    "attribute of an address": (
        """
        if ctx.local_ip.is_private:
           ^
            pass
        """,
        "address attribute 'is_private' is not supported",
        "use 'in' with a network, == with an address, or .version",
    ),
    "word of an address that is not constant": (
        """
        x = ctx.local_ip6[ctx.local_port & 3]
            ^
        """,
        "the four words of an address need a constant index, 0 to 3",
        "write the number, or loop over (0, 1, 2, 3)",
    ),
    "context as a condition": (
        """
        if ctx:
           ^
            pass
        """,
        "the context is not a condition",
        "compare it with something",
    ),
    "socket as a condition": (
        """
        if ctx.sk:
           ^
            pass
        """,
        "ctx.sk is not a condition",
        "write: ctx.sk is not None",
    ),
    # maps
    "element of a hash": (
        """
        x = ports[80]
            ^
        """,
        "ports[key] raises KeyError in Python where the key is missing",
        "use ports.get(key) or ports.get(key, default)",
    ),
    "assignment to an element of a hash": (
        """
        ports[80] = 1
        ^
        """,
        "ports[key] = value raises an exception in Python where the map is full",
        "use ports.put(key, value), which says whether it did",
    ),
    "augmented assignment to an element": (
        """
        numbers[0] += 1
        ^
        """,
        "an augmented assignment needs a local variable",
        "use table.add(index, amount), which is atomic and wraps at 2**64",
    ),
    "reading counters": (
        """
        x = hits[0]
            ^
        """,
        "a program sees one processor's part of 'hits' alone",
        "read counters from Python, or use an Array",
    ),
    "element of a trie": (
        """
        x = tenants["192.0.2.0/24"]
            ^
        """,
        "tenants[network] is for Python: it finds just that network",
        "use tenants.get(address) or tenants.get(address, default)",
    ),
    "element of a sock array": (
        """
        x = servers[0]
            ^
        """,
        "a socket cannot be read from 'servers'",
        "use servers.redirect(ctx, index)",
    ),
    "constant index out of range": (
        """
        x = numbers[16]
            ^
        """,
        "index 16 is out of range: 'numbers' has 16 entries",
        "use 0 to 15, or declare it with a larger max_entries",
    ),
    "constant slot out of range": (
        """
        return servers.redirect(ctx, 8)
               ^
        """,
        "index 8 is out of range: 'servers' has 8 slots",
        "use 0 to 7, or declare it with a larger max_entries",
    ),
    "index that may be out of range": (
        """
        x = numbers[ctx.local_port]
            ^
        """,
        "the index may be up to 65535, where Python raises IndexError: 'numbers' has 16 entries",
        "use numbers.get(index, default)",
    ),
    "counter that may be out of range": (
        """
        hits.add(ctx.local_port)
        ^
        """,
        "the index may be up to 65535, where Python raises IndexError: 'hits' has 8 entries",
        "use hits.try_add(index), or test it first",
    ),
    "storing what may be negative": (
        """
        numbers[0] = ctx.local_port - 1
        ^
        """,
        "the value that is stored may be negative (at least -1)",
        "check the order first (if a >= b), or keep the bits you need: (a - b) & 0xFFFF",
    ),
    "number as the key of a hash of addresses": (
        """
        x = peers.get(ctx.local_port)
            ^
        """,
        "this must be an address of the packet",
        "use ctx.local_ip or ctx.remote_ip",
    ),
    "key of too few parts": (
        """
        x = flows.get((ctx.local_ip,))
            ^
        """,
        "a key of 'flows' has 2 parts, not 1",
        "write (address, int)",
    ),
    "method for Python": (
        """
        x = servers.append(5)
            ^
        """,
        "servers.append() is not for programs",
        "a program may call redirect(), select()",
    ),
    "redirect of something else": (
        """
        return servers.redirect(5, 0)
               ^
        """,
        "the first argument is not the context",
        "write servers.redirect(ctx, index)",
    ),
    "number as a verdict of otherwise": (
        """
        return servers.redirect(ctx, 0, otherwise=5)
               ^
        """,
        "otherwise= is not a verdict",
        "use PASS or DROP",
    ),
    "option that is not constant": (
        """
        return servers.redirect(ctx, 0, reuseport=ctx.local_port == 80)
               ^
        """,
        "reuseport= is not known when the program is compiled",
        "write True or False",
    ),
    "length of a map": (
        """
        if len(ports) > 3:
           ^
            pass
        """,
        "this asks for the content of a map, which changes",
        "use the methods of the map, or 'in' on a Hash or LpmTrie",
    ),
    "map as a condition": (
        """
        if ports:
           ^
            pass
        """,
        "this asks for the content of a map, which changes",
        "use the methods of the map, or 'in' on a Hash or LpmTrie",
    ),
    "membership in an array": (
        """
        if 5 in numbers:
           ^
            pass
        """,
        "'in' does not work on 'numbers'",
        "use .get(index)",
    ),
    # loops and patterns
    "loop over a number": (
        """
        for i in ctx.local_port:
                 ^
            pass
        """,
        "a loop over an integer is not supported",
        "loops run over constant ranges and tuples; enumerate(), zip() and reversed() of them",
    ),
    "loop over a range known at run time": (
        """
        for i in range(ctx.local_port):
                 ^
            pass
        """,
        "range() needs numbers that are known when the program is compiled",
        "loop over the largest range that there can be, and break",
    ),
    "loop over a frozenset": (
        """
        for i in NETWORKS:
                 ^
            pass
        """,
        "the order of a frozenset is not defined",
        "use a tuple",
    ),
    "loop over a map": (
        """
        for i in numbers:
                 ^
            pass
        """,
        "a loop over a map of the type Array is not supported",
        "loops run over constant ranges and tuples; enumerate(), zip() and reversed() of them",
    ),
    "loop of too many rounds": (
        """
        for i in range(10**9):
                 ^
            pass
        """,
        "a loop of more than 50000 rounds cannot be unrolled",
        "use a map, or arithmetic",
    ),
    "zip with strict": (
        """
        for i, j in zip(WEB, WEB, strict=True):
                    ^
            pass
        """,
        "the loop over these arguments is not supported",
        "write enumerate(t), reversed(t), or zip(t, u) without keywords",
    ),
    "unpacking too few": (
        """
        a, b = WEB
        ^
        """,
        "3 values are unpacked into 2 names",
        "name every element",
    ),
    "unpacking with a star": (
        """
        a, *b = WEB
        ^
        """,
        "* in an assignment is not supported",
        "name every element",
    ),
    "class pattern": (
        """
        match ctx.local_port:
            case int():
                 ^
                pass
        """,
        "this pattern is not supported",
        "match integers, verdicts and tuples of them, with |, _ and guards",
    ),
    "mapping pattern": (
        """
        match ctx.local_port:
            case {"a": 1}:
                 ^
                pass
        """,
        "this pattern is not supported",
        "match integers, verdicts and tuples of them, with |, _ and guards",
    ),
    "star in a pattern": (
        """
        match WEB:
            case (1, *rest):
                 ^
                pass
        """,
        "* in a pattern is not supported",
        "name every element, or write _",
    ),
    "pattern of another kind": (
        """
        match ctx.local_port:
            case True:
                 ^
                pass
        """,
        "'is' compares identity, which numbers do not have",
        "use ==",
    ),
    # results
    "returning an integer": (
        """
        return 1
        ^
        """,
        "a program returns a verdict, not int 1",
        "return PASS, DROP or the result of redirect()",
    ),
    "returning nothing": (
        """
        return
        ^
        """,
        "a program returns a verdict, not None",
        "return PASS, DROP or the result of redirect()",
    ),
    "returning a truth value": (
        """
        return ctx.local_port == 80
        ^
        """,
        "a program returns a verdict, not a truth value",
        "return PASS, DROP or the result of redirect()",
    ),
    # whole functions
    "missing return": (
        """
        @program
        def f(ctx: Context) -> Verdict:
            if ctx.local_port == 80:
            ^
                return PASS
        """,
        "f() may end without a verdict",
        "return PASS at its end",
    ),
    "no argument": (
        """
        @program
        def f() -> Verdict:
        ^
            return PASS
        """,
        "a program takes one argument, the context: not f()",
        "define it as: def name(ctx: Context) -> Verdict",
    ),
    "any number of arguments": (
        """
        @program
        def f(*args) -> Verdict:
        ^
            return PASS
        """,
        "a program takes one argument, the context: not f(*args)",
        "define it as: def name(ctx: Context) -> Verdict",
    ),
    "two arguments": (
        """
        @program
        def f(ctx, other) -> Verdict:
        ^
            return PASS
        """,
        "a program takes one argument, the context: not f(ctx, other)",
        "define it as: def name(ctx: Context) -> Verdict",
    ),
    "async": (
        """
        @program
        async def f(ctx: Context) -> Verdict:
        ^
            return PASS
        """,
        "async is not supported",
        "define it with def",
    ),
    "name that the kernel does not take": (
        """
        @program
        def größe(ctx: Context) -> Verdict:
        ^
            return PASS
        """,
        "a program cannot be named 'größe' in the kernel",
        "use the letters a to z, digits and underscores",
    ),
    "recursion": (
        """
        @inline
        def again(n: int) -> int:
            return again(n) + 1
                   ^

        @program
        def f(ctx: Context) -> Verdict:
            return PASS if again(5) else DROP
        """,
        "again() calls itself",
        "use a loop",
    ),
    "in a function that is called": (
        """
        @inline
        def bad(n: int) -> int:
            return n / 2
                   ^

        @program
        def f(ctx: Context) -> Verdict:
            return PASS if bad(ctx.local_port) else DROP
        """,
        "/ makes a float, which BPF does not have",
        "use // instead",
    ),
    "any number of arguments of a marked function": (
        """
        @inline
        def many(*numbers: int) -> int:
            return len(numbers)

        @program
        def f(ctx: Context) -> Verdict:
            return PASS if many(1, 2) else DROP
                           ^
        """,
        "many() takes any number of arguments, which is not supported",
        "name its parameters, or pass a tuple",
    ),
    "nonlocal": (
        """
        def make():
            count = 0

            @program
            def f(ctx: Context) -> Verdict:
                nonlocal count
                ^
                count = 1
                return PASS

        make()
        """,
        "nonlocal is not supported",
        "keep state in a map",
    ),
    "private name in a class": (
        """
        class Programs:
            @program
            def f(ctx: Context) -> Verdict:
                __port = 80
                ^
                return PASS
        """,
        "'__port' means another name in a class",
        "use one underscore",
    ),
    "characters outside of ASCII before the place": (
        """
        x = "größe", ctx.local_port / 2
                     ^
        """,
        "/ makes a float, which BPF does not have",
        "use // instead",
    ),
}


def write(directory: Path, source: str) -> tuple[Path, int, int]:
    """Write a case as a module; return the line and column that the message must point at."""
    body = textwrap.dedent(source).strip("\n")
    if "@program" not in body:
        body = (
            "@program\ndef f(ctx: Context) -> Verdict:\n"
            + textwrap.indent(body, "    ")
            + "\n    return PASS\n"
        )
    lines = SURROUNDINGS.splitlines()
    line = column = 0
    for each in body.splitlines():
        if each.strip() == "^":
            line, column = len(lines), each.index("^") + 1
        else:
            lines.append(each)
    path = directory / "refused.py"
    path.write_text("\n".join(lines) + "\n")
    return path, line, column


@pytest.mark.parametrize("name", CASES)
def test_refused_with_place_reason_and_remedy(name: str, tmp_path: Path) -> None:
    source, problem, hint = CASES[name]
    path, line, column = write(tmp_path, source)
    with pytest.raises(CompileError) as caught:
        # What is not defined yet may be by the time the program is compiled.
        load_module(path).f.check()
    error = caught.value
    assert (error.problem, error.hint) == (problem, hint)
    assert (error.filename, error.line, error.column) == (str(path), line, column)
    text = path.read_text().splitlines()[line - 1]
    first, shown, caret = error.message.split("\n")
    assert first == f"{path}:{line}:{column}: {problem}"
    assert shown.strip() == text.strip()
    # The caret stands below the very character.
    assert shown[caret.index("^") :] == text[column - 1 :]
    assert str(error) == f"{error.message} ({hint})"


def test_all_but_missing_names_are_refused_when_the_function_is_decorated(tmp_path: Path) -> None:
    for name, (source, _, _) in CASES.items():
        path, _, _ = write(tmp_path, source)
        if name == "name that is nowhere":
            load_module(path)
        else:
            with pytest.raises(CompileError):
                load_module(path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("f = program(lambda ctx: PASS)", "this is a lambda: use def"),
        ("f = program(5)", "5 is not a function"),
        ("f = program(print)", "is not a function"),
        ("exec('def g(ctx): return PASS')\nf = program(g)", "is not available"),
    ],
)
def test_what_is_no_function_in_a_file_is_refused(
    source: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "refused.py"
    path.write_text(SURROUNDINGS + source + "\n")
    with pytest.raises(InetLookupError, match=message):
        load_module(path)


def test_a_file_edited_since_it_was_imported_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "edited.py"
    lines = "def f(ctx):\n    return {}\n"
    path.write_text(SURROUNDINGS + lines.format("PASS"))
    module = load_module(path)
    path.write_text(SURROUNDINGS + lines.format("DROP"))
    with pytest.raises(InetLookupError, match="has changed since it was imported"):
        module.program(module.f)
