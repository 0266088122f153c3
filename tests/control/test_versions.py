"""Dispatchers that other versions of the package made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from inet_lookup import IPPROTO_TCP, PASS, Context, Verdict, program
from inet_lookup.bpf import Map, MapType
from inet_lookup.bpf.objects import ObjectFile
from inet_lookup.control import Dispatcher, PinnedPrograms, changing
from inet_lookup.dispatch import dispatcher as source
from inet_lookup.dispatch import objects
from inet_lookup.errors import NewerLayoutError
from inet_lookup.net import Namespace
from inet_lookup.rules import Ruleset
from support.listeners import Listeners
from support.rule_texts import rule

pytestmark = pytest.mark.kernel

RULES = Ruleset([rule("web tcp 127.0.0.0/8 80"), rule("drop tcp 127.0.0.0/8 81")])

counters, deliver, decide, actions = (
    source.counters,
    source.deliver,
    source.decide,
    source.actions,
)


@program
def dispatcher_of_old(ctx: Context) -> Verdict:
    """One that knows services only, and of these TCP alone."""
    rule = decide(ctx, ctx.ingress_ifindex)
    if rule == 0 or ctx.protocol != IPPROTO_TCP:
        return PASS
    action = actions.get(rule, 0)
    if action & 3 == 3:
        counters.try_add(action >> 32)
        counters.try_add((action >> 8 & 0xFFFF) * 3)
        deliver(ctx, action >> 8 & 0xFFFF, group=True)
    return PASS


@pytest.fixture
def made_by_an_older_version(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The rules are in force by another program, made by a version 0.0.9."""
    data = dispatcher_of_old.compile()

    class Old:
        """As if the program had the name that ours has."""

        def __init__(self) -> None:
            self._file = ObjectFile.parse(data, name="old.bpf.o")

        def load(self, *, maps: dict[str, Map], programs: list[str]) -> object:
            used = {name: each for name, each in maps.items() if name in self._file.maps}
            loaded = self._file.load(maps=used)
            loaded.programs["dispatcher"] = loaded.programs.pop("dispatcher_of_old")
            return loaded

    with monkeypatch.context() as patch:
        patch.setattr(objects, "read", lambda name: Old())
        patch.setattr(changing, "__version__", "0.0.9")
        dispatcher.apply(RULES)
    return


@pytest.mark.usefixtures("made_by_an_older_version")
def test_upgrade_replaces_the_program_and_keeps_rules_sockets_and_counters(
    dispatcher: Dispatcher, listeners: Listeners
) -> None:
    listeners.add("web")
    listeners.add("regular", port=81)
    dispatcher.register("web", [listeners["web"]])
    assert (listeners.reached(80), listeners.reached(81)) == ("web", "regular")
    before = dispatcher.status()
    assert before.version == "0.0.9"
    done = dispatcher.upgrade()
    assert done
    assert done.before == "0.0.9"
    after = dispatcher.status()
    assert after.version == done.after != "0.0.9"
    assert after.loaded_at == before.loaded_at
    assert after.program_id != before.program_id
    assert after.services == before.services
    assert dispatcher.ruleset == RULES
    assert dict(dispatcher.rules())[RULES.rules[0]] + dict(dispatcher.rules())[RULES.rules[1]] == 1
    assert (listeners.reached(80), listeners.reached(81)) == ("web", "refused")
    assert not dispatcher.upgrade()


@pytest.mark.usefixtures("made_by_an_older_version")
def test_any_change_brings_this_versions_program_too(
    dispatcher: Dispatcher, listeners: Listeners
) -> None:
    listeners.add("regular", port=81)
    assert listeners.reached(81) == "regular"
    dispatcher.bind([rule("web tcp 127.0.0.0/8 82")])
    assert listeners.reached(81) == "refused"
    assert dispatcher.status().version != "0.0.9"


@pytest.fixture
def newer_layout(dispatcher: Dispatcher) -> Iterator[None]:
    """The pins say that a version 9.0 made them in a layout 2."""
    dispatcher.apply(RULES)
    path = Path(dispatcher.path, "layout")
    ours = path.with_name("ours")
    path.rename(ours)
    with Map.create(
        MapType.ARRAY, key_size=4, value_size=64, max_entries=1, name="layout"
    ) as newer:
        newer.update(0, ((2).to_bytes(4, "little") + b"9.0").ljust(64, b"\0"))
        newer.pin(path)
    yield
    path.unlink()
    ours.rename(path)


@pytest.mark.usefixtures("newer_layout")
def test_a_newer_layout_is_refused_with_words_and_left_alone(
    dispatcher: Dispatcher, netns: Namespace, bpffs: Path
) -> None:
    operations = {
        "open": lambda: Dispatcher.open(netns, bpffs=bpffs),
        "load": lambda: Dispatcher.load(netns, bpffs=bpffs),
        "ruleset": lambda: dispatcher.ruleset,
        "rules": lambda: list(dispatcher.rules()),
        "status": dispatcher.status,
        "plan": lambda: dispatcher.plan(RULES),
        "bind": lambda: dispatcher.bind(RULES.rules),
        "unbind": lambda: dispatcher.unbind(RULES.rules),
        "apply": lambda: dispatcher.apply(Ruleset()),
        "register": lambda: dispatcher.register("web", []),
        "unregister": lambda: dispatcher.unregister("web"),
        "upgrade": dispatcher.upgrade,
        "unload": dispatcher.unload,
    }
    before = sorted(bpffs.rglob("*"))
    for operation in operations.values():
        with pytest.raises(NewerLayoutError, match=r"was made by inet-lookup 9\.0") as caught:
            operation()
        assert "use inet-lookup 9.0 or newer" in (caught.value.hint or "")
    with PinnedPrograms(netns, bpffs=bpffs)._store.writing():
        pass
    assert sorted(bpffs.rglob("*")) == before
