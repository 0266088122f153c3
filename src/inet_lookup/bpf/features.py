"""What the running kernel can do, found by trying once and remembered.

Versions are for messages only: distributions backport, and configurations leave things out. A probe
makes what it asks for in the smallest form and removes it at once; nothing is attached to a
namespace, and no traffic is touched. Probes of the same kind need the same capabilities as the
feature itself; without them :attr:`Feature.supported` raises instead of guessing.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

from ..errors import CapacityError, KernelError, PrivilegeError, UnsupportedError
from . import attr
from .failures import failure
from .kernel_btf import Btf
from .kernel_version import running_kernel, show
from .links import NetnsLink
from .maps import Map
from .privileges import Capability
from .programs import Program
from .run_statistics import enable_stats
from .syscall import bpf
from .uapi import AttachType, Command, MapFlags, MapType, ProgramType

if TYPE_CHECKING:
    from collections.abc import Callable


class Feature:
    """Something that kernels have since some version.

    :param name: a short name.
    :param since: the version of Linux that brought it.
    :param why: what it serves here.
    :param probe: does it in the smallest form; raises :class:`KernelError` where it does not work.
    """

    def __init__(
        self, name: str, since: tuple[int, int], why: str, probe: Callable[[], None]
    ) -> None:
        self.name = name
        self.since = since
        self.why = why
        self._probe = probe
        self._supported: bool | None = None

    @property
    def supported(self) -> bool:
        """Whether the running kernel has it; tried once in a process.

        :raises PrivilegeError: the process may not try it.
        :raises CapacityError: it was not tried for want of memory or descriptors.
        """
        if self._supported is None:
            try:
                self._probe()
            except (PrivilegeError, CapacityError):
                raise
            except KernelError:
                self._supported = False
            else:
                self._supported = True
        return self._supported

    def require(self, operation: str) -> None:
        """Refuse an operation that rests on it.

        :raises UnsupportedError: the running kernel does not have it.
        """
        if self.supported:
            return
        running = running_kernel()
        if running < self.since:
            hint = f"run {show(self.since)} or newer; this is {show(running)}"
        else:
            hint = f"this is {show(running)}, so its configuration or a security policy lacks it"
        raise UnsupportedError(
            operation,
            errno.EOPNOTSUPP,
            f"the kernel has no {self.name} (since {show(self.since)})",
            hint=hint,
        )

    def __repr__(self) -> str:
        return f"<Feature {self.name!r} since {show(self.since)}>"


# Programs for probes, assembled by hand: struct bpf_insn is opcode, registers, offset, immediate.
def _insn(opcode: int, dst: int = 0, src: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("=BBhi", opcode, _registers(dst, src), offset, immediate)


def _registers(dst: int, src: int) -> int:
    # Bit fields: the destination is in the low half on little-endian machines, else in the high.
    return src << 4 | dst if struct.pack("=H", 1)[0] else dst << 4 | src


_MOV64_IMM: Final = 0xB7
_ADD64_IMM: Final = 0x07
_LDX_W: Final = 0x61
_JNE32_IMM: Final = 0x56
_JLT64_IMM: Final = 0xA5
_BSWAP64: Final = 0xD7
_EXIT: Final = 0x95

_PASS: Final = _insn(_MOV64_IMM, immediate=1) + _insn(_EXIT)


def _lookup_program(insns: bytes) -> Program:
    return Program.load(
        ProgramType.SK_LOOKUP, insns, expected_attach_type=AttachType.SK_LOOKUP, name="probe"
    )


def _loads(insns: bytes) -> Callable[[], None]:
    return lambda: _lookup_program(insns).close()


def _creates(
    type: MapType,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: MapFlags = MapFlags(0),  # noqa: B008 (immutable)
) -> Callable[[], None]:
    return lambda: Map.create(
        type,
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        flags=flags,
        name="probe",
    ).close()


def _knows(command: Command, request: ctypes.Structure) -> Callable[[], None]:
    """A kernel that knows a command objects to the descriptor, another to the command."""

    def probe() -> None:
        try:
            bpf(command, request)
        except OSError as error:
            if error.errno == errno.EBADF:
                return
            raise failure(error, f"probe {command.name}") from error

    return probe


_NO_FD: Final = 0xFFFFFFFF


def _link(type: ProgramType, attach_type: AttachType) -> Callable[[], None]:
    def probe() -> None:
        with Program.load(type, _PASS, expected_attach_type=attach_type, name="probe") as program:
            try:
                NetnsLink.create(program, _NO_FD, attach_type).close()
            except KernelError as error:
                if error.errno != errno.EBADF:
                    raise

    return probe


def _map_batches() -> None:
    with Map.create(MapType.HASH, key_size=4, value_size=4, max_entries=1, name="probe") as probe:
        request = attr.MapBatch(map_fd=probe.fd)
        try:
            bpf(Command.MAP_UPDATE_BATCH, request)
        except OSError as error:
            raise failure(error, "probe MAP_UPDATE_BATCH") from error


def _memory_mapping() -> None:
    with (
        Map.create(
            MapType.ARRAY,
            key_size=4,
            value_size=8,
            max_entries=1,
            flags=MapFlags.MMAPABLE,
            name="probe",
        ) as array,
        array.mmap(),
    ):
        pass


def _line_info() -> None:
    # int probe(void), then a string section with names, a file name and a line.
    strings = b"\0int\0probe\0probe.c\0return 1;\0"
    types = (
        struct.pack("=IIII", 1, 1 << 24, 4, 1 << 24 | 32)
        + struct.pack("=III", 0, 13 << 24, 1)
        + struct.pack("=III", 5, 12 << 24, 2)
    )
    header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    with (
        Btf.load(header + types + strings) as btf,
        Program.load(
            ProgramType.SOCKET_FILTER,
            _PASS,
            name="probe",
            btf=btf,
            func_info=struct.pack("=II", 0, 3),
            line_info=struct.pack("=IIII", 0, 11, 19, 1 << 10 | 1),
        ),
    ):
        pass


def _lookup_test_run() -> None:
    with _lookup_program(_PASS) as program:
        # struct bpf_sk_lookup up to ingress_ifindex: 64 bytes on every kernel that can do this.
        program.test_run(
            struct.pack("=QII", 0, socket.AF_INET, socket.IPPROTO_TCP).ljust(64, b"\0")
        )


def _replaceable_inner_array() -> None:
    def inner(entries: int) -> Map:
        return Map.create(
            MapType.ARRAY,
            key_size=4,
            value_size=4,
            max_entries=entries,
            flags=MapFlags.INNER_MAP,
            name="probe",
        )

    with (
        inner(1) as small,
        inner(2) as large,
        Map.create(
            MapType.ARRAY_OF_MAPS,
            key_size=4,
            value_size=4,
            max_entries=1,
            inner=small,
            name="probe",
        ) as outer,
    ):
        outer.update(0, large)


_PIDFD_GETFD: Final = 438  # the same on every architecture


def _pidfd_getfd() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(ctypes.c_long(_PIDFD_GETFD), ctypes.c_int(-1), ctypes.c_int(-1), ctypes.c_uint(0))
    number = ctypes.get_errno()
    if number != errno.EBADF:
        raise failure(
            OSError(number, os.strerror(number)),
            "probe pidfd_getfd",
            capabilities=(Capability.CAP_SYS_PTRACE,),
        )


SK_LOOKUP: Final = Feature(
    "socket lookup programs", (5, 9), "everything here rests on them", _loads(_PASS)
)
NETNS_LINK: Final = Feature(
    "links to a network namespace",
    (5, 9),
    "attaching a program",
    _link(ProgramType.SK_LOOKUP, AttachType.SK_LOOKUP),
)
FLOW_DISSECTOR_LINK: Final = Feature(
    "links of flow dissector programs",
    (5, 8),
    "attaching a flow dissector",
    _link(ProgramType.FLOW_DISSECTOR, AttachType.FLOW_DISSECTOR),
)
LINK_UPDATE: Final = Feature(
    "replacing the program of a link",
    (5, 8),
    "an upgrade without a gap",
    _knows(Command.LINK_UPDATE, attr.LinkUpdate(_NO_FD, _NO_FD)),
)
LINK_DETACH: Final = Feature(
    "detaching a link",
    (5, 9),
    "detaching a program that others hold or have pinned",
    _knows(Command.LINK_DETACH, attr.LinkDetach(_NO_FD)),
)
INGRESS_IFINDEX: Final = Feature(
    "ingress_ifindex in the context",
    (5, 17),
    "matching the interface that a packet came in by",
    _loads(_insn(_LDX_W, 0, 1, 64) + _PASS),
)
SOCKET_COOKIES: Final = Feature(
    "socket cookies in sock maps (value_size 8)",
    (5, 7),
    "telling which socket is in a slot",
    _creates(MapType.SOCKMAP, 4, 8, 1),
)
MAP_BATCHES: Final = Feature(
    "batch calls on maps", (5, 6), "writing many entries at once", _map_batches
)
MAP_MMAP: Final = Feature(
    "memory-mapped arrays", (5, 5), "filling large tables quickly", _memory_mapping
)
MAP_FREEZE: Final = Feature(
    "frozen maps",
    (5, 2),
    "constants that the verifier knows",
    _knows(Command.MAP_FREEZE, attr.MapElement(_NO_FD)),
)
REPLACEABLE_INNER_ARRAYS: Final = Feature(
    "inner arrays of differing size",
    (5, 10),
    "replacing a table by a larger one",
    _replaceable_inner_array,
)
LINE_INFO: Final = Feature(
    "BTF line info", (5, 0), "source lines in listings and in the verifier's log", _line_info
)
RING_BUFFER: Final = Feature(
    "ring buffers",
    (5, 8),
    "events from programs",
    _creates(MapType.RINGBUF, 0, 0, os.sysconf("SC_PAGESIZE")),
)
RUN_STATISTICS: Final = Feature(
    "run statistics by a descriptor",
    (5, 8),
    "run counts and mean run times",
    lambda: enable_stats().close(),
)
LOOKUP_TEST_RUN: Final = Feature(
    "test runs of socket lookup programs",
    (5, 13),
    "explaining and measuring a lookup without traffic",
    _lookup_test_run,
)
BOUNDED_LOOPS: Final = Feature(
    "bounded loops",
    (5, 3),
    "loops in programs that are not unrolled",
    _loads(
        _insn(_MOV64_IMM) + _insn(_ADD64_IMM, immediate=1) + _insn(_JLT64_IMM, 0, 0, -2, 4) + _PASS
    ),
)
JUMP32: Final = Feature(
    "32-bit jumps (instruction set v3)",
    (5, 1),
    "smaller and faster programs",
    _loads(_insn(_MOV64_IMM) + _insn(_JNE32_IMM) + _PASS),
)
INSTRUCTIONS_V4: Final = Feature(
    "instruction set v4",
    (6, 6),
    "byte swaps and sign extensions in one instruction",
    _loads(_insn(_MOV64_IMM) + _insn(_BSWAP64, immediate=64) + _PASS),
)
PIDFD_GETFD: Final = Feature(
    "pidfd_getfd()", (5, 6), "taking sockets of running processes", _pidfd_getfd
)

FEATURES: Final = (
    SK_LOOKUP,
    NETNS_LINK,
    LINK_UPDATE,
    LINK_DETACH,
    SOCKET_COOKIES,
    INGRESS_IFINDEX,
    LOOKUP_TEST_RUN,
    PIDFD_GETFD,
    RUN_STATISTICS,
    LINE_INFO,
    MAP_BATCHES,
    MAP_MMAP,
    MAP_FREEZE,
    REPLACEABLE_INNER_ARRAYS,
    RING_BUFFER,
    BOUNDED_LOOPS,
    JUMP32,
    INSTRUCTIONS_V4,
    FLOW_DISSECTOR_LINK,
)
"""All features that are probed, what matters most first."""
