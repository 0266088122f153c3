"""A writer that is killed leaves the old state or the new one, and the next command works."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from inet_lookup.control import Dispatcher
from inet_lookup.net import Namespace
from inet_lookup.net.local_routes import local_prefixes
from inet_lookup.rules import Protocol, Rule, Ruleset, parse_rule
from support.killing import each_death, killing_at_system_calls, require_ptrace

pytestmark = [pytest.mark.kernel, killing_at_system_calls]

WEB, PROXY, DNS = (
    rule
    for text in (("web", "tcp", 80), ("proxy", "tcp", 81), ("dns", "udp", 53))
    for rule in parse_rule(text[0], text[1], "127.0.0.0/8", text[2])
)
ANYCAST, OTHER_ANYCAST = (
    rule
    for address in ("192.0.2.0/24", "198.51.100.0/24")
    for rule in parse_rule("web", "tcp", address, 80)
)


@pytest.fixture(autouse=True)
def tracing() -> None:
    require_ptrace()


@pytest.fixture
def listeners(netns: Namespace) -> Iterator[dict[str, socket.socket]]:
    """A listener for each service and one more, on ports that no rule names."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(netns.run(listen, 8000 + place))
            for place, name in enumerate(("web", "proxy", "new web"))
        }


def listen(port: int) -> socket.socket:
    listener = socket.create_server(("127.0.0.1", port))
    listener.setblocking(False)
    return listener


@pytest.fixture
def base(netns: Namespace, bpffs: Path, listeners: dict[str, socket.socket]) -> Iterator[Ruleset]:
    """A dispatcher with two rules and a socket for each service; its ruleset."""
    ruleset = Ruleset([WEB, PROXY])
    with Dispatcher.open(netns, bpffs=bpffs, must_exist=False) as dispatcher:
        dispatcher.apply(ruleset)
        for name in ("web", "proxy"):
            dispatcher.register(name, [listeners[name]])
        yield ruleset
        if dispatcher.loaded:
            dispatcher.unload()
    assert not (bpffs / "inet-lookup").exists()


def reached(netns: Namespace, listeners: dict[str, socket.socket], port: int) -> str:
    """The name of the listener that gets a connection to a port, or ``refused``."""
    try:
        with netns.run(socket.create_connection, ("127.0.0.1", port), 5):
            for name, listener in listeners.items():
                try:
                    listener.accept()[0].close()
                except BlockingIOError:
                    continue
                return name
    except ConnectionRefusedError:
        return "refused"
    raise AssertionError("somebody else took the connection")


def ruleset_of(netns: Namespace, bpffs: Path) -> Ruleset:
    """The ruleset as a process sees it that starts now."""
    with Dispatcher.open(netns, bpffs=bpffs, must_exist=False) as dispatcher:
        if dispatcher.loaded:
            dispatcher.status()
        return dispatcher.ruleset


def generations(bpffs: Path) -> list[str]:
    """The generations that are pinned, with those in the making."""
    return [each.name for each in bpffs.glob("inet-lookup/*/dispatcher/generations/*")]


def check_each_death(
    netns: Namespace,
    bpffs: Path,
    listeners: dict[str, socket.socket],
    change: Callable[[Dispatcher], object],
    old: Ruleset,
    new: Ruleset,
    restore: Callable[[Dispatcher], object],
) -> None:
    """Kill a change at each of its steps; look; go on.

    :param restore: brings the old state back, whichever of the two is in force.
    """

    def make_change() -> None:
        with Dispatcher.open(netns, bpffs=bpffs, must_exist=False) as dispatcher:
            change(dispatcher)

    came_out = set()
    for death in each_death(make_change):
        found = ruleset_of(netns, bpffs)
        assert found in (old, new), death
        came_out.add(found)
        expected = {rule.ports.low: rule.action for rule in found.rules}
        for port in (80, 81):
            assert reached(netns, listeners, port) == expected.get(port, "refused"), death
        with Dispatcher.open(netns, bpffs=bpffs, must_exist=False) as dispatcher:
            restore(dispatcher)
            assert dispatcher.ruleset == old, death
        assert len(generations(bpffs)) == (1 if dispatcher_is_there(bpffs) else 0), death
        assert not list(bpffs.glob("inet-lookup/*/+*")), death
    assert came_out == {old, new}
    assert ruleset_of(netns, bpffs) == new


