"""Sockets that listen on whole prefixes and on many ports.

::

    with inet_lookup.listen(["192.0.2.0/24", "2001:db8:1::/64"], 80) as listener:
        asyncio.run(serve(listener))  # asyncio.start_server(handler, sock=listener)

This is what the socket option ``SO_BINDTOPREFIX`` was to give, which was never merged, and more:
ports in ranges, and both families by one socket. The kernel's ``bind()`` knows one address or all,
and one port. So the socket is bound to a port of the loopback address that the kernel picks, and
the dispatcher, loaded with rules for this one socket, steers the prefixes' packets to it.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import warnings
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from .bpf.handle import Resource

if TYPE_CHECKING:
    from .net.namespaces import Namespace
    from .programs.attachment import NamespaceSpec
    from .rules import Ports, Ruleset

IPPrefix: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
PrefixSpec: TypeAlias = str | IPPrefix | ipaddress.IPv4Address | ipaddress.IPv6Address
PortSpec: TypeAlias = int | str | range

# Not in Python's socket module: linux/in.h and linux/in6.h.
_IP_FREEBIND: Final = 15
_IPV6_FREEBIND: Final = 78

_SERVICE: Final = "listener"


class Listener(socket.socket):
    """A socket that takes what comes to its prefixes and ports; made by :func:`listen`.

    It is a :class:`socket.socket`, and goes wherever one does. Of an accepted connection
    ``getsockname()`` is the address and port that the client connected to. A UDP socket answers
    through :class:`inet_lookup.UdpReplies`, which knows where each datagram was sent to.

    The steering lasts until :meth:`close` or the end of the ``with`` block, or until the process
    ends, however it ends. A process that was forked off shares it: then it lasts until the last of
    them is done with it. Privileges are not needed to keep it, and :manpage:`setuid(2)` does not
    end it.

    :ivar prefixes: the prefixes, as they were given.
    :ivar ports: the ports, as ascending ranges that do not meet; port 0 is in them where all
        ports were asked for.
    """

    def __init__(
        self,
        sock: socket.socket,
        steering: _Steering,
        prefixes: Sequence[IPPrefix],
        ports: Sequence[range],
    ) -> None:
        super().__init__(fileno=sock.detach())
        self._steering = steering
        self.prefixes = tuple(prefixes)
        self.ports = tuple(ports)

    @property
    def protocol(self) -> Literal["tcp", "udp"]:
        """``tcp`` or ``udp``."""
        return "tcp" if self.type == socket.SOCK_STREAM else "udp"

    def close(self) -> None:
        """End the steering, close the socket, and remove the routes that ``anyip`` added.

        What is accepted stays open; without the routes no packet reaches it any more, though.
        Closing twice is harmless.

        :raises PrivilegeError: the process gave up ``CAP_NET_ADMIN`` and cannot remove the routes;
            all else is done by then.
        """
        try:
            self._steering.close()
        finally:
            super().close()

    def detach(self) -> int:
        """Give the file descriptor away; the steering stays with this object until it is closed.

        :meth:`ssl.SSLContext.wrap_socket` does so to a socket: keep this object as long as the one
        that it returns.
        """
        return super().detach()

    def dup(self) -> socket.socket:  # type: ignore[override]  # it does not steer
        """Return a plain socket on the same listener; the steering stays with this object."""
        duplicate = socket.socket(fileno=os.dup(self.fileno()))
        duplicate.settimeout(self.gettimeout())
        return duplicate

    def set_inheritable(self, inheritable: bool) -> None:
        """Let programs that this process executes have the socket, and with it the steering.

        :func:`os.set_inheritable` and the ``pass_fds`` of :mod:`subprocess` pass the socket alone:
        then this process has to live on.
        """
        super().set_inheritable(inheritable)
        self._steering.set_inheritable(inheritable)

    def __exit__(self, *_: object) -> None:
        self.close()  # also after detach(), where a socket would not

    def __del__(self) -> None:
        # One warning for the socket and all that steers to it. Without the attribute it is a
        # listener that was never made.
        if hasattr(self, "_steering") and not self._steering.closed:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """What :mod:`multiprocessing` sends to a worker: a plain socket, as with any other."""
        from multiprocessing.reduction import DupFd

        return _received, (DupFd(self.fileno()),)

    def __repr__(self) -> str:
        ports = ",".join(
            "any" if len(run) == 65536 else f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0])
            for run in self.ports
        )
        state = "closed" if self.fileno() < 0 else f"fd={self.fileno()}"
        return (
            f"<Listener {self.protocol} {','.join(map(str, self.prefixes))} port {ports}, {state}>"
        )


def listen(
    prefixes: PrefixSpec | Iterable[PrefixSpec],
    port: PortSpec | Iterable[PortSpec],
    *,
    protocol: Literal["tcp", "udp"] = "tcp",
    netns: NamespaceSpec = None,
    anyip: bool = False,
    backlog: int | None = None,
) -> Listener:
    """Return a socket that listens on whole prefixes.

    It takes what no established connection or connected UDP socket takes, and goes before any
    socket that is bound to an address or to all. Where several listeners, or other programs,
    select a socket for the same packet, the one that was attached last wins; when it is closed,
    those before it have the packets again. So a new server takes over from an old one without a
    gap. Each listener is one program of its namespace, which takes 64 (Linux 5.9).

    :param prefixes: IPv4 and IPv6 prefixes and addresses, one or several.
    :param port: a port, a range (``"8000-8999"`` or ``range(8000, 9000)``), ``"any"`` for all of
        them, or several of these.
    :param protocol: ``tcp`` for a listening socket, ``udp`` for a bound one.
    :param netns: a namespace's name, path or pid, an open :class:`Namespace`, or None for that of
        the calling thread. The socket belongs to it.
    :param anyip: make the prefixes local, by a route of the type ``local`` for each that is not
        yet (``ip route add local 192.0.2.0/24 dev lo``). The routes that are added are removed
        when the listener is closed, also under another that came later and found them there; they
        stay behind where the process is killed.
    :param backlog: how many connections may wait to be accepted, as for
        :meth:`socket.socket.listen`.
    :raises RulesError: a prefix or a port is none.
    :raises NamespaceError: there is no such namespace.
    :raises PrivilegeError: ``CAP_BPF`` and ``CAP_NET_ADMIN`` are missing.
    :raises CapacityError: the namespace has 64 programs already.
    :raises UnsupportedError: before Linux 5.9.
    """
    networks = _networks(prefixes)
    ports = _ports(port)
    ruleset = _ruleset(networks, ports, protocol)
    with ExitStack() as stack:
        namespace = _open(netns, stack)
        versions: set[int] = {network.version for network in networks}
        sock = stack.enter_context(namespace.run(_bound, protocol, versions, backlog))
        steering = stack.enter_context(_Steering(ruleset, sock, namespace))
        if anyip:
            # Last: the prefixes' packets are not to arrive before there is a socket for them.
            steering.add_routes(networks, namespace)
        listener = Listener(sock, steering, networks, [range(p.low, p.high + 1) for p in ports])
        if netns is not namespace:
            namespace.close()
        stack.pop_all()
        return listener


class _Steering(Resource):
    """What steers packets to one socket: a link, and the routes that were added for it."""

    def __init__(self, ruleset: Ruleset, sock: socket.socket, namespace: Namespace) -> None:
        from .bpf import AttachType, NetnsLink
        from .dispatch import generation
        from .dispatch.layout import FIRST_RULE_COUNTER, first_slot
        from .dispatch.tables import action_words, build

        with ExitStack() as loading:
            shared = generation.make_shared(len(ruleset.rules))
            for each in shared.values():
                loading.enter_context(each)
            counters = {
                rule: FIRST_RULE_COUNTER + number for number, rule in enumerate(ruleset.rules)
            }
            actions = action_words(ruleset, {_SERVICE: 0}, counters)
            loaded = loading.enter_context(
                generation.load(build(ruleset), actions, shared, ifindexes={})
            )
            slot = first_slot(
                0,
                udp=sock.type == socket.SOCK_DGRAM,
                ipv6=sock.family == socket.AF_INET6,
                bank=0,
            )
            shared["sockets"].update(slot, sock.fileno())
            # The link holds the program, and the program its maps.
            self._link = NetnsLink.create(loaded.program, namespace.fileno(), AttachType.SK_LOOKUP)
        self._routes: list[IPPrefix] = []
        self._routes_in: Namespace | None = None
        self._owner = os.getpid()
        super().__init__()

    def add_routes(self, prefixes: Sequence[IPPrefix], namespace: Namespace) -> None:
        from .net.local_routes import add_local_routes
        from .net.namespaces import Namespace

        with ExitStack() as unless_needed:
            # The caller's may be closed by the time that the routes are removed.
            own = unless_needed.enter_context(
                Namespace(os.dup(namespace.fileno()), namespace.label)
            )
            self._routes = add_local_routes(own, prefixes)
            if self._routes:
                self._routes_in = own
                unless_needed.pop_all()

    def set_inheritable(self, inheritable: bool) -> None:
        if not self.closed:
            os.set_inheritable(self._link.fd, inheritable)

    def _release(self) -> None:
        # Not detached: a process that was forked off may go on with it, and with the routes.
        self._link.close()
        if self._routes_in is not None:
            from .net.local_routes import remove_local_routes

            with self._routes_in:
                if os.getpid() == self._owner:
                    remove_local_routes(self._routes_in, self._routes)

    def __repr__(self) -> str:
        return f"<steering of a listener, {'closed' if self.closed else self._link!r}>"


def _networks(prefixes: PrefixSpec | Iterable[PrefixSpec]) -> list[IPPrefix]:
    from .rules import Prefix
    from .rules.problems import RulesError

    if isinstance(prefixes, PrefixSpec) or not isinstance(prefixes, Iterable):
        prefixes = [prefixes]
    # Through the rules' own reading, for what it says of a prefix that is none.
    networks = [ipaddress.ip_network(str(Prefix.parse(str(each)))) for each in prefixes]
    if not networks:
        raise RulesError.of("there are no prefixes to listen on", "such as 192.0.2.0/24")
    return networks


def _ports(port: PortSpec | Iterable[PortSpec]) -> list[Ports]:
    """The ports as runs that do not meet, ascending."""
    from .rules import Ports, parse_ports

    if isinstance(port, PortSpec) or not isinstance(port, Iterable):
        port = [port]
    entries: list[int | str] = []
    for each in port:
        if not isinstance(each, range):
            entries.append(each)
        elif each.step == 1 and len(each):
            entries.append(f"{each[0]}-{each[-1]}")
        else:
            entries += each
    joined: list[Ports] = []
    for run in sorted(parse_ports(entries)):
        if joined and run.low <= joined[-1].high + 1:
            joined[-1] = Ports(joined[-1].low, max(joined[-1].high, run.high))
        else:
            joined.append(run)
    return joined


def _ruleset(networks: Sequence[IPPrefix], ports: Sequence[Ports], protocol: str) -> Ruleset:
    from .rules import PASS, Prefix, Rule, Ruleset, Service, parse_protocol

    number = parse_protocol(protocol)
    rules = [
        Rule(_SERVICE, number, Prefix.parse(str(network)), run)
        for network in networks
        for run in ports
    ]
    # Without its socket a packet goes on, to the programs behind and to the regular lookup.
    return Ruleset(rules, [Service(_SERVICE, on_miss=PASS)])


def _bound(protocol: str, versions: set[int], backlog: int | None) -> socket.socket:
    """Return a socket of the calling thread's namespace that only steering and loopback reach."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    family = socket.AF_INET if versions == {4} else socket.AF_INET6
    sock = socket.socket(family, kind)
    try:
        # Free: the interface lo may be down, and has no addresses then.
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            sock.bind(("127.0.0.1", 0))
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 4 not in versions)
            # bind() to ::1 would make it IPv6 only. So would it be to any IPv6 address but ::,
            # where the port is open to the world. To a mapped address it is not, and the steering
            # selects it for either family.
            sock.bind(("::ffff:127.0.0.1" if 4 in versions else "::1", 0))
        if protocol == "tcp":
            sock.listen() if backlog is None else sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _open(netns: NamespaceSpec, stack: ExitStack) -> Namespace:
    from .net.namespaces import Namespace

    if isinstance(netns, Namespace):
        return netns
    return stack.enter_context(Namespace.open(netns))


def _received(handle: Any) -> socket.socket:
    return socket.socket(fileno=handle.detach())
