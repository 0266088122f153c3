"""``inet-lookup prog list``: what is attached to a namespace."""

from __future__ import annotations

from typing import Any

import click

from ...control.listing import ListedMap, ListedProgram, ListedSlot, Listing, list_programs
from ..output import duration, note, show
from ..settings import Settings, global_options, pass_settings
from ..tables import table
from .stale import stale_json


@click.command("list", short_help="What is attached.")
@global_options(hidden=True)
@pass_settings
def list_command(settings: Settings) -> None:
    """List the socket lookup programs of a network namespace in the order in which they run.

    Those that something else attached are listed too, without a pin name. All of them run: the last
    one that selects a socket decides; where none does, a drop by any of them drops the packet.
    """
    with settings.namespace() as namespace:
        listing = list_programs(namespace, bpffs=settings.bpffs)
        result = {
            "namespace": {"given": settings.netns, "inode": namespace.inode},
            "runs_counted": listing.runs_counted,
            "programs": [_program_json(each) for each in listing.programs],
            "stale": stale_json(listing.stale),
        }
        show(settings, result, _lines(listing, namespace.label))
    if settings.json:
        return
    for each in listing.stale:
        note(f"the pins of '{each.name}' are stale: {each.reason}; the next change removes them")
    if listing.programs and listing.runs_counted is False:
        note("runs are not counted; they are after: sysctl kernel.bpf_stats_enabled=1")


def _program_json(program: ListedProgram) -> dict[str, Any]:
    info = program.info
    return {
        "position": program.position,
        "id": program.id,
        "pin": program.pin,
        "name": info.name if info else None,
        "age_seconds": round(program.age_seconds, 3) if program.age_seconds is not None else None,
        "instructions": info.xlated_insns if info else None,
        "runs": info.run_cnt if info else None,
        "mean_ns": round(info.mean_ns, 1) if info and info.mean_ns is not None else None,
        "maps": [_map_json(each) for each in program.maps],
    }


def _map_json(each: ListedMap) -> dict[str, Any]:
    return {
        "name": each.name,
        "id": each.id,
        "type": each.type.label,
        "max_entries": each.max_entries,
        "slots": None if each.slots is None else [_slot_json(slot) for slot in each.slots],
    }


def _slot_json(slot: ListedSlot) -> dict[str, Any]:
    socket = slot.socket
    return {
        "slot": slot.slot,
        "cookie": slot.cookie,
        "protocol": socket.protocol if socket else None,
        "address": socket.address if socket else None,
        "port": socket.port if socket else None,
        "inode": socket.inode if socket else None,
        "processes": [{"pid": each.pid, "name": each.name} for each in slot.processes],
    }


def _lines(listing: Listing, label: str) -> list[str]:
    if not listing.programs:
        return [f"no program is attached to {label}"]
    rows = [["order", "pin", "program", "id", "age", "instructions", "runs", "mean ns"]]
    rows += [_row(each, listing) for each in listing.programs]
    heading, *programs = table(rows, right=(0, 3, 4, 5, 6, 7))
    lines = [heading]
    for line, program in zip(programs, listing.programs, strict=True):
        lines.append(line)
        lines += ["       " + each for each in _map_lines(program)]
    return lines


def _row(program: ListedProgram, listing: Listing) -> list[str]:
    info = program.info
    counted = info is not None and (info.run_cnt > 0 or listing.runs_counted)
    return [
        str(program.position + 1),
        program.pin or "-",
        info.name if info else "?",
        str(program.id),
        duration(program.age_seconds) if program.age_seconds is not None else "?",
        str(info.xlated_insns) if info else "?",
        str(info.run_cnt) if info and counted else "-",
        f"{info.mean_ns:.0f}" if info and info.mean_ns is not None else "-",
    ]


def _map_lines(program: ListedProgram) -> list[str]:
    lines = []
    for each in program.maps:
        if not each.holds_sockets:
            continue
        if each.slots is None:
            lines.append(f"{each.name}: its slots cannot be read (value_size is not 8)")
            continue
        kind = "slots" if each.type.label == "sockmap" else "entries"
        lines.append(f"{each.name}: {len(each.slots)} of {each.max_entries} {kind} hold a socket")
        lines += ["  " + line for line in table([_slot_row(each, slot) for slot in each.slots])]
    return lines


def _slot_row(each: ListedMap, slot: ListedSlot) -> list[str]:
    name = f"{each.name}[{slot.slot}]"
    if slot.socket is None:
        return [name, "a socket that the namespace does not list", f"cookie {slot.cookie}"]
    holders = ", ".join(f"{each.name} ({each.pid})" for each in slot.processes)
    return [
        name,
        slot.socket.endpoint,
        f"cookie {slot.cookie}",
        f"inode {slot.socket.inode}",
        holders or "no process that this one may look into",
    ]
