from __future__ import annotations

import os
import socket
import struct
import time

import pytest

from inet_lookup.bpf import (
    AttachType,
    Btf,
    Helper,
    Map,
    MapType,
    Program,
    ProgramType,
    SkLookupFlags,
    SourceLine,
    enable_stats,
    program_ids,
)
from inet_lookup.errors import CapacityError, KernelError, UnsupportedError, VerifierError
from inet_lookup.net.namespaces import Namespace
from support.instructions import (
    FP,
    R0,
    R1,
    R2,
    add,
    call,
    copy,
    count_runs,
    instruction,
    jump,
    jump_if_zero,
    leave,
    load,
    map_address,
    move,
    returning,
    select_socket,
    store,
    store_value,
)
from support.lookups import cookie_of, lookup_context, selected_cookie

pytestmark = pytest.mark.kernel

TCP_PORT = 44


def lookup_program(insns: bytes, name: str = "steer", **more: object) -> Program:
    return Program.load(
        ProgramType.SK_LOOKUP,
        insns,
        expected_attach_type=AttachType.SK_LOOKUP,
        name=name,
        **more,  # type: ignore[arg-type]
    )


def sock_map() -> Map:
    return Map.create(MapType.SOCKMAP, key_size=4, value_size=8, max_entries=1, name="servers")


class SourceFile:
    """BTF of ``int steer(void)`` in a file of its own, and line records for it."""

    def __init__(self, *lines: str) -> None:
        self.strings = b"\0"
        int_name, function, parameter = map(self.text, ("int", "steer", "ctx"))
        self.file = self.text("steer.py")
        self.lines = [self.text(line) for line in lines]
        types = (
            struct.pack("=IIII", int_name, 1 << 24, 4, 1 << 24 | 32)
            + struct.pack("=III", 0, 2 << 24, 0)  # void *
            + struct.pack("=IIIII", 0, 13 << 24 | 1, 1, parameter, 2)
            + struct.pack("=III", function, 12 << 24 | 1, 3)
        )
        self.raw = (
            struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(self.strings))
            + types
            + self.strings
        )
        self.func_info = struct.pack("=II", 0, 4)

    def text(self, text: str) -> int:
        offset = len(self.strings)
        self.strings += text.encode() + b"\0"
        return offset

    def line_info(self, *instructions: int) -> bytes:
        """Line ``n`` (from 1) begins at the n-th of these instructions, at column 5."""
        return b"".join(
            struct.pack("=IIII", at, self.file, text, number << 10 | 5)
            for number, (at, text) in enumerate(zip(instructions, self.lines, strict=True), 1)
        )


class TestLoading:
    def test_info_is_what_was_loaded(self) -> None:
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        with (
            Map.create(MapType.ARRAY, key_size=4, value_size=8, max_entries=1) as counters,
            lookup_program(count_runs(counters), "count", license="GPL") as program,
        ):
            info = program.info()
            assert info.id == program.id > 0
            assert info.type == program.type == ProgramType.SK_LOOKUP
            assert info.name == program.name == "count"
            assert info.map_ids == (counters.id,)
            assert info.gpl_compatible
            assert info.uid == os.getuid()
            assert before < info.load_time < time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            assert len(info.tag) == 16
            assert info.xlated_insns > 0
            assert info.verified_insns > 0
            assert info.btf_id == 0
            assert program.id in set(program_ids())
            assert program.source_lines() == []
        assert program.id not in set(program_ids())

    def test_program_without_maps_names_none(self) -> None:
        with lookup_program(returning(1)) as program:
            assert program.info().map_ids == ()
            assert not program.info().gpl_compatible

    def test_program_is_found_by_its_id(self) -> None:
        with lookup_program(returning(1)) as program, Program.from_id(program.id) as twin:
            assert twin.info().tag == program.info().tag
            assert repr(twin).startswith(f"<Program 'steer' sk_lookup id={program.id} fd=")

    def test_instructions_are_whole(self) -> None:
        with pytest.raises(ValueError, match="insns has 15 bytes, not a multiple of 8"):
            lookup_program(returning(1)[:-1])

    def test_empty_program_is_refused(self) -> None:
        with pytest.raises(KernelError, match="E2BIG: it has no instructions"):
            lookup_program(b"")

    def test_too_long_a_program_is_a_matter_of_capacity(self) -> None:
        with pytest.raises(CapacityError, match="E2BIG: 1000003 instructions are more than"):
            lookup_program(move(R0, 1) * 1_000_001 + returning(1))

    def test_type_of_a_future_kernel_is_refused(self) -> None:
        with pytest.raises(KernelError, match=r"load program 'x' \(unknown_4000\): EINVAL"):
            Program.load(ProgramType(4000), returning(1), name="x")


