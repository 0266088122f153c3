"""Checks a program's accesses to its context before the kernel sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..errors import ObjectFileError
from .context_flow import Access, UnfollowedError, follow_context
from .context_rules import ContextRules

if TYPE_CHECKING:
    from ..bpf.source_line import SourceLine


class ContextAccessError(ObjectFileError):
    """A program accesses its context in a way that is not allowed.

    :ivar access: the access; None where the program cannot be followed.
    :ivar field: the name of the field in C, such as ``remote_ip6[1]``; None where there is none.
    :ivar location: ``file:line`` of the source line, None where the object does not tell.
    :ivar source: the text of that line.
    """

    def __init__(
        self,
        program: str,
        problem: str,
        *,
        access: Access | None = None,
        field: str | None = None,
        line: SourceLine | None = None,
        hint: str | None = None,
    ) -> None:
        self.location = str(line) if line else None
        self.source = line.text if line and line.text else None
        where = f" at {self.location}" if self.location else ""
        shown = f"\n    {self.source.strip()}" if self.source else ""
        super().__init__(f"program {program!r}: {problem}{where}{shown}", hint=hint)
        self.access = access
        self.field = field


def check_context_accesses(
    instructions: bytes,
    rules: ContextRules,
    *,
    name: str,
    source_of: Callable[[int], SourceLine | None] | None = None,
) -> None:
    """Refuse a program with an access that the rules do not allow.

    Only accesses that the program may reach count, as far as that is known without the contents of
    maps. A pointer that was the context's address and was moved is refused, by whatever it was
    moved, as the verifier does.

    :param instructions: the program with the functions that it calls, as the kernel takes them.
    :param name: what messages call the program.
    :param source_of: from the index of an instruction to the source line that it came from.
    :raises ContextAccessError: an access is not allowed; or the program cannot be followed, since
        it jumps to addresses in registers or is larger than the verifier accepts.
    """
    try:
        flow = follow_context(instructions)
    except UnfollowedError as error:
        raise ContextAccessError(
            name,
            f"its accesses to the context cannot be checked: {error.reason}",
            line=source_of(error.index) if source_of else None,
        ) from None
    for access in flow.accesses:
        refusal = rules.refusal(access)
        if refusal is None:
            continue
        found = rules.field_at(access.offset) if access.moved == 0 else None
        raise ContextAccessError(
            name,
            f"{_message(access)}: {refusal}",
            access=access,
            field=found.name if found else None,
            line=source_of(access.instruction) if source_of else None,
            hint=_hint(access, rules),
        )


def _message(access: Access) -> str:
    """Say what the verifier says."""
    if access.moved == 0:
        return f"invalid bpf_context access off={access.offset} size={access.size}"
    if access.moved is None:
        return f"variable ctx access off={access.offset} size={access.size}"
    return f"dereference of modified ctx ptr off={access.moved}+{access.offset}"


_NARROWED: Final = (
    "the compiler reads no more than what the source keeps: keep the whole __u32, such as in a"
    " volatile variable, and cut it down later"
)
_MOVED: Final = "the compiler may have merged two reads: read each field into a variable of its own"


def _hint(access: Access, rules: ContextRules) -> str | None:
    if access.moved != 0:
        return _MOVED
    found = rules.field_at(access.offset)
    if found is not None and not access.write and access.size < min(found.reads):
        return _NARROWED
    return None
