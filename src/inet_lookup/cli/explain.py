"""``inet-lookup explain``: where a packet goes, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .dispatchers import opened
from .misuse import misuse
from .output import note, show
from .settings import Settings, global_options, pass_settings
from .sockets import socket_json, socket_row
from .tables import table

if TYPE_CHECKING:
    from ..control import Explanation, ServiceSocket

_LOSERS = 5
"""How many rules that lost are shown to people."""


@click.command(short_help="Where a packet goes, and why.")
@click.argument("protocol")
@click.argument("endpoint", metavar="ADDRESS:PORT")
@click.option(
    "--from",
    "remote",
    metavar="ADDRESS[:PORT]",
    help="Where it comes from; an address that no rule is for by default.",
)
@click.option(
    "--interface", metavar="IF", help="What it comes in by; one that no rule names by default."
)
@global_options(hidden=True)
@pass_settings
@click.pass_context
def explain(
    context: click.Context,
    settings: Settings,
    protocol: str,
    endpoint: str,
    remote: str | None,
    interface: str | None,
) -> None:
    """Explain where a packet of PROTOCOL, tcp or udp, to ADDRESS:PORT goes.

    It is a packet that begins a connection, or a datagram. The kernel is asked, by a run of the
    very program and maps that steer, which moves no counter; the rules are asked beside it, and
    where the two do not agree, the exit status is 1. An IPv6 address stands in brackets.
    """
    from ..rules import Packet, RulesError

    with misuse(RulesError):
        packet = Packet.parse(protocol, endpoint, remote, interface)
    with opened(settings) as dispatcher:
        found = dispatcher.explain(packet)
        show(settings, _json(found), _lines(found))
    if not settings.json:
        for line in _notes(found, dispatcher.namespace.label):
            note(line)
    if found.disagreement is not None:
        click.echo(f"error: {found.disagreement}", err=True)
        click.echo(
            "hint: inet-lookup upgrade makes the rules anew; report it if that is no mend",
            err=True,
        )
        context.exit(1)


def _json(found: Explanation) -> dict[str, Any]:
    from ..rules import rule_entry, service_entry

    return {
        "packet": str(found.packet),
        "outcome": found.outcome.value,
        "rule": rule_entry(found.rule) if found.rule is not None else None,
        "candidates": [
            {"rule": rule_entry(each.rule), "lost": each.lost} for each in found.candidates
        ],
        "service": service_entry(found.service) if found.service is not None else None,
        "socket": _socket_json(found.socket) if found.socket is not None else None,
        "group": [socket_json(each) for each in found.group],
        "miss": found.miss,
        "regular": [socket_json(each) for each in found.regular],
        "local": found.local,
        "other_programs": found.other_programs,
        "agrees": found.agrees,
        "disagreement": found.disagreement,
    }


def _socket_json(each: ServiceSocket) -> dict[str, Any]:
    processes = [
        {"pid": process.pid, "name": process.name, "command": process.command}
        for process in each.processes
    ]
    return {**socket_json(each), "processes": processes}


def _lines(found: Explanation) -> list[str]:
    rows: list[list[str]] = []
    if found.disagreement is not None:
        rows.append(["!!!", found.disagreement])
    rows.append(["outcome", _outcome(found)])
    rows.append(["rule", str(found.rule) if found.rule is not None else "none matches"])
    if found.service is not None:
        rows.append(["service", f"{found.service.name}, on_miss {found.service.on_miss}"])
    if found.socket is not None:
        rows.append(["socket", ", ".join(socket_row(found.socket)[:3])])
        if found.group:
            rows.append(["", f"one of a reuseport group of {len(found.group)}, which share it"])
        for process in found.socket.processes:
            rows.append(["process", f"{process.pid}: {process.command or process.name}"])
    losers = [each for each in found.candidates if each.lost is not None]
    for each in losers[:_LOSERS]:
        rows.append(["lost", f"{each.rule}: {each.lost}"])
    if len(losers) > _LOSERS:
        rows.append(["", f"and {len(losers) - _LOSERS} more; --json shows all"])
    rows += [["regular", text] for text in _regular(found)]
    return [str(found.packet), *(f"  {line}" for line in table(rows))]


def _outcome(found: Explanation) -> str:
    from ..control.explaining import Outcome

    if found.outcome is Outcome.REDIRECT and found.service is not None:
        return f"goes to {found.service.name}"
    what = "dropped" if found.outcome is Outcome.DROP else "left to the regular lookup"
    return f"{what}: {found.miss}" if found.miss else what


def _regular(found: Explanation) -> list[str]:
    """Say what the regular lookup does, or would do."""
    from ..control.explaining import Outcome

    verb = "" if found.outcome is Outcome.PASS else "would have "
    if not found.regular:
        return [f"{verb}found no socket" if verb else "finds no socket: it is refused"]
    chosen = "chooses" if not verb else "would have chosen"
    return [f"{chosen} {text}" for text in _holders(found.regular)]


def _holders(sockets: Sequence[ServiceSocket]) -> list[str]:
    """Return sockets with their processes; the like of them, as of a reuseport group, once."""
    rows = map(socket_row, sockets)
    return list(dict.fromkeys(f"{row[0]}, {row[-1]}" for row in rows))


def _notes(found: Explanation, label: str) -> list[str]:
    notes = []
    if not found.local:
        from ..rules import format_address

        address = format_address(found.packet.family, found.packet.local_ip)
        notes.append(
            f"{address} is not local in {label}: no packet to it comes this far;"
            f" ip route add local {address} dev lo"
        )
    if found.other_programs:
        count = found.other_programs
        notes.append(
            f"{count} other program{' runs' if count == 1 else 's run'} in {label}, and may decide"
            " otherwise: inet-lookup prog list"
        )
    return notes
