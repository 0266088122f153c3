"""``inet_lookup.h``: what is written for the RFC compiles with it, by an old and a new clang."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from inet_lookup.bpf import MapType, ObjectFile, ProgramType
from inet_lookup.rfc import include_dir
from support import rfc_objects

VERSIONS = ("clang-14", "clang-19")
STRICT = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter")

each_compiler = pytest.mark.parametrize("compiler", VERSIONS)


def cli(*arguments: str) -> str:
    command = [sys.executable, "-m", "inet_lookup", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_command_prints_where_the_header_is() -> None:
    printed = cli("include-dir")
    assert printed == f"{include_dir()}\n"
    assert Path(printed.strip(), "inet_lookup.h").is_file()
    assert json.loads(cli("--json", "include-dir")) == {"include_dir": str(include_dir())}


@each_compiler
@pytest.mark.parametrize("source", ["cover_letter", "redirect", "select", "layout"])
def test_a_source_for_the_rfc_compiles_unchanged(source: str, compiler: str) -> None:
    rfc_objects.build(source, compiler)
    rfc_objects.build(source, compiler, *STRICT)


@each_compiler
@pytest.mark.parametrize("source", ["cover_letter", "layout"])
def test_neither_the_kernels_nor_libbpfs_headers_are_needed(source: str, compiler: str) -> None:
    rfc_objects.build(source, compiler, *STRICT, "-nostdlibinc")


@each_compiler
@pytest.mark.parametrize("target", ["bpfel", "bpfeb"])
def test_both_byte_orders_compile(target: str, compiler: str) -> None:
    rfc_objects.build("cover_letter", compiler, *STRICT, "-target", target)


@each_compiler
def test_the_machines_own_headers_go_before_the_stand_ins(compiler: str) -> None:
    """Where a user names the directory that clang does not look in."""
    own = f"/usr/include/{platform.machine()}-linux-gnu"
    rfc_objects.build("redirect", compiler, *STRICT, f"-I{own}")
    rfc_objects.build("redirect", compiler, *STRICT, "-isystem", own)


BEHIND = {
    "libbpf's headers": ["linux/bpf.h", "bpf/bpf_helpers.h", "bpf/bpf_endian.h"],
    "the kernel's headers": ["linux/bpf.h", "linux/in.h"],
    "headers of the C library": ["linux/bpf.h", "sys/socket.h", "netinet/in.h"],
    "nothing": [],
}


@each_compiler
@pytest.mark.parametrize("before", BEHIND)
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_the_header_goes_before_and_behind_others(
    before: str, compiler: str, first: bool, tmp_path: Path
) -> None:
    others = [f"#include <{each}>" for each in BEHIND[before]]
    ours = ["#include <inet_lookup.h>"]
    source = tmp_path / "source.c"
    demo = (rfc_objects.SOURCES / "cover_letter.c").read_text().splitlines()
    source.write_text("\n".join([*(ours + others if first else others + ours), *demo]) + "\n")
    rfc_objects.build("cover_letter", compiler)  # skips without the compiler
    rfc_objects.compile_file(source, compiler, *STRICT)


@each_compiler
def test_the_header_goes_behind_vmlinux_h(compiler: str, tmp_path: Path) -> None:
    """As ``bpftool btf dump … format c`` makes it, as far as it counts."""
    (tmp_path / "vmlinux.h").write_text(
        """
        #ifndef __VMLINUX_H__
        #define __VMLINUX_H__
        typedef unsigned char __u8;
        typedef unsigned short __u16;
        typedef unsigned int __u32;
        typedef unsigned long long __u64;
        enum bpf_map_type { BPF_MAP_TYPE_REUSEPORT_SOCKARRAY = 20 };
        enum bpf_ret_code { BPF_OK = 0, BPF_DROP = 2, BPF_REDIRECT = 7 };
        enum { IPPROTO_TCP = 6, IPPROTO_UDP = 17 };
        #endif
        """
    )
    source = tmp_path / "source.c"
    demo = (rfc_objects.SOURCES / "cover_letter.c").read_text()
    source.write_text(f'#include "vmlinux.h"\n#include <inet_lookup.h>\n{demo}')
    rfc_objects.build("cover_letter", compiler)  # skips without the compiler
    rfc_objects.compile_file(source, compiler, *STRICT)


@each_compiler
def test_the_object_is_read_as_the_rfc_says(compiler: str) -> None:
    found = ObjectFile.parse(rfc_objects.build("cover_letter", compiler), name="demo.o")
    program = found.programs["demo_two_http_servers"]
    assert program.section == "inet_lookup/demo_two_servers"
    assert program.type == ProgramType.SK_LOOKUP
    sockets = found.maps["redir_map"]
    assert (sockets.type, sockets.value_size) == (MapType.SOCKMAP, 8)
    assert (sockets.key_size, sockets.max_entries) == (4, 2)
