"""Services and rules: the values that a ruleset is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from .ports import Ports
from .prefix import Family, Prefix
from .problems import RulesError, did_you_mean, shown

PASS = "pass"
"""The action, and the ``on_miss``, that leaves a packet to the regular lookup."""

DROP = "drop"
"""The action, and the ``on_miss``, that drops a packet."""

MAX_SERVICE_NAME = 63
"""Longest service name, in characters (all of them ASCII)."""

MAX_INTERFACE_NAME = 15
"""Longest interface name, in bytes: the kernel's ``IFNAMSIZ`` less the closing NUL."""

_SERVICE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*", re.ASCII)


class Protocol(IntEnum):
    """A transport protocol; the values are those of the IP header."""

    TCP = 6
    UDP = 17

    def __str__(self) -> str:
        return self.name.lower()


def checked_service_name(name: object) -> str:
    """Return the name of a service, or refuse what cannot be one.

    A name is 1 to 63 of ``A-Z a-z 0-9 _ . @ + -``, begins with a letter, a digit or ``_``, and is
    neither ``pass`` nor ``drop`` (in any case), which are actions.

    :raises RulesError: the name breaks this.
    """
    if not isinstance(name, str):
        raise RulesError.of(f"{shown(name)} is not a service name", "a text, such as nginx")
    # In whatever case: a service that has no socket yet, named by a slip, would drop packets.
    if name.lower() in (PASS, DROP):
        raise RulesError.of(
            f"{shown(name)} is an action and cannot name a service",
            f'write action = "{name.lower()}"',
        )
    if len(name) > MAX_SERVICE_NAME:
        raise RulesError.of(
            f"the service name {shown(name)} is {len(name)} characters long",
            f"at most {MAX_SERVICE_NAME}",
        )
    if not _SERVICE_NAME.fullmatch(name):
        raise RulesError.of(
            f"{shown(name)} is not a service name",
            "letters, digits and _ . @ + -, beginning with a letter, a digit or _",
        )
    return name


def checked_interface_name(name: object) -> str:
    """Return the name of a network interface, or refuse what the kernel would not take as one.

    :raises RulesError: it is empty, longer than 15 bytes, ``.`` or ``..``, or has a space, ``/``,
        ``:`` or unprintable characters in it (``dev_valid_name()`` in net/core/dev.c).
    """
    if not isinstance(name, str):
        raise RulesError.of(f"{shown(name)} is not an interface name", "a text, such as eth0")
    if not name.isprintable() or any(sign in "/:" or sign.isspace() for sign in name):
        raise RulesError.of(
            f"{shown(name)} is not an interface name",
            "no spaces, slashes, colons or unprintable characters",
        )
    if name in ("", ".", ".."):
        raise RulesError.of(f"{shown(name)} is not an interface name", "such as eth0")
    if len(name.encode()) > MAX_INTERFACE_NAME:
        raise RulesError.of(
            f"the interface name {shown(name)} is too long", f"at most {MAX_INTERFACE_NAME} bytes"
        )
    return name


def checked_on_miss(value: object) -> str:
    """Return what is to become of a packet whose service has no usable socket.

    :raises RulesError: it is neither :data:`DROP` nor :data:`PASS`.
    """
    if isinstance(value, str) and value in (DROP, PASS):
        return value
    hint = did_you_mean(value, [DROP, PASS]) if isinstance(value, str) else None
    raise RulesError.of(f"{shown(value)} is not an on_miss", hint or f'"{DROP}" or "{PASS}"')


def parse_protocol(value: object) -> Protocol:
    """Read ``tcp`` or ``udp``.

    :raises RulesError: it is neither.
    """
    if value == "tcp":
        return Protocol.TCP
    if value == "udp":
        return Protocol.UDP
    hint = None
    if isinstance(value, str):
        words = value.lower()
        if words in ("any", "all", "both", "*", "ip") or ("tcp" in words and "udp" in words):
            hint = "write one rule for tcp and one for udp"
        else:
            hint = did_you_mean(value, ["tcp", "udp"])
    raise RulesError.of(f"{shown(value)} is not a protocol", hint or '"tcp" or "udp"')


@dataclass(frozen=True, slots=True, order=True)
class Service:
    """A named destination of packets.

    :param name: its name; see :func:`checked_service_name`.
    :param on_miss: what becomes of a packet for it when it has no usable socket: :data:`DROP` or
        :data:`PASS`.
    :raises RulesError: the name or ``on_miss`` is not one.
    """

    name: str
    on_miss: str = DROP

    def __post_init__(self) -> None:
        checked_service_name(self.name)
        checked_on_miss(self.on_miss)

    def __str__(self) -> str:
        return f"service {self.name}, on_miss {self.on_miss}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A match and what becomes of the packets that it matches.

    A rule has one run of ports. An entry of a file with a list of ports is as many rules, since how
    narrow the ports are counts in the precedence.

    :param action: the name of a service, or :data:`PASS` or :data:`DROP`.
    :param protocol: TCP or UDP.
    :param address: the destination addresses: a packet's local address.
    :param ports: the destination ports: a packet's local port.
    :param source: the source addresses; None for all. A source of length 0 is held as None.
    :param interface: the name of the interface that the packet comes in by; None for all.
    :raises RulesError: a name is not one, the source's family is not the address's, or the ports
        begin at 0 without being any.
    """

    action: str
    protocol: Protocol
    address: Prefix
    ports: Ports
    source: Prefix | None = None
    interface: str | None = None

    def __post_init__(self) -> None:
        if self.action not in (PASS, DROP):
            checked_service_name(self.action)
        if self.ports.low == 0 and not self.ports.is_any:
            raise RulesError.of(
                f"the ports {self.ports} begin at 0", 'ports start at 1; all of them are "any"'
            )
        if self.source is not None:
            if self.source.family is not self.address.family:
                raise RulesError.of(
                    f"the source {self.source} is {self.source.family}"
                    f" and the address {self.address} is {self.address.family}",
                    "write one rule for each family",
                )
            if self.source.length == 0:
                object.__setattr__(self, "source", None)
        if self.interface is not None:
            checked_interface_name(self.interface)

    @property
    def service(self) -> str | None:
        """The name of the service, or None where the action is pass or drop."""
        return None if self.action in (PASS, DROP) else self.action

    @property
    def family(self) -> Family:
        """The address family of the packets that it matches."""
        return self.address.family

    def __str__(self) -> str:
        """Return the rule as ``bind`` takes it: ``nginx tcp 192.0.2.0/24 80``."""
        text = f"{self.action} {self.protocol} {self.address} {self.ports}"
        if self.source is not None:
            text += f" from {self.source}"
        if self.interface is not None:
            text += f" on {self.interface}"
        return text
