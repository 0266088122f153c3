"""``inet-lookup register``: sockets for a service, out of running processes or as passed ones."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from ..errors import SocketError
from .dispatchers import opened
from .misuse import Misuse
from .output import note, show
from .settings import Settings, global_options, pass_settings
from .socket_arguments import bound_address, bound_port, protocol_given, service_given

if TYPE_CHECKING:
    from ..control import Registration
    from ..net.namespaces import Namespace
    from ..net.passed_sockets import PassedSocket
    from ..net.processes import Process, TakenSocket
    from ..net.selectors import SocketSelector
    from ..net.sockets import SocketInfo


@click.command(short_help="Give sockets to a service.")
@click.argument("service")
@click.argument("protocol", required=False)
@click.argument("address", required=False)
@click.argument("port", required=False)
@click.option(
    "--pid",
    "pids",
    multiple=True,
    metavar="PID",
    help="Take them from this process. May be given several times, for the members of a reuseport"
    " group that are in several processes.",
)
@click.option(
    "--systemd",
    is_flag=True,
    help="Take those that systemd passed to this command (LISTEN_FDS).",
)
@click.option(
    "--fdname",
    metavar="NAME",
    help="With --systemd, only those of this name (FileDescriptorName= of the .socket unit).",
)
@global_options(hidden=True)
@pass_settings
def register(
    settings: Settings,
    service: str,
    protocol: str | None,
    address: str | None,
    port: str | None,
    pids: tuple[str, ...],
    systemd: bool,
    fdname: str | None,
) -> None:
    """Give sockets to SERVICE, in place of those that it has of the same protocol and family.

    PROTOCOL is tcp or udp, ADDRESS and PORT are what the sockets are bound to, or * for any. Where
    they are left out, all sockets are taken that listen (TCP) or receive from everyone (UDP).

    A service has one socket, or one reuseport group, for each protocol and family. The server goes
    on as it is and needs no configuration. When its sockets close, as they do when it is restarted,
    they leave the service by themselves: register the new ones then.
    """
    from ..control.privileges import require_privileges

    name = service_given(service)
    selector = _selector(protocol, address, port)
    numbers = _pids(pids, systemd, fdname)
    with ExitStack() as stack:
        dispatcher = stack.enter_context(opened(settings))
        namespace = dispatcher.namespace
        # Before processes are looked into, which takes another privilege.
        require_privileges(f"register sockets of {name!r} in {namespace.label}")
        holders: dict[int, Process] = {}
        sockets: list[TakenSocket | PassedSocket] = []
        if systemd:
            sockets += _passed(selector, fdname)
        for pid in numbers:
            for each in _taken(pid, selector, namespace):
                stack.enter_context(each)
                sockets.append(each)
                holders.setdefault(each.info.cookie, each.process)
        done = dispatcher.register(name, sockets)
        result = {
            "namespace": {"given": settings.netns, "inode": namespace.inode},
            "service": name,
            "sockets": [_socket_json(info, holders) for info in done.sockets],
            "left_out": [_socket_json(info, holders) for info in done.left_out],
        }
        show(settings, result, _lines(done, holders, namespace.label))
    if done.left_out and not settings.json:
        note(
            f"{len(done.left_out)} more members of the group get their share too; they are not"
            " held, for there is room for 8"
        )


def _selector(protocol: str | None, address: str | None, port: str | None) -> SocketSelector:
    """Return what chooses sockets; its pid means nothing yet."""
    from ..net.selectors import SocketSelector

    if address is not None and port is None:
        raise Misuse("PORT is missing behind ADDRESS", "an address and its port, or * for any")
    return SocketSelector(
        0,
        protocol_given(protocol) if protocol is not None else None,
        bound_address(address) if address is not None else None,
        bound_port(port) if port is not None else None,
    )


def _pids(pids: tuple[str, ...], systemd: bool, fdname: str | None) -> list[int]:
    if bool(pids) == systemd:
        raise Misuse(
            "either --pid or --systemd says where the sockets come from",
            "--pid PID of the server, or --systemd in a unit that sockets are passed to",
        )
    if fdname is not None and not systemd:
        raise Misuse("--fdname is for --systemd", "processes have no names for their sockets")
    numbers = []
    for text in pids:
        # The kernel's largest pid has seven digits.
        if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text)):
            hint = "ss -lntup shows the processes that listen, with their pids"
            if text and text[0].isalpha() and "'" not in text:
                hint = f"--pid $(pidof -s {text})" if text.isalnum() else hint
            raise Misuse(f"--pid: {text!r} is not the id of a process", hint)
        numbers.append(int(text))
    return numbers


def _taken(pid: int, selector: SocketSelector, namespace: Namespace) -> list[TakenSocket]:
    from dataclasses import replace

    from ..net.processes import take_all

    return take_all(replace(selector, pid=pid), namespace=namespace)


def _passed(selector: SocketSelector, fdname: str | None) -> list[PassedSocket]:
    from ..net.passed_sockets import passed_sockets

    given = passed_sockets()
    named = [each for each in given if fdname in (None, each.name)]
    if not named:
        names = ", ".join(dict.fromkeys(each.name for each in given if each.name))
        raise SocketError(
            f"no passed socket has the name {fdname!r}",
            hint=f"they are called {names}" if names else "systemd passed no names",
        )
    fitting = [each for each in named if selector.matches(each.info)]
    if not fitting:
        raise SocketError(
            "no passed socket is of that protocol, address and port",
            hint="those passed are " + ", ".join(each.info.endpoint for each in named),
        )
    return fitting


def _socket_json(info: SocketInfo, holders: dict[int, Process]) -> dict[str, Any]:
    holder = holders.get(info.cookie)
    return {
        "protocol": info.protocol,
        "address": info.address,
        "port": info.port,
        "v6only": info.v6only,
        "cookie": info.cookie,
        "inode": info.inode,
        "process": {"pid": holder.pid, "name": holder.name} if holder else None,
    }


def _lines(done: Registration, holders: dict[int, Process], label: str) -> list[str]:
    count = len(done.sockets)
    lines = [f"{done.service} has {count} socket{'' if count == 1 else 's'} in {label}:"]
    for info in done.sockets:
        holder = holders.get(info.cookie)
        lines.append(f"  {info.endpoint} of {holder or 'systemd'}")
    return lines