def dispatcher_is_there(bpffs: Path) -> bool:
    return bool(list(bpffs.glob("inet-lookup/*/dispatcher")))


def applied(ruleset: Ruleset) -> Callable[[Dispatcher], object]:
    return lambda dispatcher: dispatcher.apply(ruleset)


def test_bind(
    netns: Namespace, bpffs: Path, listeners: dict[str, socket.socket], base: Ruleset
) -> None:
    check_each_death(
        netns,
        bpffs,
        listeners,
        lambda dispatcher: dispatcher.bind([DNS]),
        base,
        base.with_rules([DNS]),
        applied(base),
    )


def test_apply(
    netns: Namespace, bpffs: Path, listeners: dict[str, socket.socket], base: Ruleset
) -> None:
    """The services change places: half of either ruleset would be seen at once."""
    new = Ruleset(
        [
            Rule("proxy", Protocol.TCP, WEB.address, WEB.ports),
            Rule("web", Protocol.TCP, PROXY.address, PROXY.ports),
        ]
    )
    check_each_death(netns, bpffs, listeners, applied(new), base, new, applied(base))


def test_bind_where_no_dispatcher_is_loaded(
    netns: Namespace, bpffs: Path, listeners: dict[str, socket.socket]
) -> None:
    """Its service has no socket, so connections to it are refused once it is in force."""

    def unload(dispatcher: Dispatcher) -> None:
        if dispatcher.loaded:
            dispatcher.unload()
        else:  # what is left is removed by whatever comes next
            dispatcher.bind([DNS])
            dispatcher.unload()

    with netns.run(listen, 80) as regular:
        listeners["regular"] = regular
        new = Ruleset(parse_rule("drop", "tcp", "127.0.0.0/8", 80))

        def make_change() -> None:
            with Dispatcher.open(netns, bpffs=bpffs, must_exist=False) as dispatcher:
                dispatcher.apply(new)

        came_out = set()
        for death in each_death(make_change):
            found = ruleset_of(netns, bpffs)
            assert found in (Ruleset(), new), death
            came_out.add(found)
            seen = reached(netns, listeners, 80)
            assert seen == ("refused" if found == new else "regular"), death
            with Dispatcher.open(netns, bpffs=bpffs, must_exist=False) as dispatcher:
                assert dispatcher.loaded is (found == new), death
                unload(dispatcher)
            assert not (bpffs / "inet-lookup").exists(), death
            assert reached(netns, listeners, 80) == "regular", death
        assert came_out == {Ruleset(), new}
        with Dispatcher.open(netns, bpffs=bpffs) as dispatcher:
            dispatcher.unload()


def test_apply_with_local_routes(
    netns: Namespace, bpffs: Path, listeners: dict[str, socket.socket], base: Ruleset
) -> None:
    """Routes come before the rules that need them and go after them, and none is left over."""
    old, new = base.with_rules([ANYCAST]), base.with_rules([OTHER_ANYCAST])
    without = {str(prefix) for prefix in local_prefixes(netns)}

    def routes() -> set[str]:
        return {str(prefix) for prefix in local_prefixes(netns)} - without

    def apply(ruleset: Ruleset) -> Callable[[Dispatcher], object]:
        return lambda dispatcher: dispatcher.apply(ruleset, anyip=True)

    with Dispatcher.open(netns, bpffs=bpffs) as dispatcher:
        apply(old)(dispatcher)
    assert routes() == {"192.0.2.0/24"}

    def restore(dispatcher: Dispatcher) -> None:
        needed = "192.0.2.0/24" if dispatcher.ruleset == old else "198.51.100.0/24"
        assert needed in routes()
        apply(old)(dispatcher)
        assert dispatcher.bind([WEB]).generation, "a change that changes nothing works as well"
        assert routes() == {"192.0.2.0/24"}

    check_each_death(netns, bpffs, {**listeners}, apply(new), old, new, restore)
    with Dispatcher.open(netns, bpffs=bpffs) as dispatcher:
        dispatcher.unload()
    assert routes() == set()


