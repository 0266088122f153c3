"""Programs: loading, what the kernel knows of one, and running it on a context made by hand."""

from __future__ import annotations

import errno
from ctypes import addressof
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from ..errors import CapacityError, KernelError, UnsupportedError, VerifierError
from . import attr, verifier_log
from .failures import Failure, Since, failure
from .kernel_object import KernelObject, next_ids, read_info
from .privileges import Capability
from .syscall import bpf
from .uapi import ENOTSUPP, INSN_SIZE, AttachType, Command, ProgramFlags, ProgramType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .kernel_btf import Btf
    from .source_line import SourceLine

_SINCE: Final[Mapping[ProgramType, tuple[int, int]]] = {
    ProgramType.SOCKET_FILTER: (3, 19),
    ProgramType.SCHED_CLS: (4, 1),
    ProgramType.XDP: (4, 8),
    ProgramType.CGROUP_SKB: (4, 10),
    ProgramType.CGROUP_SOCK: (4, 10),
    ProgramType.SOCK_OPS: (4, 13),
    ProgramType.SK_SKB: (4, 14),
    ProgramType.SK_MSG: (4, 17),
    ProgramType.CGROUP_SOCK_ADDR: (4, 17),
    ProgramType.SK_REUSEPORT: (4, 19),
    ProgramType.FLOW_DISSECTOR: (4, 20),
    ProgramType.CGROUP_SOCKOPT: (5, 3),
    ProgramType.TRACING: (5, 5),
    ProgramType.SK_LOOKUP: (5, 9),
    ProgramType.SYSCALL: (5, 14),
}
# kernel/bpf/syscall.c, is_net_admin_prog_type() and is_perfmon_prog_type(). Socket lookup programs
# are in neither: CAP_BPF loads them, and the sock maps that they use ask for CAP_NET_ADMIN.
_NEEDS_NET_ADMIN: Final = frozenset(
    {
        ProgramType.SCHED_CLS,
        ProgramType.SCHED_ACT,
        ProgramType.XDP,
        ProgramType.LWT_IN,
        ProgramType.LWT_OUT,
        ProgramType.LWT_XMIT,
        ProgramType.LWT_SEG6LOCAL,
        ProgramType.SK_SKB,
        ProgramType.SK_MSG,
        ProgramType.LIRC_MODE2,
        ProgramType.FLOW_DISSECTOR,
        ProgramType.CGROUP_DEVICE,
        ProgramType.CGROUP_SOCK,
        ProgramType.CGROUP_SOCK_ADDR,
        ProgramType.CGROUP_SOCKOPT,
        ProgramType.CGROUP_SYSCTL,
        ProgramType.SOCK_OPS,
        ProgramType.EXT,
        ProgramType.NETFILTER,
    }
)
_NEEDS_PERFMON: Final = frozenset(
    {
        ProgramType.KPROBE,
        ProgramType.TRACEPOINT,
        ProgramType.PERF_EVENT,
        ProgramType.RAW_TRACEPOINT,
        ProgramType.RAW_TRACEPOINT_WRITABLE,
        ProgramType.TRACING,
        ProgramType.LSM,
        ProgramType.STRUCT_OPS,
        ProgramType.EXT,
    }
)

# More than the longest context that a test run takes, struct __sk_buff with its 192 bytes.
_CTX_ROOM: Final = 512

# UINT_MAX >> 2 (kernel/bpf/log.c); UINT_MAX >> 8 before Linux 5.2.
_LOG_SIZES: Final = (1 << 16, 1 << 19, 1 << 22, (1 << 24) - 1, 1 << 27, (1 << 30) - 1)


class ProgramInfo(NamedTuple):
    """What the kernel tells about a program (``struct bpf_prog_info``)."""

    id: int
    type: ProgramType
    name: str
    tag: str
    """The kernel's checksum of the instructions in hex. Compare it only with the kernel's own: how
    it is computed differs between kernels."""
    load_time: int
    """When it was loaded: nanoseconds of ``CLOCK_BOOTTIME``."""
    uid: int
    """User id of the process that loaded it."""
    gpl_compatible: bool
    map_ids: tuple[int, ...]
    xlated_insns: int
    """Instructions after the verifier's rewriting; 0 without the privilege to see them."""
    jited_size: int
    """Bytes of machine code; 0 where the program is interpreted."""
    verified_insns: int
    """Instructions that the verifier walked through (Linux 5.16), 0 before."""
    btf_id: int
    run_time_ns: int
    """Time spent in the program while statistics were enabled (:func:`enable_stats`)."""
    run_cnt: int
    """Runs while statistics were enabled."""
    recursion_misses: int

    @property
    def jited(self) -> bool:
        """Whether it runs as machine code."""
        return self.jited_size > 0

    @property
    def mean_ns(self) -> float | None:
        """Mean time of a run in nanoseconds, None where no run was counted."""
        return self.run_time_ns / self.run_cnt if self.run_cnt else None


