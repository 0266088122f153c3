"""Selectors: how a user names sockets of a running process, such as ``1234/tcp/0.0.0.0:8080``."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final, cast

from inet_lookup.errors import SocketError
from inet_lookup.net.sockets import SocketInfo, TransportProtocol, format_endpoint

_FORM: Final = (
    "write PID/tcp/ADDRESS:PORT or PID/udp/ADDRESS:PORT, such as 1234/tcp/0.0.0.0:8080, "
    "1234/udp/[::]:53, or 1234/tcp/*:8080 for whatever address it is bound to"
)


@dataclass(frozen=True, slots=True)
class SocketSelector:
    """Sockets of a process, by protocol, local address and port.

    :ivar pid: the process.
    :ivar protocol: ``tcp`` or ``udp``; None for both.
    :ivar address: the address that they are bound to, in its canonical text form; None for any.
    :ivar port: the port that they are bound to; None for any.
    """

    pid: int
    protocol: TransportProtocol | None = None
    address: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> SocketSelector:
        """Read ``PID/PROTOCOL/ADDRESS:PORT``, where ADDRESS may be ``*`` and IPv6 has brackets.

        :raises SocketError: it is malformed; the message says which part.
        """
        parts = text.split("/")
        if len(parts) != 3:
            raise SocketError(f"'{text}' does not name a socket", hint=_FORM)
        pid, protocol, endpoint = parts
        address, colon, port = endpoint.rpartition(":")
        if not (pid.isascii() and pid.isdigit() and int(pid) > 0):
            raise _malformed(text, f"'{pid}' is not a process id")
        if protocol not in ("tcp", "udp"):
            raise _malformed(text, f"the protocol is 'tcp' or 'udp', not '{protocol}'")
        if not colon or not address:
            raise _malformed(text, f"'{endpoint}' is not ADDRESS:PORT")
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise _malformed(text, f"'{port}' is not a port from 1 to 65535")
        return cls(
            pid=int(pid),
            protocol=cast(TransportProtocol, protocol),
            address=_parse_address(text, address),
            port=int(port),
        )

    def matches(self, info: SocketInfo) -> bool:
        """Whether a socket is one of those selected, apart from the process it belongs to."""
        return (
            self.protocol in (None, info.protocol)
            and self.address in (None, info.address)
            and self.port in (None, info.port)
        )

    def __str__(self) -> str:
        endpoint = format_endpoint(self.address or "*", self.port or 0)
        if self.port is None:
            endpoint = endpoint[:-1] + "*"
        return f"{self.pid}/{self.protocol or '*'}/{endpoint}"


def _parse_address(text: str, address: str) -> str | None:
    if address == "*":
        return None
    bracketed = address.startswith("[") and address.endswith("]")
    bare = address[1:-1] if bracketed else address
    try:
        parsed = ipaddress.ip_address(bare)
    except ValueError:
        raise _malformed(text, f"'{address}' is not an IP address or '*'") from None
    if (parsed.version == 6) != bracketed:
        right = f"[{bare}]" if parsed.version == 6 else bare
        raise _malformed(text, f"the address is written {right} there")
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        return f"::ffff:{parsed.ipv4_mapped}"  # as inet_ntop(3) writes it
    return str(parsed)


def _malformed(text: str, problem: str) -> SocketError:
    return SocketError(f"'{text}' does not name a socket: {problem}", hint=_FORM)