def test_upgrade(
    netns: Namespace, bpffs: Path, listeners: dict[str, socket.socket], base: Ruleset
) -> None:
    def make_change() -> None:
        with Dispatcher.open(netns, bpffs=bpffs) as dispatcher:
            dispatcher.upgrade()

    numbers = set()
    for death in each_death(make_change):
        with Dispatcher.open(netns, bpffs=bpffs) as dispatcher:
            assert dispatcher.ruleset == base, death
            numbers.add(dispatcher.status().generation)
            assert reached(netns, listeners, 80) == "web", death
            assert reached(netns, listeners, 81) == "proxy", death
            dispatcher.bind([WEB])
        assert len(generations(bpffs)) == 1, death
    assert len(numbers) > 1


def test_unload(
    netns: Namespace, bpffs: Path, listeners: dict[str, socket.socket], base: Ruleset
) -> None:
    def restore(dispatcher: Dispatcher) -> None:
        was_loaded = dispatcher.loaded
        dispatcher.apply(base)
        if not was_loaded:
            for name in ("web", "proxy"):
                dispatcher.register(name, [listeners[name]])
        assert reached(netns, listeners, 80) == "web"

    check_each_death(
        netns, bpffs, listeners, lambda dispatcher: dispatcher.unload(), base, Ruleset(), restore
    )
    assert not (bpffs / "inet-lookup").exists()


def test_register(
    netns: Namespace, bpffs: Path, listeners: dict[str, socket.socket], base: Ruleset
) -> None:
    def register(name: str) -> None:
        with Dispatcher.open(netns, bpffs=bpffs) as dispatcher:
            dispatcher.register("web", [listeners[name]])

    came_out = set()
    for death in each_death(lambda: register("new web")):
        came_out.add(found := reached(netns, listeners, 80))
        assert found in ("web", "new web"), death
        assert sockets_of(netns, bpffs, "web") == [8000 if found == "web" else 8002], death
        register("web")
        assert reached(netns, listeners, 80) == "web", death
        assert sockets_of(netns, bpffs, "web") == [8000], death
    assert came_out == {"web", "new web"}
    assert reached(netns, listeners, 80) == "new web"


def test_unregister(
    netns: Namespace, bpffs: Path, listeners: dict[str, socket.socket], base: Ruleset
) -> None:
    def unregister() -> None:
        with Dispatcher.open(netns, bpffs=bpffs) as dispatcher:
            dispatcher.unregister("web")

    came_out = set()
    for death in each_death(unregister):
        came_out.add(found := reached(netns, listeners, 80))
        assert found in ("web", "refused"), death
        assert sockets_of(netns, bpffs, "web") == ([8000] if found == "web" else []), death
        with Dispatcher.open(netns, bpffs=bpffs) as dispatcher:
            dispatcher.register("web", [listeners["web"]])
        assert reached(netns, listeners, 80) == "web", death
    assert came_out == {"web", "refused"}


def sockets_of(netns: Namespace, bpffs: Path, service: str) -> Iterable[int]:
    """The ports of a service's sockets."""
    with Dispatcher.open(netns, bpffs=bpffs) as dispatcher:
        (status,) = (each for each in dispatcher.status().services if each.name == service)
        return [each.socket.port for each in status.sockets if each.socket is not None]
