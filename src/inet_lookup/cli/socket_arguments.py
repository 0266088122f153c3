"""Sockets of a service on the command line: ``--pid PID [tcp|udp ADDRESS PORT]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .misuse import Misuse, misuse

if TYPE_CHECKING:
    from ..net.sockets import TransportProtocol

ANY = ("*", "any")
"""What stands for every address, or every port."""


def protocol_given(text: str) -> TransportProtocol:
    """Read a protocol.

    :raises Misuse: it is neither ``tcp`` nor ``udp``.
    """
    from ..rules import Protocol, RulesError, parse_protocol

    with misuse(RulesError):
        return "tcp" if parse_protocol(text) is Protocol.TCP else "udp"


def bound_address(text: str) -> str | None:
    """Read the address that sockets are bound to, or None for ``*``.

    :raises Misuse: it is not an address.
    """
    from ..rules import RulesError, format_address, parse_address

    if text in ANY:
        return None
    with misuse(RulesError):
        try:
            family, address = parse_address(text)
        except RulesError as error:
            raise RulesError(each.located(key="address") for each in error.problems) from error
    return format_address(family, address)


def bound_port(text: str) -> int | None:
    """Read the port that sockets are bound to, or None for ``*``.

    :raises Misuse: it is not one port.
    """
    from ..rules import RulesError, parse_ports

    if text in ANY:
        return None
    with misuse(RulesError):
        try:
            (ports,) = parse_ports(text)
        except ValueError:
            raise Misuse(f"port: {text!r} is several ports", "a socket is bound to one") from None
        except RulesError as error:
            raise RulesError(each.located(key="port") for each in error.problems) from error
    if ports.width != 1:
        raise Misuse(f"port: {text!r} is several ports", "a socket is bound to one")
    return ports.low


def service_given(text: str) -> str:
    """Read the name of a service.

    :raises Misuse: it cannot be one.
    """
    from ..rules import DROP, PASS, RulesError, checked_service_name

    if text in (DROP, PASS):
        raise Misuse(f"'{text}' is an action, and has no sockets", "name a service")
    with misuse(RulesError):
        return checked_service_name(text)
