from __future__ import annotations

import functools
import re
import subprocess

import pytest

from inet_lookup.bpf import AttachType, Command, Helper, MapType, ProgramType
from inet_lookup.bpf.uapi import LinkType

ENUMERATIONS = {
    "bpf_cmd": (Command, "BPF_"),
    "bpf_map_type": (MapType, "BPF_MAP_TYPE_"),
    "bpf_prog_type": (ProgramType, "BPF_PROG_TYPE_"),
    "bpf_attach_type": (AttachType, "BPF_"),
    "bpf_link_type": (LinkType, "BPF_LINK_TYPE_"),
    "bpf_func_id": (Helper, "BPF_FUNC_"),
}


@functools.cache
def kernel_enumerations() -> dict[str, dict[str, int]]:
    shown = subprocess.run(
        ["bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "c"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return {
        name: {constant: int(number) for constant, number in re.findall(r"(\w+) = (\d+)", body)}
        for name, body in re.findall(r"^enum (\w+) \{\n(.*?)\n\};", shown, re.S | re.M)
        if name in ENUMERATIONS
    }


@pytest.mark.kernel
@pytest.mark.requires_command("bpftool")
@pytest.mark.parametrize("name", ENUMERATIONS)
def test_numbers_are_those_of_the_running_kernel(name: str) -> None:
    """The kernel's own BTF is the witness; it may lack what came later, and have more."""
    enumeration, prefix = ENUMERATIONS[name]
    kernel = kernel_enumerations()[name]
    assert kernel
    for constant, number in kernel.items():
        ours = enumeration.__members__.get(constant.removeprefix(prefix).upper())
        if ours is not None:
            assert ours == number, constant
    known = {constant.removeprefix(prefix).upper() for constant in kernel}
    newest = max(number for constant, number in kernel.items() if not constant.startswith("_"))
    assert {each.name for each in enumeration if each <= newest} <= known


def test_numbers_of_newer_kernels_are_kept() -> None:
    unknown = ProgramType(4711)
    assert unknown == 4711
    assert unknown.label == "unknown_4711"
    with pytest.raises(ValueError, match="-1 is not a valid ProgramType"):
        ProgramType(-1)


def test_labels_are_the_names_that_bpftool_shows() -> None:
    assert ProgramType.SK_LOOKUP.label == "sk_lookup"
    assert MapType.LPM_TRIE.label == "lpm_trie"
    assert MapType.REUSEPORT_SOCKARRAY.label == "reuseport_sockarray"
