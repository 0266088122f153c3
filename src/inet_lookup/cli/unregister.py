"""``inet-lookup unregister``: take its sockets away from a service."""

from __future__ import annotations

import click

from .dispatchers import opened
from .output import show
from .settings import Settings, global_options, pass_settings
from .socket_arguments import protocol_given, service_given


@click.command(short_help="Undo a register.")
@click.argument("service")
@click.argument("protocol", required=False)
@global_options(hidden=True)
@pass_settings
def unregister(settings: Settings, service: str, protocol: str | None) -> None:
    """Take the sockets of SERVICE away from it, or only those of PROTOCOL, tcp or udp.

    What becomes of its packets then is said by its on_miss. The sockets stay open, and accepted
    connections stay.
    """
    from ..rules import parse_protocol

    name = service_given(service)
    kind = parse_protocol(protocol_given(protocol)) if protocol is not None else None
    with opened(settings) as dispatcher:
        namespace = dispatcher.namespace
        count = dispatcher.unregister(name, kind)
        result = {
            "namespace": {"given": settings.netns, "inode": namespace.inode},
            "service": name,
            "protocol": protocol,
            "sockets_removed": count,
        }
        of = f"{protocol} socket" if protocol is not None else "socket"
        line = f"{name} has no {of} any more; it had {count}" if count else f"{name} had no {of}"
        show(settings, result, [f"{line}, in {namespace.label}"])