class ProgramLine(NamedTuple):
    """Where a stretch of a loaded program's instructions comes from (``struct bpf_line_info``)."""

    instruction: int
    """Index of its first instruction, after the verifier's rewriting."""
    source: SourceLine


class TestRun(NamedTuple):
    """The outcome of a test run."""

    retval: int
    """What the program returned, as an unsigned 32-bit number."""
    duration_ns: int
    """Mean time of one run, rounded to a nanosecond."""
    ctx_out: bytes
    data_out: bytes


# Not a test class, whatever pytest makes of the name.
TestRun.__test__ = False  # type: ignore[attr-defined]


class Program(KernelObject):
    """A loaded BPF program. Make one with :meth:`load`, or ``open_pinned`` or ``from_id``."""

    kind = "program"
    fd_by_id = Command.PROG_GET_FD_BY_ID
    inode_names = ("bpf-prog",)

    id: int
    type: ProgramType
    name: str

    @classmethod
    def load(
        cls,
        type: ProgramType,
        insns: bytes,
        *,
        expected_attach_type: AttachType | None = None,
        name: str = "",
        license: str = "",
        btf: Btf | None = None,
        func_info: bytes = b"",
        func_info_rec_size: int = 8,
        line_info: bytes = b"",
        line_info_rec_size: int = 16,
        attach_btf_id: int = 0,
        attach_fd: int = 0,
        flags: ProgramFlags = ProgramFlags(0),  # noqa: B008 (immutable)
        source_of: Callable[[int], SourceLine | None] | None = None,
    ) -> Self:
        """Have the kernel verify and load a program (``BPF_PROG_LOAD``).

        :param insns: instructions of 8 bytes, file descriptors of maps already put in.
        :param name: for people; the kernel keeps 15 characters of it.
        :param license: what helpers reserved for GPL-compatible programs ask for, such as ``GPL``.
        :param btf: the kernel's BTF object that ``func_info`` and ``line_info`` refer to
            (Linux 5.0).
        :param attach_fd: for a program that extends another: that program, or a BTF object.
        :param source_of: from the index of an instruction to the source line it came from, for the
            message when the verifier rejects it. Without it, the line that the verifier quotes.
        :raises VerifierError: the verifier rejects it; has the whole log.
        :raises PrivilegeError: a capability is missing: CAP_BPF for a socket lookup program,
            CAP_NET_ADMIN or CAP_PERFMON beside it for some other types.
        :raises UnsupportedError: the kernel is older than the program type.
        :raises KernelError: otherwise.
        :raises ValueError: the instructions or records are not a multiple of their size.
        """
        program_type = ProgramType(type)
        for what, data, size in (
            ("insns", insns, INSN_SIZE),
            ("func_info", func_info, func_info_rec_size),
            ("line_info", line_info, line_info_rec_size),
        ):
            if len(data) % size:
                raise ValueError(f"{what} has {len(data)} bytes, not a multiple of {size}")
        license_text = license.encode() + b"\0"
        request = attr.ProgLoad(
            prog_type=program_type,
            insn_cnt=len(insns) // INSN_SIZE,
            insns=attr.address(insns),
            license=attr.address(license_text),
            prog_flags=flags,
            prog_name=attr.object_name(name),
            expected_attach_type=expected_attach_type or 0,
            prog_btf_fd=btf.fd if btf is not None else 0,
            attach_btf_id=attach_btf_id,
            attach_prog_fd=attach_fd,
        )
        if func_info:
            request.func_info = attr.address(func_info)
            request.func_info_cnt = len(func_info) // func_info_rec_size
            request.func_info_rec_size = func_info_rec_size
        if line_info:
            request.line_info = attr.address(line_info)
            request.line_info_cnt = len(line_info) // line_info_rec_size
            request.line_info_rec_size = line_info_rec_size
        operation = f"load program {name!r} ({program_type.label})"
        try:
            return cls(bpf(Command.PROG_LOAD, request))
        except OSError as error:
            fd, log = _load_with_log(request)
            if fd is None:
                raise _load_failure(error, operation, request, log, source_of) from error
            return cls(fd)

    def _describe(self) -> None:
        raw = read_info(self.fd, attr.ProgInfoStruct(), "read a program's info")
        self.id = raw.id
        self.type = ProgramType(raw.type)
        self.name = raw.name.decode()

    def __repr__(self) -> str:
        if self.closed:
            return "<Program closed>"
        if "name" not in self.__dict__:
            return super().__repr__()
        return f"<Program {self.name!r} {self.type.label} id={self.id} fd={self._fd}>"

    def _do(self, what: str) -> str:
        return f"{what} program {self.name!r} ({self.type.label})"

    def info(self) -> ProgramInfo:
        """What the kernel knows of the program now."""
        operation = self._do("read the info of")
        raw = read_info(self.fd, attr.ProgInfoStruct(), operation)
        map_ids: tuple[int, ...] = ()
        if raw.nr_map_ids:
            # The maps a program uses are fixed at load time, except for those that
            # BPF_PROG_BIND_MAP adds later: then what fits is returned.
            count = raw.nr_map_ids
            room = attr.buffer(4 * count)
            with_maps = attr.ProgInfoStruct(nr_map_ids=count, map_ids=addressof(room))
            read_info(self.fd, with_maps, operation)
            map_ids = tuple(
                memoryview(room).cast("B").cast("I")[: min(count, with_maps.nr_map_ids)]
            )
        return ProgramInfo(
            id=raw.id,
            type=ProgramType(raw.type),
            name=raw.name.decode(),
            tag=bytes(raw.tag).hex(),
            load_time=raw.load_time,
            uid=raw.created_by_uid,
            gpl_compatible=bool(raw.gpl_compatible),
            map_ids=map_ids,
            xlated_insns=raw.xlated_prog_len // INSN_SIZE,
            jited_size=raw.jited_prog_len,
            verified_insns=raw.verified_insns,
            btf_id=raw.btf_id,
            run_time_ns=raw.run_time_ns,
            run_cnt=raw.run_cnt,
            recursion_misses=raw.recursion_misses,
        )

    def source_lines(self) -> list[ProgramLine]:
        """The source lines that the program was loaded with, as the kernel has them (Linux 5.0).

        Empty where it was loaded without line info.

        :raises PrivilegeError: without CAP_SYS_ADMIN, which reading another's BTF needs.
        """
        from .program_lines import read_lines

        return read_lines(self)

    def test_run(
        self,
        ctx: bytes | None = None,
        *,
        data: bytes | None = None,
        repeat: int = 1,
        ctx_out_size: int | None = None,
        data_out_size: int | None = None,
    ) -> TestRun:
        """Run the program in the calling thread's network namespace (``BPF_PROG_TEST_RUN``).

        A socket lookup program takes a context: ``struct bpf_sk_lookup``, its cookie and its
        ``ingress_ifindex`` zero, and the cookie of the selected socket comes back in ``ctx_out``
        (Linux 5.13). Programs on packets take ``data``, from the Ethernet header on.

        Runs count in the program's maps and statistics like real ones.

        :param repeat: how often; the time is the mean, and what comes back is of the last run.
        :param ctx_out_size: room for the context to return; enough for the kernel's, when None.
            ``ctx`` may be shorter than the kernel's context, what comes back is not.
        :param data_out_size: bytes of the data to return; as many as ``data`` has and 256 more,
            when None.
        :raises UnsupportedError: the kernel cannot test programs of this type.
        :raises KernelError: the context or the data is refused; ``EOPNOTSUPP`` where a lookup
            program selected a socket with SO_REUSEPORT without the flag NO_REUSEPORT.
        """
        if ctx_out_size is None:
            ctx_out_size = max(len(ctx), _CTX_ROOM) if ctx is not None else 0
        if data_out_size is None:
            data_out_size = len(data) + 256 if data is not None else 0
        ctx_out = attr.buffer(ctx_out_size)
        data_out = attr.buffer(data_out_size)
        request = attr.ProgTestRun(prog_fd=self.fd, repeat=repeat)
        if ctx is not None:
            request.ctx_in = attr.address(ctx)
            request.ctx_size_in = len(ctx)
        if ctx_out_size:
            request.ctx_out = addressof(ctx_out)
            request.ctx_size_out = ctx_out_size
        if data is not None:
            request.data_in = attr.address(data)
            request.data_size_in = len(data)
        if data_out_size:
            request.data_out = addressof(data_out)
            request.data_size_out = data_out_size
        try:
            bpf(Command.PROG_TEST_RUN, request)
        except OSError as error:
            raise failure(
                error,
                self._do("test"),
                meanings=_test_meanings(self.type),
                capabilities=(Capability.CAP_BPF,),
                since=_TEST_SINCE.get(self.type, Since("testing a program", (4, 12))),
            ) from error
        return TestRun(
            retval=request.retval,
            duration_ns=request.duration,
            ctx_out=bytes(ctx_out)[: request.ctx_size_out] if ctx_out_size else b"",
            data_out=bytes(data_out)[: request.data_size_out] if data_out_size else b"",
        )


