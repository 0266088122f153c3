"""Objects with the RFC's programs need not be trusted either."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inet_lookup.bpf import ObjectFile
from inet_lookup.errors import ObjectFileError
from support import object_mutation, rfc_objects
from support.elf_builder import ElfBuilder
from support.instructions import FP, R0, R1, R2, add, instruction, leave, move, store

COUNT = 3000
MEBIBYTES = 256


def test_mutations_are_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    paths = []
    for compiler in ("clang-14", "clang-19"):
        for source in ("calls", "forbidden", "select"):
            path = tmp_path / f"{source}-{compiler}.o"
            path.write_bytes(rfc_objects.build(source, compiler))
            paths.append(str(path))
    script = Path(object_mutation.__file__)
    done = subprocess.run(
        [sys.executable, str(script), "--count", str(COUNT), "--seed", "11", *paths],
        env={"PYTHONPATH": f"{script.parent.parent}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "refused" in done.stdout


def endless_branches(slots: int) -> bytes:
    """As many branches as fit, behind stores that every path has to keep."""
    stores = b"".join(store(8, FP, -8 * slot, R1) for slot in range(1, slots + 1))
    return stores + instruction(0x15, R1, offset=1) * 900_000 + move(R0, 0) + leave()


def moving_pointer() -> bytes:
    """A loop that moves the pointer on, with reads all along."""
    body = b"".join(instruction(0x61, R2, R1, each) for each in range(2000))
    return body + add(R1, 4) + instruction(0x55, R2, offset=-2002) + move(R0, 0) + leave()


@pytest.mark.parametrize(
    "code",
    [endless_branches(0), endless_branches(64), moving_pointer(), move(R0, 0) * 500_000 + leave()],
    ids=["branches", "branches with slots", "a moving pointer", "many instructions"],
)
def test_code_that_is_costly_to_follow_costs_little(code: bytes) -> None:
    builder = ElfBuilder()
    builder.symbol("costly", builder.code("inet_lookup/costly", code))
    data = builder.build()
    start = time.perf_counter()
    try:
        found = ObjectFile.parse(data, name="costly.o").programs["costly"]
        assert found.dialect is not None
        found.dialect.check(found)
    except ObjectFileError:
        pass
    assert time.perf_counter() - start < 20
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    assert used < 1024, f"{used} MiB"