class TestRejection:
    @pytest.mark.parametrize(
        ("insns", "index", "summary"),
        [
            (leave(), 0, "R0 !read_ok"),
            (returning(7), 1, "At program exit the register R0 has"),
            (load(4, R0, R1, 100) + returning(1), 0, "invalid bpf_context access off=100 size=4"),
            (jump(5) + returning(1), 0, "jump out of range from insn 0 to 6"),
            (jump(1) + move(R0, 0) + returning(1), 1, "unreachable insn 1"),
            (move(R0, 1), None, "last insn is not an exit or jmp"),
            (call(Helper.SKB_STORE_BYTES) + returning(1), 0, "bpf_skb_store_bytes#9"),
            (move(R1, 3) + call(Helper.MAP_LOOKUP_ELEM) + returning(1), 1, "expected=map_ptr"),
            (store_value(4, FP, -600, 0) + returning(1), 0, "invalid write to stack R10 off=-600"),
        ],
    )
    def test_last_word_and_instruction_are_found(
        self, insns: bytes, index: int | None, summary: str
    ) -> None:
        asked: list[int] = []

        def source_of(number: int) -> SourceLine | None:
            asked.append(number)
            return SourceLine("steer.py", 17, 5, "    return servers.redirect(ctx, 7)")

        with pytest.raises(VerifierError) as raised:
            lookup_program(insns, source_of=source_of)
        error = raised.value
        assert summary in error.summary
        assert "\n" not in error.summary
        assert asked == ([] if index is None else [index])
        assert error.location == (None if index is None else "steer.py:17")
        assert error.message.startswith(f"load program 'steer' (sk_lookup): {error.errno_name}: ")
        assert "processed" in error.log

    def test_message_of_two_lines_is_joined(self) -> None:
        with (
            Map.create(MapType.HASH, key_size=4, value_size=8, max_entries=1) as table,
            pytest.raises(VerifierError) as raised,
        ):
            lookup_program(
                store_value(4, FP, -4, 0)
                + map_address(R1, table)
                + copy(R2, FP)
                + add(R2, -4)
                + call(Helper.MAP_LOOKUP_ELEM)
                + jump_if_zero(R0, 1)
                + load(8, R0, R0, 8)
                + returning(1)
            )
        assert raised.value.summary.startswith("invalid access to map value, value_size=8 off=8")
        assert "; R0 " in raised.value.summary

    def test_message_shows_the_source_line(self) -> None:
        with pytest.raises(VerifierError) as raised:
            lookup_program(
                leave(), source_of=lambda _: SourceLine("steer.py", 17, 5, "    return verdict")
            )
        assert raised.value.message.endswith(
            "the verifier says: R0 !read_ok at steer.py:17\n    return verdict"
        )
        assert raised.value.source == "    return verdict"

    def test_line_that_the_verifier_quotes_is_shown_without_a_mapping(self) -> None:
        source = SourceFile("verdict = 7", "return verdict")
        with Btf.load(source.raw) as btf, pytest.raises(VerifierError) as raised:
            lookup_program(
                returning(7),
                btf=btf,
                func_info=source.func_info,
                line_info=source.line_info(0, 1),
            )
        assert "; return verdict" in raised.value.log
        if " @ steer.py:2" in raised.value.log:
            assert raised.value.location == "steer.py:2"
            assert raised.value.source == "return verdict"

    def test_long_log_is_kept_whole(self) -> None:
        steps = 20_000
        insns = (
            move(R0, 0)
            + move(R2, 0)
            + add(R2, 1)
            + instruction(0xA5, R2, offset=-2, immediate=steps)  # if r2 < steps goto -2
            + load(4, R0, R1, 100)
            + returning(1)
        )
        with pytest.raises(VerifierError) as raised:
            lookup_program(insns)
        log = raised.value.log
        assert raised.value.summary == "invalid bpf_context access off=100 size=4"
        assert len(log) > 1 << 19  # more than the first two sizes of the buffer
        assert "0: R1=ctx() R10=fp0" in log[:200] or log.startswith("0: ")
        assert log.count("(07) r2 += 1") >= steps

    def test_bad_map_descriptor_is_named(self) -> None:
        bad = instruction(0x18, R1, 1, immediate=987654) + instruction(0)
        with pytest.raises(KernelError, match=r"EBADF.*987654"):
            lookup_program(bad + returning(1))