def program_ids() -> Iterator[int]:
    """The ids of all programs of the system.

    :raises PrivilegeError: without CAP_SYS_ADMIN.
    """
    return next_ids(Command.PROG_GET_NEXT_ID, "program")


def _load_with_log(request: attr.ProgLoad) -> tuple[int | None, str]:
    """Load once more for the log: the descriptor if it succeeds this time, and the log."""
    log = ""
    needed = 0
    for size in _LOG_SIZES:
        if size < needed:
            continue
        room = attr.buffer(size)
        request.log_level = 1
        request.log_size = size
        request.log_buf = addressof(room)
        request.log_true_size = 0
        try:
            return bpf(Command.PROG_LOAD, request), ""
        except OSError as error:
            text = room.value.decode(errors="replace")
            # Before 5.2 a larger buffer than 16 MiB is EINVAL without a log.
            if text:
                log = text
            if error.errno != errno.ENOSPC:
                break
            needed = request.log_true_size
        finally:
            request.log_buf = request.log_size = request.log_level = 0
    return None, log


def _load_failure(
    error: OSError,
    operation: str,
    request: attr.ProgLoad,
    log: str,
    source_of: Callable[[int], SourceLine | None] | None,
) -> KernelError:
    if log.strip():
        place = None
        index = verifier_log.rejected_instruction(log)
        if source_of is not None and index is not None:
            place = source_of(index)
        if place is None:
            place = verifier_log.commented_source(log)
        return VerifierError(
            operation,
            error.errno or errno.EINVAL,
            verifier_log.summary(log) or "the program is rejected",
            log=log,
            location=str(place) if place is not None else None,
            source=(place.text or None) if place is not None else None,
        )
    type = ProgramType(request.prog_type)
    return failure(
        error,
        operation,
        meanings={
            errno.E2BIG: Failure(
                f"{request.insn_cnt} instructions are more than the kernel takes",
                None,
                CapacityError,
            )
            if request.insn_cnt
            else Failure("it has no instructions"),
            errno.EINVAL: Failure(
                "the kernel knows no such program type, attach type or flag, or refuses the name "
                "or BTF"
            ),
            errno.EBADF: Failure("the BTF or attach descriptor is not open"),
        },
        capabilities=_capabilities(type),
        since=Since(f"the program type {type.label}", _SINCE.get(type, (0, 0))),
        charges_memory=True,
    )


