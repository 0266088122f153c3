"""Several programs of a namespace: their order, how their verdicts combine, and their limit."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable

import pytest

from inet_lookup import (
    DROP,
    PASS,
    Context,
    ProgramLink,
    SockArray,
    Verdict,
    attach,
    program,
    query,
)
from inet_lookup.errors import CapacityError
from inet_lookup.net import Namespace
from support.networks import TwoHosts, sysctl
from support.servers import Protocol, Start, ask, who_answers
from support.taking import Take

pytestmark = pytest.mark.kernel

ADDRESS, PORT = "192.0.2.1", 7007
LIMIT = 64

servers = SockArray(max_entries=2)


@program
def passes(ctx: Context) -> Verdict:
    return PASS


@program
def drops(ctx: Context) -> Verdict:
    return DROP


@program
def to_a(ctx: Context) -> Verdict:
    return servers.redirect(ctx, 0)


@program
def to_b(ctx: Context) -> Verdict:
    return servers.redirect(ctx, 1)


@program
def selects_a_and_drops(ctx: Context) -> Verdict:
    servers.redirect(ctx, 0)
    return DROP


@program
def to_b_unless_selected(ctx: Context) -> Verdict:
    if ctx.sk is not None:
        return PASS
    return servers.redirect(ctx, 1)


@program
def to_a_if_even(ctx: Context) -> Verdict:
    return servers.redirect(ctx, 0) if ctx.local_port % 2 == 0 else PASS


@program
def drops_unless_selected(ctx: Context) -> Verdict:
    return DROP if ctx.sk is None else PASS


EFFECTS = {
    passes: (PASS, None),
    drops: (DROP, None),
    to_a: (PASS, "a"),
    to_b: (PASS, "b"),
    selects_a_and_drops: (DROP, "a"),
}


def expected(programs: tuple[Callable[[Context], Verdict], ...]) -> str:
    """Who answers, by the kernel's rule in ``BPF_PROG_SK_LOOKUP_RUN_ARRAY()``.

    The last socket that a program selected and passed with is used. Where there is none, one DROP
    is enough to refuse.
    """
    effects = [EFFECTS[each] for each in programs]
    selected = [name for verdict, name in effects if verdict is PASS and name]
    if selected:
        return selected[-1]
    return "refused" if any(verdict is DROP for verdict, _ in effects) else "regular"


@pytest.fixture
def a_and_b(
    two_hosts: TwoHosts, echo_server: Start, take: Take, request: pytest.FixtureRequest
) -> TwoHosts:
    protocol: Protocol = getattr(request, "param", "tcp")
    for index, name in enumerate("ab"):
        servers[index] = take(echo_server(two_hosts.server, protocol, "127.0.0.1", name=name))
    echo_server(two_hosts.server, protocol, "0.0.0.0", PORT, name="regular")
    # As many ICMP messages as there are refusals: by default they are few a second.
    sysctl(two_hosts.server, "net.ipv4.icmp_ratelimit", 0)
    return two_hosts


@pytest.mark.parametrize(
    ("protocol", "a_and_b"), [("tcp", "tcp"), ("udp", "udp")], indirect=["a_and_b"]
)
def test_verdicts_combine_as_the_kernel_documents_it(a_and_b: TwoHosts, protocol: Protocol) -> None:
    for count in range(4):
        for programs in itertools.product(EFFECTS, repeat=count):
            with contextlib.ExitStack() as stack:
                for each in programs:
                    stack.enter_context(attach(each, a_and_b.server))
                reached = who_answers(a_and_b.client, protocol, ADDRESS, PORT)
            assert reached == expected(programs), f"after {[each.name for each in programs]}"


def test_a_later_program_sees_what_an_earlier_one_selected(a_and_b: TwoHosts) -> None:
    def reached(port: int) -> str:
        return who_answers(a_and_b.client, "tcp", ADDRESS, port)

    with attach(to_a_if_even, a_and_b.server), attach(to_b_unless_selected, a_and_b.server):
        assert (reached(8000), reached(8001)) == ("a", "b")
    with attach(to_b_unless_selected, a_and_b.server), attach(to_a_if_even, a_and_b.server):
        assert (reached(8000), reached(8001)) == ("a", "b")
    with attach(to_a_if_even, a_and_b.server), attach(drops_unless_selected, a_and_b.server):
        assert (reached(8000), reached(8001)) == ("a", "refused")
    with attach(drops_unless_selected, a_and_b.server), attach(to_a_if_even, a_and_b.server):
        assert (reached(8000), reached(8001)) == ("a", "refused")


def test_query_lists_the_programs_in_the_order_in_which_they_run(a_and_b: TwoHosts) -> None:
    assert query(a_and_b.server) == []
    first = attach(to_a, a_and_b.server)
    with first, attach(passes, a_and_b.server) as second, attach(to_b, a_and_b.server) as third:
        assert listed(a_and_b.server) == [
            (0, first.info().program_id, "to_a"),
            (1, second.info().program_id, "passes"),
            (2, third.info().program_id, "to_b"),
        ]
        # A replacement takes the place of what it replaces; the last one still decides.
        first.replace(drops)
        assert [each.name for each in query(a_and_b.server)] == ["drops", "passes", "to_b"]
        assert who_answers(a_and_b.client, "tcp", ADDRESS, PORT) == "b"
        # Others move up when one goes, and who comes anew is last.
        first.close()
        with attach(to_a, a_and_b.server):
            assert listed(a_and_b.server) == [
                (0, second.info().program_id, "passes"),
                (1, third.info().program_id, "to_b"),
                (2, query(a_and_b.server)[-1].id, "to_a"),
            ]
            assert who_answers(a_and_b.client, "tcp", ADDRESS, PORT) == "a"
    assert query(a_and_b.server) == []
    assert query(a_and_b.client) == []


def test_query_is_right_while_programs_are_replaced(netns: Namespace) -> None:
    replacements = itertools.cycle([passes, drops])
    end = threading.Event()

    def keep_replacing(link: ProgramLink) -> None:
        while not end.is_set():
            link.replace(next(replacements))

    with attach(passes, netns), attach(passes, netns) as changing, attach(drops, netns):
        thread = threading.Thread(target=keep_replacing, args=(changing,))
        thread.start()
        try:
            for _ in range(1000):
                first, second, third = (each.name for each in query(netns))
                assert (first, third) == ("passes", "drops")
                assert second in ("passes", "drops")
        finally:
            end.set()
            thread.join()


def listed(namespace: Namespace) -> list[tuple[int, int, str]]:
    return [tuple(each) for each in query(namespace)]


def test_a_namespace_takes_64_programs_and_refuses_one_more(a_and_b: TwoHosts) -> None:
    with contextlib.ExitStack() as stack:
        links: list[ProgramLink] = [
            stack.enter_context(attach(to_a if number == 40 else passes, a_and_b.server))
            for number in range(LIMIT)
        ]
        before = query(a_and_b.server)
        assert [each.id for each in before] == [link.info().program_id for link in links]
        with pytest.raises(CapacityError, match="64 programs") as caught:
            attach(to_b, a_and_b.server)
        assert caught.value.errno_name == "E2BIG"
        assert caught.value.hint
        assert query(a_and_b.server) == before
        assert who_answers(a_and_b.client, "tcp", ADDRESS, PORT) == "a"
        # What is replaced does not count twice, and one that goes makes room.
        links[-1].replace(to_b)
        assert who_answers(a_and_b.client, "tcp", ADDRESS, PORT) == "b"
        links[0].close()
        stack.enter_context(attach(to_a, a_and_b.server))
        assert who_answers(a_and_b.client, "tcp", ADDRESS, PORT) == "a"
    assert servers.kernel_map is None


def test_programs_of_other_namespaces_have_no_part_in_it(
    a_and_b: TwoHosts, echo_server: Start
) -> None:
    echo_server(a_and_b.client, "tcp", "0.0.0.0", PORT, name="client's")
    with attach(to_a, a_and_b.server), attach(drops, a_and_b.client):
        assert ask(a_and_b.client, "tcp", ADDRESS, PORT).server == "a"
        assert who_answers(a_and_b.server, "tcp", "203.0.113.2", PORT) == "refused"
    assert who_answers(a_and_b.server, "tcp", "203.0.113.2", PORT) == "client's"
