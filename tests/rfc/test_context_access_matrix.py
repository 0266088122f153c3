"""Every access to the context: every field, offset and size, read and written, assembled.

For the RFC's programs, the project's check gives the RFC's answers, and the kernel's verifier takes
what it lets through; for plain ``sk_lookup`` programs, the check gives the verifier's answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from inet_lookup.bpf import AttachType, ObjectFile, Program, ProgramType
from inet_lookup.errors import VerifierError
from inet_lookup.rfc.context_check import ContextAccessError, check_context_accesses
from inet_lookup.rfc.context_rules import INET_LOOKUP, SK_LOOKUP, ContextRules
from support.elf_builder import ElfBuilder
from support.instructions import R0, R1, instruction, leave, load, move, store, store_value

pytestmark = pytest.mark.kernel

# The RFC's fields, where inet_lookup.h lays them out.
NARROW = {"remote_ip4": (16, 1), "remote_ip6": (20, 4), "local_ip4": (40, 1), "local_ip6": (44, 4)}
WHOLE = {"family": 8, "protocol": 12, "remote_port": 36, "local_port": 60}

SIZES = (1, 2, 4, 8)
OFFSETS = range(-9, 82)
WRITES = ("store", "store a constant", "add atomically")


@dataclass(frozen=True)
class Case:
    kind: str
    size: int
    offset: int

    @property
    def code(self) -> bytes:
        if self.kind == "read":
            access = load(self.size, R0, R1, self.offset)
        elif self.kind == "store":
            access = store(self.size, R1, self.offset, R0)
        elif self.kind == "store a constant":
            access = store_value(self.size, R1, self.offset, 1)
        else:
            access = instruction(0xC3 | (0x18 if self.size == 8 else 0), R1, R0, self.offset)
        return move(R0, 1) + access + move(R0, 1) + leave()


def cases() -> Iterator[Case]:
    for size in SIZES:
        for offset in OFFSETS:
            yield Case("read", size, offset)
            for kind in WRITES:
                if kind != "add atomically" or size >= 4:
                    yield Case(kind, size, offset)


def rfc_allows(case: Case) -> bool:
    """The RFC's table, said in another way than the project says it."""
    if case.kind != "read" or case.offset % case.size:
        return False
    if case.size == 4 and case.offset in WHOLE.values():
        return True
    words = [start + 4 * n for start, count in NARROW.values() for n in range(count)]
    return any(word <= case.offset and case.offset + case.size <= word + 4 for word in words)


def refused_by_the_check(case: Case, rules: ContextRules) -> bool:
    try:
        check_context_accesses(case.code, rules, name="case")
    except ContextAccessError as error:
        refusal = error
    else:
        return False
    assert f"invalid bpf_context access off={case.offset} size={case.size}" in refusal.message
    return True


def test_the_check_gives_the_rfcs_answers() -> None:
    wrong = [
        case for case in cases() if refused_by_the_check(case, INET_LOOKUP) == rfc_allows(case)
    ]
    assert not wrong
    # 4 whole fields; of 10 words of addresses: one read of 4 bytes, two of 2, four of 1.
    assert sum(map(rfc_allows, cases())) == 4 + 10 * 7


def test_the_check_gives_the_verifiers_answers_for_sk_lookup() -> None:
    def refused_by_the_verifier(case: Case) -> bool:
        try:
            Program.load(
                ProgramType.SK_LOOKUP, case.code, expected_attach_type=AttachType.SK_LOOKUP
            ).close()
        except VerifierError:
            return True
        return False

    wrong = [
        case
        for case in cases()
        if refused_by_the_check(case, SK_LOOKUP) != refused_by_the_verifier(case)
    ]
    assert not wrong


def test_what_the_rfc_allows_loads_and_nothing_else() -> None:
    wrong = []
    for case in cases():
        builder = ElfBuilder()
        builder.symbol("case", builder.code("inet_lookup/case", case.code))
        try:
            ObjectFile.parse(builder.build(), name="case.o").load().close()
            loaded = True
        except ContextAccessError:
            loaded = False
        if loaded != rfc_allows(case):
            wrong.append(case)
    assert not wrong


@pytest.mark.parametrize("field", [*NARROW, *WHOLE])
def test_a_write_is_refused_by_the_fields_name(field: str) -> None:
    offset = NARROW[field][0] if field in NARROW else WHOLE[field]
    name = f"{field}[0]" if field.endswith("6") else field
    for size in SIZES:
        with pytest.raises(ContextAccessError) as caught:
            check_context_accesses(Case("store", size, offset).code, INET_LOOKUP, name="case")
        assert caught.value.field == name
        assert caught.value.message == (
            f"program 'case': invalid bpf_context access off={offset} size={size}:"
            f" {name} is read-only"
        )