def _capabilities(type: ProgramType) -> list[Capability]:
    needed = [Capability.CAP_BPF]
    if type in _NEEDS_NET_ADMIN:
        needed.append(Capability.CAP_NET_ADMIN)
    if type in _NEEDS_PERFMON:
        needed.append(Capability.CAP_PERFMON)
    return needed


_TEST_SINCE: Final[Mapping[ProgramType, Since]] = {
    ProgramType.SK_LOOKUP: Since("testing a socket lookup program", (5, 13)),
    ProgramType.FLOW_DISSECTOR: Since("testing a flow dissector program", (5, 0)),
}


def _test_meanings(type: ProgramType) -> dict[int, Failure]:
    meanings = {
        ENOTSUPP: Failure(
            f"the kernel cannot test programs of the type {type.label}", None, UnsupportedError
        ),
        errno.EINVAL: Failure("the kernel refuses the context or the data"),
        errno.E2BIG: Failure("the context is longer than the kernel's, and not zero there"),
        errno.EAFNOSUPPORT: Failure("the context's family is neither AF_INET nor AF_INET6"),
        errno.ENOSPC: Failure("the room for the returned context or data is too small"),
        errno.EFAULT: Failure("the kernel cannot read or write the context or the data"),
    }
    if type == ProgramType.SK_LOOKUP:
        meanings[errno.EINVAL] = Failure(
            "the kernel refuses the context",
            "it has the size of struct bpf_sk_lookup and no data beside it; the cookie and "
            "ingress_ifindex are zero",
        )
        meanings[errno.ERANGE] = Failure("the local port is above 65535")
        meanings[errno.EOPNOTSUPP] = Failure(
            "the program selected a socket with SO_REUSEPORT, and a test run does not look for "
            "the member of its group",
            "have the program select with the flag NO_REUSEPORT, or test with another socket",
        )
    return meanings
