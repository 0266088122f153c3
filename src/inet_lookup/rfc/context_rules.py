"""What a program may read of its context: the RFC's rules, and those of Linux's ``sk_lookup``.

Both are over the same layout, that of ``struct bpf_sk_lookup``, which ``inet_lookup.h`` gives to
``struct bpf_inet_lookup`` too. Sources: ``inet_lookup_is_valid_access()`` of the RFC's second
patch, and ``sk_lookup_is_valid_access()`` of ``net/core/filter.c``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .context_flow import Access


@dataclass(frozen=True, slots=True)
class ContextField:
    """A field of the context, or one word of it.

    :ivar offset: in bytes from the context's start.
    :ivar size: in bytes.
    :ivar reads: the sizes of the reads that are allowed, each at a multiple of its size.
    """

    name: str
    offset: int
    size: int
    reads: frozenset[int]


@dataclass(frozen=True, slots=True)
class ContextRules:
    """The rules of one type of program.

    :ivar structure: the context's name in C.
    :ivar start: where the context begins for these programs, in bytes; ``end`` is behind it.
    """

    structure: str
    start: int
    end: int
    fields: tuple[ContextField, ...]

    def field_at(self, offset: int) -> ContextField | None:
        """Return the field that has the byte at an offset, None where none has."""
        for each in self.fields:
            if each.offset <= offset < each.offset + each.size:
                return each
        return None

    def refusal(self, access: Access) -> str | None:
        """Say why an access is refused, in words; None where it is allowed."""
        if access.moved != 0:
            return "through a pointer that is not the context's own address any more"
        offset, size = access.offset, access.size
        found = self.field_at(offset)
        if access.write:
            return f"{found.name if found else 'the context'} is read-only"
        if not self.start <= offset < self.end or found is None:
            return f"there is nothing to read there in struct {self.structure}"
        if offset % size:
            return f"{size} bytes of {found.name} from an offset that is not a multiple of {size}"
        if size not in found.reads:
            sizes = sorted(found.reads)
            allowed = " or ".join(filter(None, (", ".join(map(str, sizes[:-1])), str(sizes[-1]))))
            unit = "byte" if sizes == [1] else "bytes"
            return f"{found.name} is read {allowed} {unit} at a time, not {size}"
        return None


_NARROW: Final = frozenset({1, 2, 4})
_WHOLE: Final = frozenset({4})


def _words(
    name: str, offset: int, reads: frozenset[int], count: int = 1
) -> tuple[ContextField, ...]:
    return tuple(
        ContextField(f"{name}[{word}]" if count > 1 else name, offset + 4 * word, 4, reads)
        for word in range(count)
    )


INET_LOOKUP: Final = ContextRules(
    structure="bpf_inet_lookup",
    start=8,
    end=64,
    fields=(
        *_words("family", 8, _WHOLE),
        *_words("protocol", 12, _WHOLE),
        *_words("remote_ip4", 16, _NARROW),
        *_words("remote_ip6", 20, _NARROW, 4),
        *_words("remote_port", 36, _WHOLE),
        *_words("local_ip4", 40, _NARROW),
        *_words("local_ip6", 44, _NARROW, 4),
        *_words("local_port", 60, _WHOLE),
    ),
)
"""The RFC's: reads only; of family, protocol and ports all 4 bytes, of addresses any aligned part
of a word."""

SK_LOOKUP: Final = ContextRules(
    structure="bpf_sk_lookup",
    start=0,
    end=72,
    fields=(
        ContextField("sk", 0, 8, frozenset({8})),
        *_words("family", 8, _NARROW),
        *_words("protocol", 12, _NARROW),
        *_words("remote_ip4", 16, _NARROW),
        *_words("remote_ip6", 20, _NARROW, 4),
        # Two bytes since Linux 5.18; a read of 4 bytes is still allowed, and so is the padding.
        ContextField("remote_port", 36, 2, _NARROW),
        ContextField("the padding behind remote_port", 38, 2, frozenset({1, 2})),
        *_words("local_ip4", 40, _NARROW),
        *_words("local_ip6", 44, _NARROW, 4),
        *_words("local_port", 60, _NARROW),
        *_words("ingress_ifindex", 64, _NARROW),
    ),
)
"""Linux's since 5.17, when ``ingress_ifindex`` came."""
