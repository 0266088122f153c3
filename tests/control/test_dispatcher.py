"""The dispatcher of a namespace: changing its rules and reading them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inet_lookup.bpf import AttachType, Map, MapType, query
from inet_lookup.control import Dispatcher
from inet_lookup.errors import (
    DispatcherMissingError,
    InetLookupError,
    NamespaceError,
    UnreadableStateError,
)
from inet_lookup.net import Namespace
from inet_lookup.net.local_routes import local_prefixes
from inet_lookup.rules import (
    AmbiguousRulesError,
    RulesError,
    Ruleset,
    Service,
)
from support.listeners import Listeners
from support.rule_texts import rule

pytestmark = pytest.mark.kernel


WEB = rule("web tcp 127.0.0.0/8 80")
PROXY = rule("proxy tcp 127.0.0.0/8 any")
DNS = rule("dns udp ::/0 53")


def another(dispatcher: Dispatcher) -> Dispatcher:
    """The same dispatcher as a process has it that starts now."""
    root = Path(dispatcher.path).parents[2]
    return Dispatcher.open(dispatcher.namespace, bpffs=root)


def lookups(dispatcher: Dispatcher) -> dict[str, int]:
    return {str(rule): count for rule, count in dispatcher.rules()}


def test_rules_are_bound_unbound_and_applied(dispatcher: Dispatcher) -> None:
    change = dispatcher.bind([WEB, DNS])
    assert (change.before, change.after) == (Ruleset(), Ruleset([WEB, DNS]))
    assert change.diff.rules_added == Ruleset([WEB, DNS]).rules
    with another(dispatcher) as other:
        assert other.ruleset == Ruleset([WEB, DNS])
        other.unbind([DNS])
        assert dispatcher.ruleset == Ruleset([WEB], [Service("dns")]), "the service stays"
        diff = dispatcher.plan(Ruleset([PROXY]))
        assert diff == dispatcher.apply(Ruleset([PROXY])).diff
        assert other.ruleset == Ruleset([PROXY])


def test_a_change_that_changes_nothing_makes_no_generation(dispatcher: Dispatcher) -> None:
    first = dispatcher.bind([WEB])
    for same in (dispatcher.bind([WEB]), dispatcher.apply(Ruleset([WEB]))):
        assert not same
        assert same.generation == first.generation
    assert dispatcher.status().generation == first.generation


def test_where_none_is_loaded_it_says_so(netns: Namespace, bpffs: Path) -> None:
    with pytest.raises(DispatcherMissingError, match="no dispatcher is loaded"):
        Dispatcher.open(netns, bpffs=bpffs)
    with Dispatcher.open(netns, bpffs=bpffs, must_exist=False) as dispatcher:
        assert not dispatcher.loaded
        assert dispatcher.ruleset == Ruleset()
        for operation in (
            dispatcher.status,
            lambda: list(dispatcher.rules()),
            lambda: dispatcher.unbind([WEB]),
            lambda: dispatcher.register("web", []),
            lambda: dispatcher.unregister("web"),
            dispatcher.upgrade,
            dispatcher.unload,
        ):
            with pytest.raises(DispatcherMissingError):
                operation()
    assert not (bpffs / "inet-lookup").exists()


def test_load_makes_one_without_rules_and_finds_it_again(netns: Namespace, bpffs: Path) -> None:
    with Dispatcher.load(netns, bpffs=bpffs) as dispatcher:
        assert dispatcher.ruleset == Ruleset()
        dispatcher.bind([WEB])
        with Dispatcher.load(netns, bpffs=bpffs) as again:
            assert again.ruleset == Ruleset([WEB])
        dispatcher.unload()


def test_a_ruleset_that_is_refused_leaves_the_one_in_force(dispatcher: Dispatcher) -> None:
    dispatcher.bind([WEB])
    with pytest.raises(AmbiguousRulesError):
        dispatcher.bind([rule("other tcp 127.0.0.0/8 80")])
    with pytest.raises(InetLookupError, match="no interface 'nonesuch'"):
        dispatcher.bind([rule("web tcp 127.0.0.0/8 81", interface="nonesuch")])
    with pytest.raises(
        RulesError, match=r'"proxy tcp 127\.0\.0\.0/8 80" is not in force'
    ) as caught:
        dispatcher.unbind([rule("proxy tcp 127.0.0.0/8 80"), WEB])
    assert caught.value.hint == 'did you mean "web tcp 127.0.0.0/8 80"?'
    assert dispatcher.ruleset == Ruleset([WEB])
    assert dispatcher.status().generation == 1


def test_a_namespace_that_does_not_exist_is_named(bpffs: Path) -> None:
    with pytest.raises(NamespaceError, match="nonesuch"):
        Dispatcher.open("nonesuch", bpffs=bpffs)


def test_more_services_than_there_are_numbers_are_refused(dispatcher: Dispatcher) -> None:
    dispatcher.bind([WEB])
    many = Ruleset([WEB], [Service(f"s{number}") for number in range(1024)])
    with pytest.raises(InetLookupError, match="a namespace has 1024 of them"):
        dispatcher.apply(many)
    assert dispatcher.ruleset == Ruleset([WEB])
    most = Ruleset([WEB], [Service(f"s{number}") for number in range(1023)])
    dispatcher.apply(most)
    assert dispatcher.ruleset == most


def test_on_miss_of_a_service_changes_with_the_ruleset(
    dispatcher: Dispatcher, listeners: Listeners
) -> None:
    listeners.add("regular", port=80)
    dispatcher.bind([WEB])
    assert listeners.reached(80) == "refused"
    dispatcher.bind([], services=[Service("web", "pass")])
    assert listeners.reached(80) == "regular"


def test_a_change_takes_effect_for_the_next_packet(
    dispatcher: Dispatcher, listeners: Listeners
) -> None:
    for name in ("web", "proxy"):
        listeners.add(name)
    dispatcher.bind([WEB, PROXY])
    for name in ("web", "proxy"):
        dispatcher.register(name, [listeners[name]])
    for _ in range(5):
        assert (listeners.reached(80), listeners.reached(81)) == ("web", "proxy")
        dispatcher.unbind([WEB])
        assert (listeners.reached(80), listeners.reached(81)) == ("proxy", "proxy")
        dispatcher.bind([WEB])


def test_counters_carry_over_and_begin_at_0(dispatcher: Dispatcher, listeners: Listeners) -> None:
    listeners.add("web")
    dispatcher.bind([WEB])
    dispatcher.register("web", [listeners["web"]])
    for _ in range(3):
        assert listeners.reached(80) == "web"
    assert lookups(dispatcher) == {str(WEB): 3}
    dispatcher.bind([PROXY])
    assert listeners.reached(81) == "refused"
    assert lookups(dispatcher) == {str(WEB): 3, str(PROXY): 1}
    dispatcher.unbind([WEB])
    new = rule("proxy tcp 127.0.0.0/8 82")
    dispatcher.bind([new])  # counts where WEB did
    assert lookups(dispatcher) == {str(PROXY): 1, str(new): 0}
    assert listeners.reached(82) == "refused"
    assert lookups(dispatcher) == {str(PROXY): 1, str(new): 1}
    dispatcher.bind([WEB])
    assert lookups(dispatcher)[str(WEB)] == 0
    services = {each.name: each for each in dispatcher.status().services}
    assert (services["web"].lookups, services["web"].misses) == (3, 0)
    assert (services["proxy"].lookups, services["proxy"].misses) == (2, 2)
    assert dispatcher.status().lookups == 2


def test_a_service_that_is_new_counts_from_0_where_another_did(
    dispatcher: Dispatcher, listeners: Listeners
) -> None:
    dispatcher.bind([WEB])
    assert listeners.reached(80) == "refused"
    dispatcher.apply(Ruleset())  # without sockets the service keeps nothing
    assert dispatcher.status().services == ()
    dispatcher.apply(Ruleset([PROXY]))
    (proxy,) = dispatcher.status().services
    assert (proxy.name, proxy.lookups, proxy.misses) == ("proxy", 0, 0)


def test_counters_go_on_when_their_map_has_to_grow(
    dispatcher: Dispatcher, listeners: Listeners
) -> None:
    listeners.add("web")
    dispatcher.bind([WEB])
    dispatcher.register("web", [listeners["web"]])
    for _ in range(3):
        assert listeners.reached(80) == "web"
    many = [rule(f"web tcp 10.0.{number >> 8}.{number & 255} 80") for number in range(1500)]
    end = threading.Event()

    def keep_connecting() -> int:
        count = 0
        while not end.is_set():
            assert listeners.reached(80) == "web"
            count += 1
        return count

    with ThreadPoolExecutor(1) as pool:
        connections = pool.submit(keep_connecting)
        try:
            dispatcher.bind(many)
            dispatcher.apply(Ruleset([WEB, *many[:100]]))
        finally:
            end.set()
        total = 3 + connections.result()
    assert lookups(dispatcher)[str(WEB)] == total
    (web,) = dispatcher.status().services
    assert (web.lookups, web.misses, web.errors) == (total, 0, 0)


def test_readers_see_one_of_the_rulesets_while_they_are_replaced(dispatcher: Dispatcher) -> None:
    one, other = Ruleset([WEB]), Ruleset([PROXY, DNS])
    dispatcher.apply(one)
    end = threading.Event()

    def keep_reading() -> set[Ruleset]:
        seen = set()
        with another(dispatcher) as reader:
            while not end.is_set():
                seen.add(reader.ruleset)
                assert reader.status().rules in (1, 2)
                with another(dispatcher) as fresh:
                    seen.add(fresh.ruleset)
        return seen

    with ThreadPoolExecutor(2) as pool:
        readings = [pool.submit(keep_reading) for _ in range(2)]
        try:
            for _ in range(15):
                dispatcher.apply(other)
                dispatcher.apply(one)
        finally:
            end.set()
        for reading in readings:
            assert reading.result() == {one, other}


def test_unload_leaves_nothing(netns: Namespace, bpffs: Path, listeners: Listeners) -> None:
    before = set(local_prefixes(netns))
    listeners.add("web")
    with Dispatcher.load(netns, bpffs=bpffs) as dispatcher:
        dispatcher.bind([rule("web tcp 192.0.2.0/24 80")], anyip=True)
        dispatcher.register("web", [listeners["web"]])
        assert listeners.reached(80, "192.0.2.7") == "web"
        dispatcher.unload()
        assert not dispatcher.loaded
    assert query(netns.fileno(), AttachType.SK_LOOKUP) == []
    assert not (bpffs / "inet-lookup").exists()
    assert set(local_prefixes(netns)) == before


def test_local_routes_come_and_go_with_the_rules_that_need_them(
    dispatcher: Dispatcher, netns: Namespace
) -> None:
    before = set(local_prefixes(netns))

    def routes() -> set[str]:
        return {str(prefix) for prefix in set(local_prefixes(netns)) - before}

    inner, outer = rule("web tcp 192.0.2.128/25 80"), rule("web tcp 192.0.2.0/24 any")
    change = dispatcher.bind([WEB, inner], anyip=True)
    assert [str(prefix) for prefix in change.routes_added] == ["192.0.2.128/25"]
    dispatcher.bind([outer], anyip=True)
    dispatcher.bind([rule("web tcp 198.51.100.0/24 80")])  # not asked to make it local
    assert routes() == {"192.0.2.128/25", "192.0.2.0/24"}
    change = dispatcher.unbind([inner])
    assert [str(prefix) for prefix in change.routes_removed] == ["192.0.2.128/25"]
    assert routes() == {"192.0.2.0/24"}
    dispatcher.apply(Ruleset([outer]))
    assert routes() == {"192.0.2.0/24"}
    assert [str(prefix) for prefix in dispatcher.status().routes] == ["192.0.2.0/24"]
    dispatcher.apply(Ruleset())
    assert routes() == set()


def test_one_whose_state_was_overwritten_is_refused_and_can_be_unloaded(
    dispatcher: Dispatcher, netns: Namespace
) -> None:
    dispatcher.bind([WEB])
    state = Path(dispatcher.path, "generations", "1", "state")
    state.unlink()
    with Map.create(MapType.ARRAY, key_size=4, value_size=64, max_entries=1, name="x") as other:
        other.pin(state)
    for operation in (another, lambda each: another(each).bind([PROXY])):
        with pytest.raises(UnreadableStateError) as caught:
            operation(dispatcher)
        assert "after 'inet-lookup unload'" in (caught.value.hint or "")
    dispatcher.unload()
    assert query(netns.fileno(), AttachType.SK_LOOKUP) == []
