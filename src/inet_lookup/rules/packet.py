"""What a rule sees of a packet."""

from __future__ import annotations

from dataclasses import dataclass

from .ports import MAX_PORT
from .prefix import Family, format_address, parse_address
from .problems import Problem, RulesError, shown
from .rule import Protocol, checked_interface_name, parse_protocol


@dataclass(frozen=True, slots=True)
class Packet:
    """The context of one lookup, with the kernel's names (``struct bpf_sk_lookup``).

    Addresses are integers and ports are in host order; the kernel has both in its own ways.

    :param family: the address family.
    :param protocol: the transport protocol.
    :param local_ip: the destination address.
    :param local_port: the destination port, 0 to 65535.
    :param remote_ip: the source address.
    :param remote_port: the source port. No rule looks at it.
    :param interface: the name of the interface that it came in by; None is one that no rule names.
    """

    family: Family
    protocol: Protocol
    local_ip: int
    local_port: int
    remote_ip: int = 0
    remote_port: int = 0
    interface: str | None = None

    @classmethod
    def parse(
        cls,
        protocol: str,
        local: str,
        remote: str | None = None,
        interface: str | None = None,
    ) -> Packet:
        """Read a packet as ``explain`` takes it.

        :param protocol: ``tcp`` or ``udp``.
        :param local: the destination, as ``192.0.2.1:80`` or ``[2001:db8::1]:80``.
        :param remote: the source in the same form, its port optional; the unspecified address
            where it is not given.
        :param interface: the interface that it comes in by.
        :raises RulesError: something cannot be read; all that cannot is named.
        """
        problems: list[Problem] = []
        kind = source = None
        try:
            kind = parse_protocol(protocol)
        except RulesError as error:
            problems += [problem.located(key="protocol") for problem in error.problems]
        try:
            family, address, port = parse_endpoint(local)
        except RulesError as error:
            problems += [problem.located(key="address") for problem in error.problems]
        try:
            source = parse_endpoint(remote, need_port=False) if remote is not None else None
        except RulesError as error:
            problems += [problem.located(key="source") for problem in error.problems]
        if interface is not None:
            try:
                checked_interface_name(interface)
            except RulesError as error:
                problems += [problem.located(key="interface") for problem in error.problems]
        if problems or kind is None:
            raise RulesError(problems)
        if source is None:
            source = family, 0, 0
        if source[0] is not family:
            raise RulesError.of(
                f"the packet would go from {source[0]} to {family}", "give both in one family"
            )
        return cls(family, kind, address, port, source[1], source[2], interface)

    def __str__(self) -> str:
        text = f"{self.protocol} {format_endpoint(self.family, self.local_ip, self.local_port)}"
        if self.remote_port:
            text += f" from {format_endpoint(self.family, self.remote_ip, self.remote_port)}"
        elif self.remote_ip:
            text += f" from {format_address(self.family, self.remote_ip)}"
        return text + (f" on {self.interface}" if self.interface else "")


def format_endpoint(family: Family, address: int, port: int) -> str:
    """Return ``192.0.2.1:80`` or ``[2001:db8::1]:80``."""
    text = format_address(family, address)
    return f"[{text}]:{port}" if family is Family.IPV6 else f"{text}:{port}"


def parse_endpoint(text: str, *, need_port: bool = True) -> tuple[Family, int, int]:
    """Read ``192.0.2.1:80`` or ``[2001:db8::1]:80``.

    :param text: the address and port.
    :param need_port: refuse an address alone; otherwise its port is 0.
    :return: family, address, and port.
    :raises RulesError: it cannot be read.
    """
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise RulesError.of(f"{shown(text)} is not an address", "such as [2001:db8::1]:80")
        port_text = rest[1:] if rest else None
    elif text.count(":") == 1:
        host, _, port_text = text.partition(":")
    else:
        host, port_text = text, None
    family, address = parse_address(host)
    if family is Family.IPV6 and address >> 32 == 0xFFFF:
        meant = format_address(Family.IPV4, address & 0xFFFF_FFFF)
        raise RulesError.of(
            f"{shown(text)} stands for an IPv4 address", f'packets to it are IPv4, write "{meant}"'
        )
    if port_text is None:
        if need_port:
            raise RulesError.of(
                f"{shown(text)} has no port", f'such as "{format_endpoint(family, address, 80)}"'
            )
        return family, address, 0
    if not (port_text.isascii() and port_text.isdecimal() and len(port_text) <= 20):
        raise RulesError.of(f"{shown(port_text)} in {shown(text)} is not a port")
    port = int(port_text)
    if port > MAX_PORT:
        raise RulesError.of(f"port {port} is out of range", f"ports are 0 to {MAX_PORT}")
    return family, address, port