class TestLines:
    def test_source_lines_come_back_from_the_kernel(self) -> None:
        source = SourceFile("verdict = PASS", "return verdict")
        with (
            Btf.load(source.raw) as btf,
            lookup_program(
                returning(1),
                btf=btf,
                func_info=source.func_info,
                line_info=source.line_info(0, 1),
            ) as program,
        ):
            assert program.info().btf_id == btf.id
            first, second = program.source_lines()
            assert (first.instruction, second.instruction) == (0, 1)
            assert first.source == SourceLine("steer.py", 1, 5, "verdict = PASS")
            assert second.source == SourceLine("steer.py", 2, 5, "return verdict")

    def test_types_come_back_as_they_were_loaded(self) -> None:
        source = SourceFile()
        with Btf.load(source.raw) as btf, Btf.from_id(btf.id) as twin:
            assert twin.raw() == source.raw

    def test_malformed_types_are_refused_with_the_kernels_reason(self) -> None:
        source = SourceFile()
        with pytest.raises(KernelError, match=r"load BTF: EINVAL: the kernel says: .+"):
            Btf.load(source.raw[:-1] + b"x")


class TestRuns:
    def test_verdict_is_returned(self) -> None:
        for verdict in (0, 1):
            with lookup_program(returning(verdict)) as program:
                assert program.test_run(lookup_context()).retval == verdict

    def test_context_is_what_the_program_sees(self) -> None:
        # return ctx->local_port == 80 ? SK_PASS : SK_DROP
        offset = 64 - 4
        insns = (
            load(4, R2, R1, offset)
            + move(R0, 0)
            + instruction(0x55, R2, offset=1, immediate=80)
            + move(R0, 1)
            + leave()
        )
        with lookup_program(insns) as program:
            assert program.test_run(lookup_context(local_port=80)).retval == 1
            assert program.test_run(lookup_context(local_port=81)).retval == 0

    @pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
    def test_selected_socket_is_told_by_its_cookie(
        self, netns: Namespace, kind: socket.SocketKind
    ) -> None:
        def run() -> None:
            with (
                socket.socket(socket.AF_INET, kind) as server,
                sock_map() as servers,
                lookup_program(select_socket(servers, 0)) as program,
            ):
                server.bind(("127.0.0.1", 0))
                if kind == socket.SOCK_STREAM:
                    server.listen()
                servers.update(0, server.fileno())
                protocol = socket.IPPROTO_TCP if kind == socket.SOCK_STREAM else socket.IPPROTO_UDP
                run = program.test_run(lookup_context(protocol=protocol))
                assert run.retval == 1
                assert selected_cookie(run.ctx_out) == cookie_of(server)

        netns.run(run)

    def test_empty_slot_selects_nothing(self, netns: Namespace) -> None:
        with sock_map() as servers, lookup_program(select_socket(servers, 0)) as program:
            run = netns.run(program.test_run, lookup_context())
            assert run.retval == 0
            assert selected_cookie(run.ctx_out) == 0

    def test_member_of_a_reuseport_group_cannot_be_tested(self, netns: Namespace) -> None:
        def run() -> None:
            with (
                socket.socket() as server,
                sock_map() as servers,
                lookup_program(select_socket(servers, 0)) as program,
                lookup_program(select_socket(servers, 0, SkLookupFlags.NO_REUSEPORT)) as direct,
            ):
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                server.bind(("127.0.0.1", 0))
                server.listen()
                servers.update(0, server.fileno())
                with pytest.raises(KernelError, match=r"EOPNOTSUPP: .*SO_REUSEPORT.*NO_REUSEPORT"):
                    program.test_run(lookup_context())
                assert selected_cookie(direct.test_run(lookup_context()).ctx_out) == cookie_of(
                    server
                )

        netns.run(run)

    def test_repeated_runs_are_timed(self) -> None:
        with (
            Map.create(MapType.ARRAY, key_size=4, value_size=8, max_entries=1) as counters,
            lookup_program(count_runs(counters)) as program,
        ):
            run = program.test_run(lookup_context(), repeat=1000)
            assert counters.lookup(0) == struct.pack("=Q", 1000)
            assert 0 < run.duration_ns < 100_000

    def test_short_context_is_filled_up(self) -> None:
        with lookup_program(returning(1)) as program:
            context = lookup_context()
            run = program.test_run(context[:64])
            assert run.ctx_out[:64] == context[:64]
            assert len(run.ctx_out) >= 64

    @pytest.mark.parametrize(
        ("context", "message"),
        [
            (struct.pack("=Q", 1) + lookup_context()[8:], "EINVAL: .*cookie and ingress_ifindex"),
            (lookup_context()[:8] + struct.pack("=I", 1) + lookup_context()[12:], "EAFNOSUPPORT"),
            (lookup_context()[:60] + struct.pack("=I", 70000) + bytes(8), "ERANGE: the local port"),
            (lookup_context() + b"\1" * 8, "E2BIG: the context is longer than the kernel's"),
        ],
        ids=["cookie", "family", "port", "length"],
    )
    def test_context_that_no_packet_has_is_refused(self, context: bytes, message: str) -> None:
        with lookup_program(returning(1)) as program, pytest.raises(KernelError, match=message):
            program.test_run(context)

    def test_interface_cannot_be_given(self) -> None:
        context = lookup_context()[:64] + struct.pack("=I", 1) + bytes(4)
        with lookup_program(returning(1)) as program, pytest.raises(KernelError):
            program.test_run(context)

    def test_room_that_is_too_small_is_refused(self) -> None:
        with (
            lookup_program(returning(1)) as program,
            pytest.raises(KernelError, match="ENOSPC: the room for the returned context"),
        ):
            program.test_run(lookup_context(), ctx_out_size=8)

    def test_program_on_packets_sees_and_changes_data(self) -> None:
        # data[0] = 0xAB; return XDP_TX; struct xdp_md has data and data_end as 32-bit offsets
        insns = (
            load(4, R2, R1, 0)
            + load(4, 3, R1, 4)
            + copy(R0, R2)
            + add(R0, 1)
            + instruction(0x2D, R0, 3, offset=2)  # if r0 > data_end goto out
            + move(4, 0xAB)
            + store(1, R2, 0, 4)
            + returning(3)
        )
        packet = bytes(range(64))
        with Program.load(ProgramType.XDP, insns, name="touch") as program:
            run = program.test_run(data=packet)
            assert run.retval == 3
            assert run.data_out == b"\xab" + packet[1:]
            assert run.ctx_out == b""

    def test_flow_dissector_reads_packets(self) -> None:
        with Program.load(
            ProgramType.FLOW_DISSECTOR,
            returning(0),
            expected_attach_type=AttachType.FLOW_DISSECTOR,
        ) as program:
            packet = b"\xff" * 12 + struct.pack("!H", socket.AF_INET) + bytes(50)
            run = program.test_run(data=packet)
            assert run.retval == 0
            assert len(run.data_out) > 0  # struct bpf_flow_keys

    def test_type_that_the_kernel_cannot_test_is_unsupported(self) -> None:
        with (
            Program.load(
                ProgramType.CGROUP_SOCK,
                returning(1),
                expected_attach_type=AttachType.CGROUP_INET_SOCK_CREATE,
            ) as program,
            pytest.raises(UnsupportedError, match="cannot test programs of the type cgroup_sock"),
        ):
            program.test_run(data=bytes(64))


class TestStatistics:
    def test_runs_are_counted_while_statistics_are_enabled(self) -> None:
        with lookup_program(returning(1)) as program:
            assert program.info().mean_ns is None
            with enable_stats():
                program.test_run(lookup_context(), repeat=50)
            program.test_run(lookup_context(), repeat=1000)
            info = program.info()
            # Somebody else may have statistics enabled all the time.
            assert info.run_cnt in (50, 1050)
            assert info.run_time_ns > 0
            assert info.mean_ns == info.run_time_ns / info.run_cnt
