"""``inet-lookup prog attach``: attach a program, give it sockets of running processes, leave."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import click

from ...control.pinned_programs import Attached, NameTakenError, PinnedPrograms, SocketsLostError
from ...control.program_files import ProgramFile
from ...control.socket_placement import SocketRequest, check_targets, take_sockets
from ...net.processes import TakenSocket
from ..misuse import Misuse
from ..output import show
from ..settings import Settings, global_options, pass_settings
from .stale import stale_json, tell_removed
from .verifier import log_option, verifier_log


@click.command(short_help="Attach a program, and leave.")
@click.argument("program", metavar="FILE[:NAME]")
@click.option(
    "--name", metavar="PIN", help="Name to pin it under; the program's own name by default."
)
@click.option(
    "--replace",
    is_flag=True,
    help="Where the name is in use, replace what runs, in one step. Maps of the same name and "
    "shape go on with what they hold.",
)
@click.option(
    "--exclusive",
    is_flag=True,
    help="Attach it only if no program is attached to the namespace.",
)
@click.option(
    "--socket",
    "sockets",
    multiple=True,
    metavar="ARRAY[INDEX]=PID/PROTOCOL/ADDRESS:PORT",
    help="Put a socket of a running process into a slot of a sock array, such as "
    "servers[0]=1234/tcp/0.0.0.0:8080. Without [INDEX], all that match go into the next empty "
    "slots. May be given several times.",
)
@log_option
@global_options(hidden=True)
@pass_settings
def attach(
    settings: Settings,
    program: str,
    name: str | None,
    replace: bool,
    exclusive: bool,
    sockets: tuple[str, ...],
    log: bool,
) -> None:
    """Attach a program to a network namespace and pin it there.

    It runs behind the programs that are there already. Nothing is changed before all is checked;
    when anything fails, nothing stays.
    """
    if exclusive and replace:
        raise Misuse("--exclusive and --replace do not go together")
    requests = [SocketRequest.parse(each) for each in sockets]
    with ExitStack() as stack, verifier_log(log):
        namespace = stack.enter_context(settings.namespace())
        pinned = PinnedPrograms(namespace, bpffs=settings.bpffs)
        image = ProgramFile.open(program).image()
        # Before processes are looked into, for that may need a privilege of its own.
        check_targets(((each.map, each.index) for each in requests), image.maps, image.name)
        taken = take_sockets(requests, namespace, stack)
        placements = [placement for placement, _ in taken]
        try:
            done = pinned.attach(
                image, name=name, sockets=placements, replace=replace, exclusive=exclusive
            )
        except NameTakenError as error:
            error.hint = "--replace puts this program in its place, --name takes another name"
            raise
        except SocketsLostError as error:
            error.hint = "name sockets for it anew, with --socket"
            raise
        holders = [holder for _, holder in taken]
        tell_removed(done.removed)
        result = _json(done, holders, settings.netns, namespace.inode)
        show(settings, result, _lines(done, holders, namespace.label))


def _json(
    done: Attached, holders: list[TakenSocket], netns: str | None, inode: int
) -> dict[str, Any]:
    return {
        "name": done.name,
        "path": done.path,
        "namespace": {"given": netns, "inode": inode},
        "program": {
            "id": done.program.id,
            "name": done.program.name,
            "instructions": done.program.xlated_insns,
        },
        "replaced": done.replaced,
        "kept_maps": list(done.kept),
        "sockets": [
            {
                "array": placed.map,
                "slot": placed.index,
                "protocol": placed.info.protocol,
                "address": placed.info.address,
                "port": placed.info.port,
                "cookie": placed.info.cookie,
                "inode": placed.info.inode,
                "process": {"pid": holder.process.pid, "name": holder.process.name},
            }
            for placed, holder in zip(done.sockets, holders, strict=True)
        ],
        "removed": stale_json(done.removed),
    }


def _lines(done: Attached, holders: list[TakenSocket], label: str) -> list[str]:
    did = "attached" if done.replaced is None else f"replaced program {done.replaced} of"
    lines = [
        f"{did} {done.name} in {label}: program {done.program.id},"
        f" {done.program.xlated_insns} instructions"
    ]
    lines += [
        f"  {placed.map}[{placed.index}]  {placed.info.endpoint} of {holder.process}"
        for placed, holder in zip(done.sockets, holders, strict=True)
    ]
    lines += [f"  {each} goes on with what it holds" for each in done.kept]
    return lines
