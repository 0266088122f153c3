"""What is too large is refused with words, in bounded time; what is just within the limits runs."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from inet_lookup import DROP, PASS, Context, load
from inet_lookup.errors import CompileError, InetLookupError
from support.agreement import difference
from support.contexts import random_context
from support.loading import load_module

pytestmark = pytest.mark.kernel

HEADER = """\
from ipaddress import ip_address, ip_network
from inet_lookup import (
    DROP, PASS, Address, Array, Context, Counters, Hash, LpmTrie, NetworkSet, SockArray, Verdict,
    inline, ntohs, program,
)
numbers = Array(16)
ports = Hash(8)
"""


def module_of(directory: Path, source: str):
    path = directory / "limits.py"
    path.write_text(HEADER + source)
    return load_module(path)


def body(*lines: str) -> str:
    return "@program\ndef f(ctx):\n" + "".join(f"    {line}\n" for line in lines)


def refusal(directory: Path, source: str) -> CompileError:
    with pytest.raises(CompileError) as caught:
        module_of(directory, source).f.compile()
    assert caught.value.hint
    return caught.value


def agree(directory: Path, source: str, contexts: int = 200) -> None:
    rng = random.Random(source)
    rounds = [random_context(rng) for _ in range(contexts)]
    assert not difference(module_of(directory, source), rounds)


# --- sets -----------------------------------------------------------------------------------------


def scattered(count: int, version: int) -> list[str]:
    rng = random.Random(count)
    make, bits = (IPv4Address, 32) if version == 4 else (IPv6Address, 128)
    numbers = {rng.getrandbits(bits) >> 1 << 1 for _ in range(count + 10)}
    return [str(make(number)) for number in sorted(numbers)[:count]]


@pytest.mark.parametrize("version", [4, 6])
def test_the_largest_set_of_networks_loads_and_answers(version: int, tmp_path: Path) -> None:
    members = scattered(1024, version)
    source = f"LARGE = NetworkSet(*{members!r})\n" + body(
        "return DROP if ctx.local_ip in LARGE else PASS"
    )
    make = IPv4Address if version == 4 else IPv6Address
    with load(module_of(tmp_path, source).f) as program:
        for member in members:
            beside = make(int(make(member)) + 1)
            assert program.test_run(Context(local=(member, 1))).verdict is DROP
            assert program.test_run(Context(local=(beside, 1))).verdict is PASS


def test_a_larger_set_of_networks_is_refused_for_a_map(tmp_path: Path) -> None:
    error = refusal(
        tmp_path,
        f"LARGE = NetworkSet(*{scattered(1025, 6)!r})\n"
        + body("return DROP if ctx.local_ip in LARGE else PASS"),
    )
    assert error.problem == "the set has 1025 separate ranges; a program holds up to 1024"
    assert error.hint == "put them in an LpmTrie or Hash map"


def test_networks_that_touch_count_as_one(tmp_path: Path) -> None:
    agree(
        tmp_path,
        'WIDE = NetworkSet(*(f"10.{i}.{j}.0/24" for i in range(256) for j in range(256)))\n'
        + body("return DROP if ctx.local_ip in WIDE else PASS"),
    )


def test_a_large_set_of_numbers_loads(tmp_path: Path) -> None:
    agree(
        tmp_path,
        "LARGE = frozenset(n * 63 + n % 7 for n in range(1024))\n"
        + body("return DROP if ctx.local_port in LARGE else PASS"),
    )


# --- stack and jumps ------------------------------------------------------------------------------


def test_many_large_keys_share_the_stack(tmp_path: Path) -> None:
    tables = "".join(f"h{n} = Hash(8, key=(Address,) * {n})\n" for n in range(1, 9))
    lines = ["a = ctx.local_ip"]
    for n in range(1, 9):
        key = "(" + "a, " * n + ")"
        lines.append(f"h{n}.add({key}, {n})")
        lines.append(f"numbers.add({n}, h{n}.get({key}, 0))")
    agree(tmp_path, tables + body(*lines, "return PASS"), contexts=30)


def test_a_program_that_keeps_too_much_on_the_stack_is_refused(tmp_path: Path) -> None:
    lines = [f"a{n} = numbers[(ctx.local_port >> {n % 5}) & 15]" for n in range(80)]
    lines.append("numbers[1] = " + " ^ ".join(f"a{n}" for n in range(80)))
    lines.append("return PASS if " + " + ".join(f"(a{n} & 7)" for n in range(80)) + " else DROP")
    error = refusal(tmp_path, body(*lines))
    assert error.problem.endswith("bytes of stack, and the kernel gives 512")
    assert error.line == len(HEADER.splitlines()) + 2


def test_a_jump_that_is_too_far_is_refused(tmp_path: Path) -> None:
    # LLVM ends the process on such a program, which therefore must not be this one.
    error = refusal(
        tmp_path,
        body(
            "p = ctx.local_port",
            "x = 0",
            "if p > 5:",
            "    for i in range(2800):",
            "        x = (x * 31 + (p >> (i & 7))) & 0xFFFF",
            "        numbers[i & 15] = x",
            "return DROP if x > 7 else PASS",
        ),
    )
    assert error.problem.startswith("the program is too large: a jump in it would have to reach")


# --- time and depth -------------------------------------------------------------------------------

DOUBLING = "@inline\ndef g0(n):\n    return n\n" + "".join(
    f"@inline\ndef g{n}(n):\n    return g{n - 1}(g{n - 1}(n))\n" for n in range(1, 30)
)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            body("for i in range(40_000):", "    for j in range(40_000):", "        x = j"),
            "the program has grown beyond 50000 operations here",
        ),
        (
            body("for i in range(10**30):", "    pass"),
            "a loop of more than 50000 rounds cannot be unrolled",
        ),
        (
            DOUBLING + body("return PASS if g29(ctx.local_port) else DROP"),
            "the program has grown beyond 50000 operations here",
        ),
        (
            body("x = 3", "for i in range(100):", "    x = x * x"),
            "the result of this constant expression exceeds 4096 bits",
        ),
        (
            body("x = (1,)", "for i in range(100):", "    x = x + x"),
            "a constant of more than 1048576 elements is too large",
        ),
        (body("x = (1,) * 10**12"), "a constant of more than 1048576 elements is too large"),
        (body("x = 1 << 10**12"), "the result of this constant expression exceeds 4096 bits"),
        (body("x = 7 ** 10**12"), "the result of this constant expression exceeds 4096 bits"),
        (body("x = tuple(range(10**12))"), "a constant of more than 1048576 elements is too large"),
        (body("x = min(range(10**12))"), "a constant of more than 1048576 elements is too large"),
        (
            body('x = tuple(ip_network("::/0"))'),
            "a constant of more than 1048576 elements is too large",
        ),
        (
            body("x = " + "".join(f"{n} if ctx.local_port == {n} else " for n in range(900)) + "5"),
            "this is nested too deeply",
        ),
    ],
)
def test_what_would_take_for_ever_is_refused(source: str, problem: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, source).problem == problem


def test_long_chains_are_not_deep(tmp_path: Path) -> None:
    count = 700
    lines = ["p = ctx.local_port", "if p == 0:", "    x = 5"]
    for n in range(1, count):
        lines += [f"elif p == {n * 7}:", f"    x = {n % 11}"]
    lines += ["else:", "    x = " + " + ".join(["p"] * count)]
    lines += ["if " + " and ".join(f"x != {n}" for n in range(20, count)) + ":", "    return DROP"]
    agree(tmp_path, body(*lines, "numbers[0] = x", "return PASS"))


# --- names ----------------------------------------------------------------------------------------


def test_maps_of_one_name_and_the_program_keep_apart(tmp_path: Path) -> None:
    module = module_of(
        tmp_path,
        "def make(amount):\n"
        "    f = Array(4)\n"
        "    @inline\n"
        "    def count():\n"
        "        f.add(0, amount)\n"
        "        return f[0]\n"
        "    return f, count\n"
        "one, count_one = make(1)\n"
        "other, count_other = make(10)\n"
        "del one, other\n"
        + body("return PASS if count_one() == 1 and count_other() == 10 else DROP"),
    )
    with load(module.f) as program:
        assert program.test_run(Context(local=("192.0.2.1", 80))).verdict is PASS
        assert sorted(program.maps) == ["f_2", "f_3"]


def test_a_name_longer_than_the_kernel_keeps(tmp_path: Path) -> None:
    name = "f" + "x" * 200
    module = module_of(tmp_path, body("return PASS").replace("def f", f"def {name}"))
    with load(getattr(module, name)) as program:
        assert program.info().name == name[:15]
        assert program.name == name


@pytest.mark.parametrize("license", ["", "GPL", "Dual MIT/GPL", 'a "quoted" one\\'])
def test_the_licence_is_told_as_it_is(license: str, tmp_path: Path) -> None:
    source = body("return PASS if _license[0] == 0 else DROP")
    source = "_license = Array(1)\n" + source.replace("@program", f"@program(license={license!r})")
    with load(module_of(tmp_path, source).f) as program:
        assert program.info().gpl_compatible == (license in ("GPL", "Dual MIT/GPL"))


def test_a_trie_may_be_as_large_as_the_kernel_counts(tmp_path: Path) -> None:
    source = "LARGE = LpmTrie(2**32 - 1)\n" + body("return DROP if ctx.local_ip in LARGE else PASS")
    with load(module_of(tmp_path, source).f) as program:
        assert program.test_run(Context(local=("192.0.2.1", 80))).verdict is PASS


@pytest.mark.parametrize("declaration", ["Array(-1)", "Hash(2**32)", 'Counters("5")', "Array(1.5)"])
def test_a_size_that_no_map_has_is_refused(declaration: str, tmp_path: Path) -> None:
    with pytest.raises(InetLookupError, match="max_entries is"):
        module_of(tmp_path, f"table = {declaration}\n")
