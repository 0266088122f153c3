"""Whatever a program is like, its verdict is translated, and its own code is as it was.

Assembled programs for the shapes that code can have; C for functions, callbacks and tail calls.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from inet_lookup.bpf import AttachType, Helper, Map, MapType, ObjectFile, Program, ProgramType
from inet_lookup.bpf.elf_reader import Section
from inet_lookup.bpf.kernel_version import running_kernel
from inet_lookup.bpf.relocations import Function, LinkedCode
from inet_lookup.errors import ObjectFileError, VerifierError
from inet_lookup.rfc import BPF_DROP, BPF_OK, BPF_REDIRECT, ContextAccessError
from inet_lookup.rfc.dialect import INET_LOOKUP
from support import rfc_objects
from support.instructions import (
    FP,
    R0,
    R1,
    R2,
    R3,
    R6,
    add,
    call,
    copy,
    instruction,
    jump,
    jump_if_zero,
    leave,
    load,
    map_address,
    move,
    store,
    store_value,
)
from support.lookups import cookie_of, lookup_context, selected_cookie

pytestmark = pytest.mark.kernel

R7, R8, R9 = 7, 8, 9
PASS = 1
VERSIONS = ("clang-14", "clang-19")

each_compiler = pytest.mark.parametrize("compiler", VERSIONS)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture
def sockets(listener: socket.socket) -> Iterator[Map]:
    """A sock map whose slot 0 has the listener."""
    with Map.create(MapType.SOCKMAP, key_size=4, value_size=8, max_entries=1) as sockets:
        sockets.update(bytes(4), listener.fileno())
        yield sockets


def select(sockets: Map) -> bytes:
    """Select the socket of slot 0; registers 6 and 7 are used."""
    return (
        copy(R6, R1)
        + store_value(4, FP, -4, 0)
        + map_address(R1, sockets)
        + copy(R2, FP)
        + add(R2, -4)
        + call(Helper.MAP_LOOKUP_ELEM)
        + jump_if_zero(R0, 7)
        + copy(R7, R0)
        + copy(R1, R6)
        + copy(R2, R7)
        + move(R3, 3)
        + call(Helper.SK_ASSIGN)
        + copy(R1, R7)
        + call(Helper.SK_RELEASE)
    )


def returning(verdict: int) -> bytes:
    return instruction(0xB4, R0, immediate=verdict) + leave()


def linked(own: bytes, *others: bytes) -> LinkedCode:
    """A program and the functions behind it, as an object's reader links them."""
    section = Section(1, "inet_lookup/case", 1, 0, 0, 0, 0, 0, memoryview(b""))
    functions, at = [], 0
    for part in (own, *others):
        functions.append((at // 8, Function("function", section, at, at + len(part), True)))
        at += len(part)
    return LinkedCode(b"".join((own, *others)), (), tuple(functions))


def selected(own: bytes, *others: bytes, local_port: int = 80) -> int:
    """Translate a program, run it, and return the cookie of the socket that is selected."""
    code = INET_LOOKUP.translate(linked(own, *others), "case")
    with Program.load(
        ProgramType.SK_LOOKUP,
        code.instructions,
        expected_attach_type=AttachType.SK_LOOKUP,
    ) as program:
        run = program.test_run(lookup_context("127.0.0.1", local_port))
    assert run.retval == PASS
    return selected_cookie(run.ctx_out)


ALL_REGISTERS = move(R8, 0) + move(R9, 0)


@pytest.mark.parametrize("more", [b"", ALL_REGISTERS], ids=["a register", "the stack"])
def test_the_context_is_kept_where_there_is_room(
    sockets: Map, listener: socket.socket, more: bytes
) -> None:
    assert selected(more + select(sockets) + returning(BPF_REDIRECT)) == cookie_of(listener)
    for verdict in (BPF_OK, BPF_DROP, 1, -1, 8):
        assert selected(more + select(sockets) + returning(verdict)) == 0


def test_the_verdict_is_its_lower_32_bits(sockets: Map, listener: socket.socket) -> None:
    """As the kernel takes what a program returns."""
    low_7 = instruction(0x18, R0, immediate=7) + instruction(0, immediate=1)
    high_7 = instruction(0x18, R0, immediate=0) + instruction(0, immediate=7)
    assert selected(select(sockets) + low_7 + leave()) == cookie_of(listener)
    assert selected(select(sockets) + high_7 + leave()) == 0


@pytest.mark.parametrize("depth", [8, 200, 496, 504])
def test_the_context_is_kept_below_what_the_program_uses(
    sockets: Map, listener: socket.socket, depth: int
) -> None:
    deep = ALL_REGISTERS + store_value(8, FP, -depth, 5)
    assert selected(deep + select(sockets) + returning(BPF_REDIRECT)) == cookie_of(listener)
    assert selected(deep + select(sockets) + returning(BPF_OK)) == 0


def test_a_program_that_uses_all_registers_and_all_stack_is_refused(sockets: Map) -> None:
    full = ALL_REGISTERS + copy(R2, FP) + add(R2, -512) + store_value(8, R2, 0, 5)
    with pytest.raises(ObjectFileError, match="uses 512 of the 512 bytes of stack") as caught:
        selected(full + select(sockets) + returning(BPF_OK))
    assert caught.value.hint is not None


def test_a_register_that_only_a_called_function_uses_is_free(
    sockets: Map, listener: socket.socket
) -> None:
    """Calls preserve registers 6 to 9."""
    function = ALL_REGISTERS + move(R6, 0) + move(R7, 0) + move(R0, 0) + leave()
    full = copy(R2, FP) + add(R2, -448) + store_value(8, R2, 0, 5)
    own = full + select(sockets)
    for verdict, expected in ((BPF_REDIRECT, cookie_of(listener)), (BPF_OK, 0)):
        ending = returning(verdict)
        distance = len(ending) // 8
        called = instruction(0x85, src=1, immediate=distance)
        assert selected(own + called + ending, function) == expected


def test_every_return_of_a_program_is_translated(sockets: Map, listener: socket.socket) -> None:
    by_port = b"".join(
        instruction(0x55, R8, offset=2, immediate=port) + returning(verdict)
        for port, verdict in ((1, BPF_REDIRECT), (2, BPF_OK), (3, -2), (4, BPF_REDIRECT))
    )
    code = load(4, R8, R1, 60) + select(sockets) + by_port + returning(BPF_DROP)
    assert [selected(code, local_port=port) != 0 for port in (1, 2, 3, 4, 5)] == [
        True,
        False,
        False,
        True,
        False,
    ]


def test_a_programs_own_instructions_stay_as_they_are() -> None:
    """A jump to the first of them goes there, not to what is in front of it."""
    own = copy(R6, R1) + jump_if_zero(R6, -2) + load(4, R0, R6, 60) + move(R0, 0)
    code = INET_LOOKUP.translate(linked(own + leave()), "case")
    assert code.entry == 1
    assert code.instructions[8:].startswith(own + jump(0))


def test_a_program_of_many_instructions_returns_from_far(
    sockets: Map, listener: socket.socket
) -> None:
    if running_kernel() < (6, 6):
        pytest.skip("jumps farther than 16 bits need Linux 6.6")
    code = (
        select(sockets)
        + load(4, R8, R6, 60)
        + instruction(0x55, R8, offset=2, immediate=1)
        + returning(BPF_OK)
        + move(R8, 0) * 40_000
        + returning(BPF_REDIRECT)
    )
    assert selected(code, local_port=1) == 0
    assert selected(code, local_port=2) == cookie_of(listener)


def test_functions_are_called_as_before(sockets: Map, listener: socket.socket) -> None:
    """The program calls both functions, the first of which calls the second."""
    redirecting = instruction(0xB4, R0, immediate=BPF_REDIRECT) + leave()
    forwarding = instruction(0x85, src=1, immediate=1) + leave()
    to_first, to_second = 2, 1 + len(forwarding) // 8
    own = (
        select(sockets)
        + instruction(0x85, src=1, immediate=to_first)
        + instruction(0x85, src=1, immediate=to_second)
        + leave()
    )
    assert selected(own, forwarding, redirecting) == cookie_of(listener)
    dropping = instruction(0xB4, R0, immediate=BPF_DROP) + leave()
    assert selected(own, forwarding, dropping) == 0


def test_a_program_that_writes_where_the_context_is_kept_is_refused(sockets: Map) -> None:
    """By the verifier, should the stack be used in a way that cannot be seen here."""
    unseen = (
        copy(R8, R1)
        + call(Helper.GET_PRANDOM_U32)
        + instruction(0x57, R0, immediate=8)
        + copy(R2, FP)
        + instruction(0x1F, R2, R0)  # the frame's top, less 0 or 8
        + add(R2, -16)
        + store(8, R2, 0, R0)
        + copy(R1, R8)
        + move(R9, 0)
    )
    with pytest.raises(VerifierError):
        selected(unseen + select(sockets) + returning(BPF_OK))


def in_c(compiler: str) -> ObjectFile:
    return ObjectFile.parse(rfc_objects.build("calls", compiler), name="calls.o")


@each_compiler
@pytest.mark.parametrize("program", ["through_functions", "through_callback"])
def test_functions_in_c_take_the_context(
    compiler: str, program: str, listener: socket.socket
) -> None:
    with in_c(compiler).load(programs=[program]) as loaded:
        loaded.maps["redir_map"].update(bytes(4), listener.fileno())
        for port, expected in ((7007, cookie_of(listener)), (7008, 0)):
            run = loaded.programs[program].test_run(lookup_context("127.0.0.1", port))
            assert (run.retval, selected_cookie(run.ctx_out)) == (PASS, expected)


@each_compiler
@pytest.mark.parametrize("program", ["forbidden_in_callback", "forbidden_in_function"])
def test_functions_in_c_are_checked_too(compiler: str, program: str) -> None:
    with pytest.raises(ContextAccessError, match="off=60 size=2") as caught:
        in_c(compiler).load(programs=[program])
    assert caught.value.field == "local_port"
    assert "volatile __u16" in str(caught.value.source)


@each_compiler
def test_a_tail_call_keeps_the_verdict_of_what_it_calls(
    compiler: str, listener: socket.socket
) -> None:
    """A verdict that is translated twice would be another one."""
    found = in_c(compiler)
    targets = ["select_and_redirect", "select_and_pass"]
    for number, expected in ((0, cookie_of(listener)), (1, 0), (7, 0)):
        with found.load(
            programs=[*targets, "through_tail_call"], variables={"target": number}
        ) as loaded:
            loaded.maps["redir_map"].update(bytes(4), listener.fileno())
            for slot, name in enumerate(targets):
                loaded.maps["targets"].update(struct.pack("=I", slot), loaded.programs[name].fd)
            run = loaded.programs["through_tail_call"].test_run(lookup_context())
            assert (run.retval, selected_cookie(run.ctx_out)) == (PASS, expected)


@each_compiler
def test_every_instruction_has_the_source_line_that_it_came_from(compiler: str) -> None:
    """The kernel takes the line info, and shows lines of the program for what stands around it."""
    found = ObjectFile.parse(rfc_objects.build("cover_letter", compiler), name="demo.o")
    spec = found.programs["demo_two_http_servers"]
    count = len(spec.instructions) // 8
    lines = [spec.source_of(index) for index in range(count)]
    assert all(lines)
    assert "int demo_two_http_servers" in str(lines[0] and lines[0].text)
    assert {each.file.rpartition("/")[2] for each in lines if each} == {
        "cover_letter.c",
        "inet_lookup.h",
    }
    with found.load() as loaded:
        assert loaded.btf_refusal is None
        shown = loaded.programs[spec.name].source_lines()
        assert shown[0].instruction == 0
        assert any("ctx->local_port != 80" in each.source.text for each in shown)
