"""What happens without the capabilities: tried in forked processes that lack them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from inet_lookup.bpf import (
    FEATURES,
    AttachType,
    Btf,
    Map,
    MapType,
    NetnsLink,
    Program,
    ProgramType,
    enable_stats,
    features,
    links_of,
    program_ids,
    query,
)
from inet_lookup.bpf.privileges import (
    Capability,
    effective_capabilities,
    missing_capabilities,
    unprivileged_bpf_disabled,
)
from inet_lookup.net.namespaces import Namespace
from support.instructions import returning
from support.unprivileged import run_with

pytestmark = pytest.mark.kernel

BPF, NET_ADMIN, SYS_ADMIN = (
    Capability.CAP_BPF,
    Capability.CAP_NET_ADMIN,
    Capability.CAP_SYS_ADMIN,
)
NOBODY = 65534


ATTACH_TYPES = {
    ProgramType.SK_LOOKUP: AttachType.SK_LOOKUP,
    ProgramType.FLOW_DISSECTOR: AttachType.FLOW_DISSECTOR,
}


def load(type: ProgramType = ProgramType.SK_LOOKUP) -> Program:
    return Program.load(
        type,
        returning(0),
        expected_attach_type=ATTACH_TYPES.get(type),
        name="steer",
        license="GPL",
    )


def make(type: MapType) -> Map:
    return Map.create(type, key_size=4, value_size=8, max_entries=1, name="servers")


def opened(make: Callable[[], Map | Program | NetnsLink]) -> Callable[[], str]:
    """The call, as something to run in another process: what it opens stays there."""

    def call() -> str:
        with make() as handle:
            return repr(handle.closed)

    return call


@pytest.mark.parametrize(
    ("type", "held", "missing"),
    [
        (ProgramType.SK_LOOKUP, (NET_ADMIN,), "CAP_BPF"),
        (ProgramType.FLOW_DISSECTOR, (), "CAP_BPF and CAP_NET_ADMIN"),
        (ProgramType.FLOW_DISSECTOR, (BPF,), "CAP_NET_ADMIN"),
        (ProgramType.KPROBE, (BPF, NET_ADMIN), "CAP_PERFMON"),
    ],
)
def test_loading_a_program_names_the_missing_capabilities(
    type: ProgramType, held: tuple[Capability, ...], missing: str
) -> None:
    outcome = run_with(opened(lambda: load(type)), held)
    assert outcome.error == "PrivilegeError"
    assert outcome.text.startswith(
        f"load program 'steer' ({type.label}): EPERM: the process lacks {missing}"
    )
    assert outcome.hint == f"run it as root, or give it {missing}"


@pytest.mark.parametrize("held", [(BPF,), (SYS_ADMIN,)])
def test_these_capabilities_suffice_to_load(held: tuple[Capability, ...]) -> None:
    assert run_with(opened(load), held).value == "False"


@pytest.mark.parametrize(
    ("held", "missing"),
    [((), "CAP_BPF and CAP_NET_ADMIN"), ((BPF,), "CAP_NET_ADMIN")],
)
def test_making_a_sock_map_names_the_missing_capabilities(
    held: tuple[Capability, ...], missing: str
) -> None:
    outcome = run_with(opened(lambda: make(MapType.SOCKMAP)), held)
    assert outcome.error == "PrivilegeError"
    assert f"'servers' (sockmap): EPERM: the process lacks {missing}" in outcome.text


def test_setting_that_refuses_maps_is_named() -> None:
    disabled = unprivileged_bpf_disabled()
    outcome = run_with(opened(lambda: make(MapType.ARRAY)), (NET_ADMIN,))
    if disabled:
        assert outcome.error == "PrivilegeError"
        assert f"lacks CAP_BPF, and kernel.unprivileged_bpf_disabled is {disabled}" in outcome.text
    else:
        assert outcome.value == "False"


def test_other_user_is_refused_like_root_without_capabilities() -> None:
    outcome = run_with(opened(load), uid=NOBODY)
    assert outcome.error == "PrivilegeError"
    assert "CAP_BPF" in outcome.text


def test_attaching_needs_no_more_than_the_program(netns: Namespace) -> None:
    with load() as program:
        attach = opened(lambda: NetnsLink.create(program, netns.fileno(), AttachType.SK_LOOKUP))
        assert run_with(attach).value == "False"


def test_listing_programs_of_a_namespace_needs_net_admin(netns: Namespace) -> None:
    outcome = run_with(lambda: query(netns.fileno(), AttachType.SK_LOOKUP), (BPF,))
    assert outcome.error == "PrivilegeError"
    assert "lacks CAP_NET_ADMIN" in outcome.text


@pytest.mark.parametrize(
    "call",
    [
        lambda: enable_stats().close(),
        lambda: list(program_ids()),
        lambda: links_of(1, AttachType.SK_LOOKUP),
        lambda: Program.from_id(1).close(),
        lambda: Map.from_id(1).close(),
    ],
    ids=["statistics", "listing programs", "listing links", "program by id", "map by id"],
)
def test_looking_at_the_whole_system_needs_sys_admin(call: Callable[[], object]) -> None:
    outcome = run_with(call, (BPF, NET_ADMIN))
    assert outcome.error == "PrivilegeError"
    assert "lacks CAP_SYS_ADMIN" in outcome.text
    assert outcome.hint == "run it as root, or give it CAP_SYS_ADMIN"


def test_loading_types_needs_bpf() -> None:
    outcome = run_with(lambda: Btf.load(b"").close(), (NET_ADMIN,))
    assert outcome.error == "PrivilegeError"
    assert "load BTF: EPERM: the process lacks CAP_BPF" in outcome.text


def test_pin_of_another_user_is_refused(bpffs: Path) -> None:
    os.chmod(bpffs, 0o755)
    with make(MapType.ARRAY) as array:
        array.pin(bpffs / "servers")
        os.chmod(bpffs / "servers", 0o600)
    outcome = run_with(opened(lambda: Map.open_pinned(bpffs / "servers")), uid=NOBODY)
    assert outcome.error == "PrivilegeError"
    assert outcome.text.endswith("EACCES: the permissions of the path do not allow it")
    assert "CAP_DAC_OVERRIDE" in outcome.hint


def test_probe_without_privileges_does_not_guess() -> None:
    def probe() -> list[str]:
        unsure = []
        for feature in FEATURES:
            feature._supported = None
            try:
                _ = feature.supported
            except Exception as error:
                unsure.append(f"{feature.name}: {type(error).__name__}")
        return unsure

    outcome = run_with(probe)
    assert isinstance(outcome.value, list)
    assert f"{features.SK_LOOKUP.name}: PrivilegeError" in outcome.value
    assert all(line.endswith(": PrivilegeError") for line in outcome.value)


def test_held_capabilities_are_those_of_the_calling_thread() -> None:
    def held() -> list[str]:
        return [capability.name for capability in missing_capabilities(Capability)]

    assert run_with(held, (BPF,)).value == [
        "CAP_DAC_OVERRIDE",
        "CAP_NET_ADMIN",
        "CAP_SYS_PTRACE",
        "CAP_SYS_ADMIN",
        "CAP_PERFMON",
    ]
    assert run_with(effective_capabilities, (BPF, NET_ADMIN)).value == 1 << 39 | 1 << 12
    assert missing_capabilities(Capability) == []
