"""Mutates real BPF objects and holds the reader to its promise for each of them.

Run it as a program for a long soak; the seed reproduces a run::

    python tests/support/object_mutation.py --count 1000000 --seed 7 *.o
"""

from __future__ import annotations

import argparse
import random
import resource
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from inet_lookup.bpf.elf_reader import ElfFile
from inet_lookup.bpf.objects import ObjectFile
from inet_lookup.errors import ObjectFileError

SLOWEST = 2.0
"""Seconds that reading one mutation of these small objects may take, on a busy machine."""

_HEADER_FIELDS = ((4, 1), (5, 1), (16, 2), (18, 2), (40, 8), (52, 2), (58, 2), (60, 2), (62, 2))
_SECTION_FIELDS = ((0, 4), (4, 4), (8, 8), (24, 8), (32, 8), (40, 4), (44, 4), (56, 8))
_SYMBOL_FIELDS = ((0, 4), (4, 1), (5, 1), (6, 2), (8, 8), (16, 8))
_RELOCATION_FIELDS = ((0, 8), (8, 4), (12, 4))


@dataclass(frozen=True)
class Sample:
    """A real object, and where its fields are: (offset, bytes)."""

    data: bytes
    fields: list[tuple[int, int]]

    @classmethod
    def of(cls, data: bytes) -> Sample:
        return cls(data, _fields(data))


@dataclass
class Report:
    read: int = 0
    refused: int = 0
    slowest: float = 0.0

    def __str__(self) -> str:
        return f"{self.read} read, {self.refused} refused, slowest {self.slowest * 1000:.1f} ms"


def run(samples: list[Sample], count: int, seed: int) -> Report:
    """Read ``count`` mutations; raises whatever a mutation raises that it must not."""
    report = Report()
    chance = random.Random(seed)
    for number in range(count):
        data = mutate(samples, chance)
        start = time.perf_counter()
        try:
            exercise(data)
            report.read += 1
        except ObjectFileError:
            report.refused += 1
        except BaseException as error:
            Path(f"mutation-{seed}-{number}.o").write_bytes(data)
            error.add_note(f"mutation {number} of seed {seed}, kept as mutation-{seed}-{number}.o")
            raise
        took = time.perf_counter() - start
        report.slowest = max(report.slowest, took)
        if took > SLOWEST:
            raise AssertionError(f"mutation {number} of seed {seed} took {took:.1f} s")
    return report


def exercise(data: bytes) -> None:
    """Read an object and all that it offers without a kernel."""
    found = ObjectFile.parse(data, name="mutation.o")
    for program in found.programs.values():
        code = program.linked.with_maps(lambda name: 1)
        assert len(code) == len(program.instructions)
        assert len(program.func_info) % 8 == len(program.line_info) % 16 == 0
        for index in (-1, 0, 1, len(code) // 8 - 1, len(code)):
            program.source_of(index)
        for relocation in program.relocations:
            assert relocation.map in found.maps
    for variable in found.variables.values():
        assert variable.offset + variable.size <= found.maps[variable.map].value_size
        variable.encode(bytes(variable.size))


def mutate(samples: list[Sample], chance: random.Random) -> bytes:
    sample = chance.choice(samples)
    data = bytearray(sample.data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        kind = chance.random()
        if kind < 0.65:
            offset, width = chance.choice(sample.fields)
            if offset + width <= len(data):
                _overwrite(data, offset, width, chance)
        elif kind < 0.80:
            at = chance.randrange(len(data))
            data[at] ^= 1 << chance.randrange(8)
        elif kind < 0.90:
            width = chance.choice((1, 2, 4, 8))
            _overwrite(data, chance.randrange(max(1, len(data) - width)), width, chance)
        elif kind < 0.94:
            other = chance.choice(samples).data
            size = chance.randrange(1, 256)
            start = chance.randrange(len(other))
            at = chance.randrange(len(data))
            data[at : at + size] = other[start : start + size]
        elif kind < 0.97:
            at = chance.randrange(len(data))
            size = chance.randrange(1, 64)
            if chance.random() < 0.5:
                del data[at : at + size]
            else:
                data[at:at] = data[at : at + size]
        else:
            del data[chance.randrange(len(data)) :]
        if not data:
            return b""
    return bytes(data)


def _overwrite(data: bytearray, offset: int, width: int, chance: random.Random) -> None:
    mask = (1 << width * 8) - 1
    old = int.from_bytes(data[offset : offset + width], "little")
    new = chance.choice(
        (
            0,
            1,
            mask,
            mask >> 1,
            (mask >> 1) + 1,
            old + 1,
            old - 1,
            old * 2,
            old + 8,
            old ^ 1 << chance.randrange(width * 8),
            len(data),
            len(data) - 1,
            chance.randrange(64),
            chance.getrandbits(width * 8),
        )
    )
    data[offset : offset + width] = (new & mask).to_bytes(width, "little")


def _fields(data: bytes) -> list[tuple[int, int]]:
    """Find the fields of an object that the reader looks at."""
    groups = [list(_HEADER_FIELDS)]
    (headers,) = struct.unpack_from("<Q", data, 40)
    for section in ElfFile(data, "sample").sections:
        header = headers + section.index * 64
        (start,) = struct.unpack_from("<Q", data, header + 24)
        if section.name.startswith((".debug", ".rel.debug")):
            continue
        groups.append([(header + at, width) for at, width in _SECTION_FIELDS])
        if section.name == ".symtab":
            groups.append(_records(start, len(section.data), 24, _SYMBOL_FIELDS))
        elif section.name.startswith(".rel"):
            groups.append(_records(start, len(section.data), 16, _RELOCATION_FIELDS))
        elif section.executable:
            groups.append(_records(start, len(section.data), 8, ((0, 1), (1, 1), (4, 4))))
        elif section.name in (".BTF", ".BTF.ext", ".maps"):
            words = _records(start, len(section.data), 4, ((0, 4), (3, 1), (0, 2)))
            groups += [words, words[:24]]
    # Each group as often as the others, however many fields it has.
    most = max(map(len, groups))
    return [field for group in groups if group for field in (group * (most // len(group)))]


def _records(
    start: int, size: int, stride: int, fields: tuple[tuple[int, int], ...]
) -> list[tuple[int, int]]:
    return [
        (at + offset, width)
        for at in range(start, start + size, stride)
        for offset, width in fields
    ]


def limit_memory(mebibytes: int) -> None:
    """Let this process grow by so much from now on, and no more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + (mebibytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=int, default=256, help="MiB that reading may take")
    parser.add_argument("objects", nargs="+", type=Path)
    options = parser.parse_args()
    samples = [Sample.of(path.read_bytes()) for path in options.objects]
    limit_memory(options.memory)
    print(run(samples, options.count, options.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
