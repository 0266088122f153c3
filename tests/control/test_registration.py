"""Sockets of services: taken, refused, replaced, kept."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from inet_lookup.bpf.grace_period import wait_for_running_programs
from inet_lookup.control import Dispatcher
from inet_lookup.control.pinned_generation import PinnedGeneration
from inet_lookup.control.service_sockets import Kind
from inet_lookup.dispatch.layout import SLOTS_PER_SERVICE
from inet_lookup.errors import InetLookupError, SocketError
from inet_lookup.net import Namespace
from inet_lookup.rules import Family, Protocol, Ruleset, Service
from support.listeners import Listeners
from support.rule_texts import rule

pytestmark = pytest.mark.kernel

WEB = rule("web tcp 127.0.0.0/8 80")
RULES = (WEB, rule("web tcp ::1 80"), rule("web udp 127.0.0.0/8 80"), rule("web udp ::1 80"))
TCP4, TCP6, UDP4, UDP6 = (Kind(udp, ipv6) for udp in (False, True) for ipv6 in (False, True))


@pytest.fixture(autouse=True)
def bound(dispatcher: Dispatcher) -> None:
    dispatcher.bind(RULES)


def kinds(dispatcher: Dispatcher, service: str = "web") -> dict[Kind, int]:
    """How many sockets of each kind a service has."""
    (found,) = (each for each in dispatcher.status().services if each.name == service)
    counted: dict[Kind, int] = {}
    for each in found.sockets:
        counted[each.kind] = counted.get(each.kind, 0) + 1
    return counted


def slots_in_use(dispatcher: Dispatcher) -> int:
    """How many slots of the first service hold a socket, in use or not."""
    with PinnedGeneration.open(dispatcher._pins, dispatcher.status().generation) as current:
        sockets = current.maps["sockets"]
        return sum(sockets.lookup(slot) is not None for slot in range(SLOTS_PER_SERVICE))


def test_sockets_of_all_kinds_are_taken_at_once(
    dispatcher: Dispatcher, listeners: Listeners
) -> None:
    listeners.add("tcp4")
    listeners.add("tcp6", "::1")
    listeners.add("udp4", udp=True)
    listeners.add("udp6", "::1", udp=True)
    done = dispatcher.register("web", list(listeners.sockets.values()))
    assert {info.endpoint.split()[0] for info in done.sockets} == {"tcp", "udp"}
    assert kinds(dispatcher) == {TCP4: 1, TCP6: 1, UDP4: 1, UDP6: 1}
    for udp in (False, True):
        name = "udp" if udp else "tcp"
        assert listeners.reached(80, udp=udp) == f"{name}4"
        assert listeners.reached(80, "::1", udp=udp) == f"{name}6"


def test_what_was_given_replaces_its_kind_alone(
    dispatcher: Dispatcher, listeners: Listeners
) -> None:
    listeners.add("old")
    listeners.add("udp", udp=True)
    dispatcher.register("web", [listeners["old"], listeners["udp"]])
    for name in ("new", "newer"):
        listeners.add(name)
        dispatcher.register("web", [listeners[name]])
        assert listeners.reached(80) == name
        assert listeners.reached(80, udp=True) == "udp"
        assert slots_in_use(dispatcher) == 2
    dispatcher.register("web", [listeners["newer"]])
    assert listeners.reached(80) == "newer"


def test_a_socket_that_closes_leaves_the_service(
    dispatcher: Dispatcher, listeners: Listeners
) -> None:
    listeners.add("web")
    dispatcher.register("web", [listeners["web"]])
    listeners.close("web")
    assert kinds(dispatcher) == {}
    assert listeners.reached(80) == "refused"


def test_of_a_large_reuseport_group_eight_members_are_held_and_all_get_connections(
    dispatcher: Dispatcher, listeners: Listeners
) -> None:
    names = [f"member {number}" for number in range(10)]
    port = listeners.add(names[0], reuseport=True).getsockname()[1]
    for name in names[1:]:
        listeners.add(name, port=port, reuseport=True)
    done = dispatcher.register("web", [listeners[name] for name in names])
    assert (len(done.sockets), len(done.left_out)) == (8, 2)
    assert kinds(dispatcher) == {TCP4: 8}
    assert {listeners.reached(80) for _ in range(400)} == set(names)
    for name in names[:7]:
        listeners.close(name)
    assert {listeners.reached(80) for _ in range(200)} == set(names[7:])


def test_one_socket_that_is_given_twice_counts_once(
    dispatcher: Dispatcher, listeners: Listeners
) -> None:
    """Workers that were forked have the very same socket."""
    listeners.add("web")
    with listeners["web"].dup() as copy:
        done = dispatcher.register("web", [listeners["web"], copy.fileno(), copy])
    assert len(done.sockets) == 1
    assert kinds(dispatcher) == {TCP4: 1}


def unfit_sockets(netns: Namespace) -> Iterator[tuple[socket.socket, str]]:
    yield socket.socket(socket.AF_UNIX), "AF_UNIX"
    yield socket.socket(), "does not listen"
    yield socket.create_server(("127.0.0.1", 0)), "is not in network namespace"
    udp = netns.run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    udp.connect(("127.0.0.1", 9))
    yield udp, "connected"


def test_what_cannot_be_steered_to_is_refused_and_the_rest_stays(
    dispatcher: Dispatcher, listeners: Listeners, netns: Namespace
) -> None:
    listeners.add("web")
    listeners.add("another")
    dispatcher.register("web", [listeners["web"]])
    for sock, why in unfit_sockets(netns):
        with sock, pytest.raises(SocketError, match=why):
            dispatcher.register("web", [listeners["another"], sock])
    with pytest.raises(SocketError, match="cannot both serve 'web'"):
        dispatcher.register("web", [listeners["web"], listeners["another"]])
    with pytest.raises(SocketError, match="no socket is given"):
        dispatcher.register("web", [])
    listeners.close("another")
    assert listeners.reached(80) == "web"


def test_a_service_that_the_ruleset_lacks_is_refused(
    dispatcher: Dispatcher, listeners: Listeners
) -> None:
    listeners.add("web")
    with pytest.raises(InetLookupError, match="there is no service 'wep'") as caught:
        dispatcher.register("wep", [listeners["web"]])
    assert caught.value.hint == "did you mean 'web'?"
    with pytest.raises(InetLookupError, match="there is no service 'nginx'"):
        dispatcher.unregister("nginx")


def test_unregister_takes_away_what_is_asked(dispatcher: Dispatcher, listeners: Listeners) -> None:
    listeners.add("tcp4")
    listeners.add("tcp6", "::1")
    listeners.add("udp4", udp=True)
    dispatcher.register("web", list(listeners.sockets.values()))
    assert dispatcher.unregister("web", Protocol.TCP, Family.IPV6) == 1
    assert kinds(dispatcher) == {TCP4: 1, UDP4: 1}
    assert dispatcher.unregister("web", Protocol.TCP) == 1
    assert kinds(dispatcher) == {UDP4: 1}
    assert dispatcher.unregister("web") == 1
    assert dispatcher.unregister("web") == 0
    assert slots_in_use(dispatcher) == 0
    listeners.close("tcp4")


def test_sockets_stay_over_any_replacement(dispatcher: Dispatcher, listeners: Listeners) -> None:
    listeners.add("web")
    dispatcher.register("web", [listeners["web"]])
    others = Ruleset([rule("proxy tcp 127.0.0.0/8 any")])
    for replacement in (
        others,  # without the service
        Ruleset(),
        Ruleset(
            [rule("zzz tcp 127.0.0.0/8 81"), rule("aaa tcp 127.0.0.0/8 82")],
            [Service(f"s{n}") for n in range(40)],
        ),
    ):
        dispatcher.apply(replacement)
        assert listeners.reached(80) == "refused"
        (web,) = (each for each in dispatcher.status().services if each.name == "web")
        assert (web.on_miss, web.rules, len(web.sockets)) == (None, 0, 1)
        dispatcher.apply(Ruleset([WEB]))
        assert listeners.reached(80) == "web"
    dispatcher.apply(others)
    assert dispatcher.unregister("web") == 1
    dispatcher.bind([rule("other tcp 127.0.0.0/8 90")])
    assert [each.name for each in dispatcher.status().services] == ["other", "proxy"]


def test_a_service_in_the_place_of_another_does_not_get_its_sockets(
    dispatcher: Dispatcher, listeners: Listeners
) -> None:
    dispatcher.apply(Ruleset([WEB]))
    listeners.add("web")
    listeners.add("proxy")
    dispatcher.register("web", [listeners["web"]])
    dispatcher.apply(Ruleset([rule("proxy tcp 127.0.0.0/8 80")]))
    assert listeners.reached(80) == "refused"
    dispatcher.register("proxy", [listeners["proxy"]])
    assert listeners.reached(80) == "proxy"
    dispatcher.apply(Ruleset([WEB]))
    assert listeners.reached(80) == "web"


def test_waiting_for_programs_that_run_comes_to_an_end() -> None:
    wait_for_running_programs()
