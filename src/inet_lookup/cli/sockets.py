"""Sockets of services with the processes that have them open, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..control import ServiceSocket


def socket_json(each: ServiceSocket) -> dict[str, Any]:
    """Return a socket for ``--json``."""
    listed = each.socket
    return {
        "protocol": "udp" if each.kind.udp else "tcp",
        "family": "IPv6" if each.kind.ipv6 else "IPv4",
        "cookie": each.cookie,
        "address": listed.address if listed else None,
        "port": listed.port if listed else None,
        "v6only": listed.v6only if listed else None,
        "inode": listed.inode if listed else None,
        "processes": [{"pid": process.pid, "name": process.name} for process in each.processes],
    }


def socket_row(each: ServiceSocket) -> list[str]:
    """Return a socket as cells of a table: what it is, cookie, inode, processes."""
    if each.socket is None:
        return [f"{each.kind}, not listed", f"cookie {each.cookie}"]
    holders = ", ".join(f"{process.name} ({process.pid})" for process in each.processes)
    return [
        each.socket.endpoint + (", IPv6 only" if each.socket.v6only else ""),
        f"cookie {each.cookie}",
        f"inode {each.socket.inode}",
        holders or "no process that this one may look into",
    ]
