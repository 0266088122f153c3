"""A program in C that the RFC forbids is refused before the kernel sees it, by field and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from inet_lookup.bpf import ObjectFile
from inet_lookup.bpf.handle import live_handles
from inet_lookup.net import Namespace
from inet_lookup.rfc import ContextAccessError
from support import rfc_objects
from support.command import WITHOUT_PRIVILEGES, inet_lookup

pytestmark = pytest.mark.kernel

FORBIDDEN = {
    "write_local_port": ("local_port", 60, 4, "read-only"),
    "write_local_ip4": ("local_ip4", 40, 4, "read-only"),
    "write_ip6_byte": ("remote_ip6[2]", 28, 1, "read-only"),
    "half_of_remote_port": ("remote_port", 36, 2, "read 4 bytes at a time, not 2"),
    "byte_of_family": ("family", 8, 1, "read 4 bytes at a time, not 1"),
    "half_of_protocol": ("protocol", 12, 2, "read 4 bytes at a time, not 2"),
    "two_addresses_at_once": ("local_ip6[1]", 48, 8, "read 1, 2 or 4 bytes at a time, not 8"),
    "the_selected_socket": (None, 0, 8, "nothing to read there in struct bpf_inet_lookup"),
    "the_interface": (None, 64, 4, "nothing to read there in struct bpf_inet_lookup"),
    "across_two_words": ("remote_ip4", 19, 2, "an offset that is not a multiple of 2"),
}


def read(compiler: str) -> ObjectFile:
    return ObjectFile.parse(rfc_objects.build("forbidden", compiler), name="forbidden.o")


@pytest.mark.parametrize("compiler", ["clang-14", "clang-19"])
@pytest.mark.parametrize("program", FORBIDDEN)
def test_each_is_refused_with_its_field_and_line(program: str, compiler: str) -> None:
    field, offset, size, why = FORBIDDEN[program]
    with pytest.raises(ContextAccessError) as caught:
        read(compiler).load(programs=[program])
    error = caught.value
    assert f"program {program!r}: invalid bpf_context access off={offset} size={size}: " in str(
        error
    )
    assert why in error.message
    assert error.field == field
    lines = (rfc_objects.SOURCES / "forbidden.c").read_text().splitlines()
    file, _, number = str(error.location).rpartition(":")
    assert file.endswith("forbidden.c")
    assert error.source is not None
    assert error.source.strip() == lines[int(number) - 1].strip()
    assert ("from" if program == "two_addresses_at_once" else program) in error.source


@pytest.mark.parametrize("compiler", ["clang-14", "clang-19"])
def test_nothing_is_made_for_a_program_that_is_refused(compiler: str) -> None:
    before = len(list(live_handles()))
    with pytest.raises(ContextAccessError):
        read(compiler).load(programs=["allowed", "write_local_port"])
    assert len(list(live_handles())) == before


@pytest.mark.parametrize("compiler", ["clang-14", "clang-19"])
def test_what_the_rfc_allows_is_loaded(compiler: str) -> None:
    with read(compiler).load() as loaded:
        assert list(loaded.programs) == ["allowed"]


PLAIN = """
#include <linux/bpf.h>

__attribute__((section("sk_lookup"), used)) int steer(struct bpf_sk_lookup *ctx)
{
    ACCESS;
    return 1;
}
"""


@pytest.mark.parametrize("compiler", ["clang-14", "clang-19"])
def test_plain_programs_are_checked_without_privileges(
    compiler: str, netns: Namespace, tmp_path: Path
) -> None:
    """Where the verifier cannot be asked, and by its own rules."""
    rfc_objects.build("forbidden", compiler)  # skips without the compiler
    for name, access, problem in (
        ("allowed", "(void)*(volatile __u8 *)&ctx->family", None),
        ("forbidden", "ctx->local_port = 81", "off=60 size=4: local_port is read-only"),
    ):
        source, built = tmp_path / f"{name}.c", tmp_path / f"{name}.o"
        source.write_text(PLAIN.replace("ACCESS", access))
        built.write_bytes(rfc_objects.compile_file(source, compiler))
        ended = inet_lookup("prog", "check", built, prefix=WITHOUT_PRIVILEGES, inside=netns)
        if problem is None:
            assert "not verified: the process lacks CAP_BPF" in ended.done().out
        else:
            ended.failed(problem, "forbidden.c:6", "ctx->local_port = 81;")
