"""Address prefixes, held as integers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from .problems import RulesError, shown


class Family(IntEnum):
    """An address family; the values are Linux's ``AF_INET`` and ``AF_INET6``."""

    IPV4 = 2
    IPV6 = 10

    @property
    def bits(self) -> int:
        """The number of bits of an address."""
        return 32 if self is Family.IPV4 else 128

    def __str__(self) -> str:
        return "IPv4" if self is Family.IPV4 else "IPv6"


# The upper 96 bits of ::ffff:0:0/96, in which IPv6 sockets see IPv4 addresses (RFC 4291, 2.5.5.2).
_MAPPED = 0xFFFF


def parse_address(text: str) -> tuple[Family, int]:
    """Return family and value of an address in text form.

    :raises RulesError: this is not an address; the hint says what it seems to be.
    """
    family = Family.IPV6 if ":" in text else Family.IPV4
    try:
        packed = inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, ValueError):
        raise _not_an_address(text) from None
    return family, int.from_bytes(packed, "big")


def format_address(family: Family, address: int) -> str:
    """Return the text form of an address, as the kernel's tools print it."""
    packed = address.to_bytes(family.bits // 8, "big")
    return inet_ntop(AF_INET if family is Family.IPV4 else AF_INET6, packed)


@dataclass(frozen=True, slots=True, order=True)
class Prefix:
    """All addresses that begin with the same bits, such as 192.0.2.0/24; or a single address.

    :param family: the address family.
    :param address: the lowest address, as an integer; 192.0.2.0 is ``0xC0000200``.
    :param length: how many leading bits count.
    :raises RulesError: the length or the address is out of range, or host bits are set.
    """

    family: Family
    address: int
    length: int

    def __post_init__(self) -> None:
        bits = self.family.bits
        if not 0 <= self.length <= bits:
            raise RulesError.of(
                f"a prefix length of {self.length} is out of range",
                f"{self.family} has 0 to {bits}",
            )
        if not 0 <= self.address < 1 << bits:
            raise RulesError.of(f"{self.address:#x} is not an {self.family} address")
        if self.address & ((1 << (bits - self.length)) - 1):
            self._raise_host_bits(f"{format_address(self.family, self.address)}/{self.length}")

    def _raise_host_bits(self, text: str) -> None:
        meant = Prefix.around(self.family, self.address, self.length)
        alone = format_address(self.family, self.address)
        raise RulesError.of(
            f"{shown(text)} has bits set beyond its prefix length",
            f'the prefix is "{meant}", the single address "{alone}"',
        )

    @classmethod
    def around(cls, family: Family, address: int, length: int) -> Prefix:
        """Return the prefix of this length that an address lies in."""
        host_bits = family.bits - length
        return cls(family, address >> host_bits << host_bits, length)

    @classmethod
    def parse(cls, text: str, *, mask: bool = False) -> Prefix:
        """Read ``192.0.2.0/24``, ``2001:db8::/64`` or a single address.

        An IPv4 address in IPv6 clothes (``::ffff:192.0.2.1``) is refused: packets to it are IPv4.

        :param text: the prefix.
        :param mask: clear set host bits rather than refuse them, and take mapped IPv4 prefixes for
            what they mean; for formats that do so.
        :raises RulesError: it cannot be read; the hint says what was probably meant.
        """
        address_text, slash, length_text = text.partition("/")
        family, address = parse_address(address_text)
        length = bits = family.bits
        if slash:
            # str.isdecimal takes other scripts' digits too; int would then read them.
            if not (length_text.isascii() and length_text.isdecimal() and len(length_text) <= 3):
                raise _not_a_length(text, length_text, family)
            length = int(length_text)
            if length > bits:
                raise RulesError.of(
                    f"the prefix length of {shown(text)} is out of range",
                    f"{family} has 0 to {bits}",
                )
        if family is Family.IPV6 and length >= 96 and address >> 32 == _MAPPED:
            unmapped = cls.around(Family.IPV4, address & 0xFFFF_FFFF, length - 96)
            if not mask:
                raise RulesError.of(
                    f"{shown(text)} stands for IPv4 addresses",
                    f'packets to them are IPv4, write "{unmapped}"',
                )
            return unmapped
        if mask:
            return cls.around(family, address, length)
        return cls(family, address, length)

    @property
    def last(self) -> int:
        """The highest address in it."""
        return self.address | ((1 << (self.family.bits - self.length)) - 1)

    def holds(self, family: int, address: int) -> bool:
        """Whether an address lies in it."""
        return self.family == family and self.address <= address <= self.last

    def covers(self, other: Prefix) -> bool:
        """Whether every address of the other prefix lies in it."""
        return self.length <= other.length and self.holds(other.family, other.address)

    def overlaps(self, other: Prefix) -> bool:
        """Whether they have an address in common: one then covers the other."""
        return self.covers(other) or other.covers(self)

    def __str__(self) -> str:
        text = format_address(self.family, self.address)
        return text if self.length == self.family.bits else f"{text}/{self.length}"


def everything(family: Family) -> Prefix:
    """Return the prefix of length 0, which holds all addresses of a family."""
    return Prefix(family, 0, 0)


def _not_a_length(text: str, length: str, family: Family) -> RulesError:
    hint = f"a number from 0 to {family.bits}"
    if "." in length and family is Family.IPV4:
        import ipaddress

        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            pass
        else:
            hint = f'masks are written as a length: "{meant}"'
    return RulesError.of(f"{shown(length)} in {shown(text)} is not a prefix length", hint)


def _not_an_address(text: str) -> RulesError:
    """Say what is wrong with what should be an address, recognising the common slips."""
    problem = f"{shown(text)} is not an IPv4 or IPv6 address"
    bare, _, zone = text.partition("%")
    if zone and _is_address(bare):
        return RulesError.of(problem, f'write "{bare}", and the key interface = "{zone}"')
    if text != text.strip() and _is_address(text.strip()):
        return RulesError.of(problem, "remove the space around it")
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if port.isdecimal() and _is_address(host):
        return RulesError.of(problem, f'write "{host}"; the port is given apart')
    if text.startswith("[") and text.endswith("]") and _is_address(text[1:-1]):
        return RulesError.of(problem, f'write "{text[1:-1]}", without brackets')
    parts = text.split(".")
    if len(parts) == 4 and all(part.isascii() and part.isdecimal() for part in parts):
        plain = ".".join(part.lstrip("0") or "0" for part in parts)
        if plain != text and _is_address(plain):
            return RulesError.of(problem, f'leading zeros are not taken, write "{plain}"')
        return RulesError.of(problem, "each of the four numbers is 0 to 255")
    if text in ("any", "*", "all"):
        return RulesError.of(problem, 'all addresses are "0.0.0.0/0" and, in a second rule, "::/0"')
    if text and text[0].isalpha() and ":" not in text:
        return RulesError.of(problem, "names are not resolved, give the address")
    return RulesError.of(problem, "such as 192.0.2.0/24, 192.0.2.1 or 2001:db8::/64")


def _is_address(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
