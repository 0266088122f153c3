"""What this machine can do, each thing with its mend where it cannot.

Features of the kernel are found by trying them, see :mod:`inet_lookup.bpf.features`.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from ..bpf.kernel_version import running_kernel, show
from ..bpf.pins import default_bpffs, is_bpffs, require_bpffs
from ..bpf.privileges import (
    Capability,
    in_initial_user_namespace,
    missing_capabilities,
    unprivileged_bpf_disabled,
)
from ..errors import BpffsError, KernelError

if TYPE_CHECKING:
    from ..bpf.features import Feature


class Status(StrEnum):
    """How a check came out."""

    OK = "ok"
    MISSING = "missing"
    UNKNOWN = "unknown"
    """It could not be tried, for want of a privilege."""


class Check(NamedTuple):
    """One thing that was looked at.

    :ivar group: ``kernel``, ``features``, ``privileges``, ``mounts``, ``software`` or ``settings``.
    :ivar name: what was looked at.
    :ivar status: how it came out.
    :ivar needed: whether steering sockets with pinned programs needs it.
    :ivar detail: what was found, or what it serves.
    :ivar mend: what to do where it is not there; None where there is nothing to mend.
    """

    group: str
    name: str
    status: Status
    needed: bool
    detail: str
    mend: str | None


def run_checks(*, bpffs: str | os.PathLike[str] | None = None) -> list[Check]:
    """Look at all of it. Nothing stays of what is tried.

    :param bpffs: where pins shall be; None for the machine's BPF file system.
    """
    return [
        _kernel(),
        *_features(),
        *_privileges(),
        _bpffs(bpffs),
        _cgroup2(),
        _compiler(),
        *_settings(),
    ]


def missing_for_steering(
    *,
    bpffs: str | os.PathLike[str] | None = None,
    pins: bool = True,
    compiler: bool = False,
) -> list[Check]:
    """What is not there of what steering sockets needs.

    :param bpffs: as for :func:`run_checks`.
    :param pins: whether programs shall be pinned, for which a BPF file system is needed.
    :param compiler: whether programs written in Python shall be compiled.
    """
    return [
        each
        for each in run_checks(bpffs=bpffs)
        if each.status is not Status.OK
        and (
            (each.needed and (pins or each.name != _BPFFS)) or (compiler and each.name == _LLVMLITE)
        )
    ]


_BPFFS: Final = "BPF file system"
_LLVMLITE: Final = "llvmlite"

_PRIVILEGES: Final = (
    (Capability.CAP_BPF, True, "loading programs and making maps"),
    (Capability.CAP_NET_ADMIN, True, "attaching programs to a network namespace"),
    (Capability.CAP_SYS_PTRACE, True, "taking sockets of other users' processes"),
    (Capability.CAP_SYS_ADMIN, True, "entering namespaces, and looking at others' programs"),
    (Capability.CAP_PERFMON, False, "programs that the verifier takes only from trusted users"),
)


def _kernel() -> Check:
    from ..bpf.features import SK_LOOKUP

    running = running_kernel()
    old = running < SK_LOOKUP.since
    return Check(
        "kernel",
        "Linux",
        # A distribution's kernel may have the hook all the same: the features below tell.
        Status.UNKNOWN if old else Status.OK,
        False,
        os.uname().release,
        f"run {show(SK_LOOKUP.since)} or newer" if old else None,
    )


def _features() -> list[Check]:
    from ..bpf import features

    needed = {
        features.SK_LOOKUP,
        features.NETNS_LINK,
        features.LINK_UPDATE,
        features.LINK_DETACH,
        features.SOCKET_COOKIES,
        features.PIDFD_GETFD,
    }
    return [_feature(each, each in needed) for each in features.FEATURES]


def _feature(feature: Feature, needed: bool) -> Check:
    since = show(feature.since)
    try:
        supported = feature.supported
    except KernelError as error:
        return Check(
            "features",
            feature.name,
            Status.UNKNOWN,
            needed,
            f"{feature.why}; not tried: {error.meaning or error.errno_name}",
            error.hint,
        )
    if supported:
        return Check("features", feature.name, Status.OK, needed, feature.why, None)
    if running_kernel() < feature.since:
        mend = f"run {since} or newer"
    else:
        mend = "the kernel's configuration or a security policy leaves it out"
    return Check("features", feature.name, Status.MISSING, needed, feature.why, mend)


def _privileges() -> list[Check]:
    found = []
    contained = not in_initial_user_namespace()
    for capability, needed, why in _PRIVILEGES:
        held = not missing_capabilities([capability])
        counts = held and not contained
        if counts:
            mend = None
        elif held:
            mend = "start it outside of the container or user namespace, where it does not count"
        else:
            mend = f"run it as root, or give it {capability.name}"
        found.append(
            Check(
                "privileges",
                capability.name,
                Status.OK if counts else Status.MISSING,
                needed,
                why,
                mend,
            )
        )
    return found


def _bpffs(wanted: str | os.PathLike[str] | None) -> Check:
    try:
        if wanted is None:
            path = default_bpffs()
        else:
            path = os.fspath(wanted)
            require_bpffs(path, f"use {path} for pins")
            if not is_bpffs(path):
                return Check(
                    "mounts", _BPFFS, Status.MISSING, True, f"no directory {path}", f"mkdir {path}"
                )
    except BpffsError as error:
        return Check("mounts", _BPFFS, Status.MISSING, True, error.meaning or "", error.hint)
    return Check("mounts", _BPFFS, Status.OK, True, path, None)


def _cgroup2() -> Check:
    name = "cgroup v2"
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                _, mountpoint, kind, *_ = line.split(" ")
                if kind == "cgroup2":
                    return Check("mounts", name, Status.OK, False, mountpoint, None)
    except OSError:
        pass
    return Check(
        "mounts",
        name,
        Status.MISSING,
        False,
        "noticing servers when they begin to listen",
        "mount it: mount -t cgroup2 none /sys/fs/cgroup",
    )


def _compiler() -> Check:
    # Its version is read without importing it, which takes longer than all of the rest.
    from importlib.metadata import PackageNotFoundError, version

    try:
        detail = version("llvmlite")
    except PackageNotFoundError:
        return Check(
            "software",
            _LLVMLITE,
            Status.MISSING,
            False,
            "compiling programs written in Python",
            "pip install 'inet-lookup[compiler]'",
        )
    return Check("software", _LLVMLITE, Status.OK, False, detail, None)


def _settings() -> list[Check]:
    jit = _sysctl("net/core/bpf_jit_enable")
    counted = _sysctl("kernel/bpf_stats_enabled")
    disabled = unprivileged_bpf_disabled()
    return [
        Check(
            "settings",
            "net.core.bpf_jit_enable",
            Status.UNKNOWN if jit is None else Status.OK if jit != "0" else Status.MISSING,
            False,
            "programs run as machine code" if jit != "0" else "programs are interpreted",
            None if jit != "0" else "sysctl net.core.bpf_jit_enable=1",
        ),
        Check(
            "settings",
            "kernel.bpf_stats_enabled",
            Status.OK,
            False,
            "runs of programs are counted"
            if counted not in (None, "0")
            else "runs of programs are not counted; sysctl kernel.bpf_stats_enabled=1 counts them",
            None,
        ),
        Check(
            "settings",
            "kernel.unprivileged_bpf_disabled",
            Status.UNKNOWN if disabled is None else Status.OK,
            False,
            "only with CAP_BPF" if disabled else "users without privileges may load filters",
            None,
        ),
    ]


def _sysctl(name: str) -> str | None:
    try:
        with open(f"/proc/sys/{name}", encoding="ascii") as setting:
            return setting.read().strip()
    except OSError:
        return None
