"""The verdict: ``BPF_REDIRECT`` uses what is selected, anything else lets the lookup go on."""

from __future__ import annotations

import errno
from contextlib import ExitStack

import pytest

from inet_lookup import PASS, SockArray, Verdict, attach, program
from inet_lookup.bpf import AttachType, NetnsLink, Program
from inet_lookup.net import Namespace
from inet_lookup.programs.context import Context
from inet_lookup.programs.function import ProgramFunction
from inet_lookup.rfc import BPF_DROP, BPF_OK, BPF_REDIRECT
from support.rfc_programs import EXTERNAL_PORT, attached_selecting
from support.servers import EchoServer, Start, ask, who_answers
from support.taking import Take

pytestmark = pytest.mark.kernel

OTHER_VERDICTS = {
    "BPF_OK": BPF_OK,
    "one that has no name": 1,
    "BPF_DROP": BPF_DROP,
    "the next number": BPF_REDIRECT + 1,
    "an error of the helper": -errno.ENOENT,
    "the negative number": -BPF_REDIRECT,
    "the greatest": 2**31 - 1,
    "the least": -(2**31),
}


@pytest.fixture
def servers(host: Namespace, echo_server: Start) -> tuple[EchoServer, EchoServer]:
    """The one that a program selects, and the one that the regular lookup finds."""
    return (
        echo_server(host, "tcp", "127.0.0.2", 8008, name="selected"),
        echo_server(host, "tcp", "127.0.0.1", EXTERNAL_PORT, name="regular"),
    )


def answer(host: Namespace) -> str:
    return who_answers(host, "tcp", "127.0.0.1", EXTERNAL_PORT)


def test_redirect_uses_the_selected_socket(
    host: Namespace, servers: tuple[EchoServer, EchoServer], take: Take, language: str
) -> None:
    with attached_selecting(language, host, verdict=BPF_REDIRECT) as attached:
        attached.put(0, take(servers[0]))
        assert answer(host) == "selected"


@pytest.mark.parametrize("verdict", OTHER_VERDICTS)
def test_anything_else_lets_the_regular_lookup_go_on(
    host: Namespace,
    servers: tuple[EchoServer, EchoServer],
    take: Take,
    language: str,
    verdict: str,
) -> None:
    with attached_selecting(language, host, verdict=OTHER_VERDICTS[verdict]) as attached:
        attached.put(0, take(servers[0]))
        assert answer(host) == "regular"
        assert attached.results()[0] == BPF_REDIRECT, "the socket was selected"


def test_redirect_without_a_selected_socket_lets_the_regular_lookup_go_on(
    host: Namespace, servers: tuple[EchoServer, EchoServer], language: str
) -> None:
    with attached_selecting(language, host, calls=0, verdict=BPF_REDIRECT):
        assert answer(host) == "regular"


def test_a_later_selection_takes_the_place_of_an_earlier_one(
    host: Namespace,
    servers: tuple[EchoServer, EchoServer],
    echo_server: Start,
    take: Take,
    language: str,
) -> None:
    second = echo_server(host, "tcp", "127.0.0.3", 8008, name="second")
    with attached_selecting(
        language, host, calls=2, second_key=1, verdict=BPF_REDIRECT
    ) as attached:
        attached.put(0, take(servers[0]))
        attached.put(1, take(second))
        assert answer(host) == "second"
        assert attached.results() == (BPF_REDIRECT, BPF_REDIRECT)


def test_a_later_selection_that_fails_leaves_the_earlier_one(
    host: Namespace, servers: tuple[EchoServer, EchoServer], take: Take, language: str
) -> None:
    with attached_selecting(
        language, host, calls=2, second_key=1, verdict=BPF_REDIRECT
    ) as attached:
        attached.put(0, take(servers[0]))
        assert answer(host) == "selected"
        assert attached.results() == (BPF_REDIRECT, -errno.ENOENT)


def test_no_reuseport_group_is_asked(
    host: Namespace, echo_server: Start, take: Take, language: str
) -> None:
    group = echo_server(host, "tcp", "127.0.0.2", 8008, sockets=8, reuseport=True)
    with attached_selecting(language, host) as attached:
        attached.put(0, take(group, member=5))
        asked = [ask(host, "tcp", "127.0.0.1", EXTERNAL_PORT) for _ in range(30)]
    assert {each.socket for each in asked} == {5}


# --- with others in the namespace, which the RFC does not have ---------------------------------


def selecting_first(socket_array: SockArray) -> ProgramFunction:
    @program
    def plain(ctx: Context) -> Verdict:
        return socket_array.redirect(ctx, 0) if ctx.local_port == EXTERNAL_PORT else PASS

    return plain


def attach_behind(function: object, namespace: Namespace) -> object:
    """Attach where another program is, which the RFC's way refuses."""
    if isinstance(function, Program):
        return NetnsLink.create(function, namespace.fileno(), AttachType.SK_LOOKUP)
    assert isinstance(function, ProgramFunction)
    return attach(function, namespace)


@pytest.mark.parametrize("verdict", [BPF_OK, BPF_DROP])
@pytest.mark.parametrize("calls", [0, 1])
def test_what_an_earlier_program_selected_stays_selected(
    host: Namespace,
    servers: tuple[EchoServer, EchoServer],
    echo_server: Start,
    take: Take,
    language: str,
    verdict: int,
    calls: int,
) -> None:
    """Also where this program selected another socket and took that back."""
    first = echo_server(host, "tcp", "127.0.0.3", 8008, name="first")
    array = SockArray(max_entries=1)
    with ExitStack() as stack:
        stack.enter_context(attach(selecting_first(array), host))
        array[0] = take(first)
        attached = stack.enter_context(
            attached_selecting(
                language,
                host,
                calls=calls,
                verdict=verdict,
                attach=attach_behind,  # type: ignore[arg-type]
            )
        )
        attached.put(0, take(servers[0]))
        assert answer(host) == "first"
        assert attached.results()[0] == (BPF_REDIRECT if calls else 0)


def test_a_redirect_goes_before_what_an_earlier_program_selected(
    host: Namespace,
    servers: tuple[EchoServer, EchoServer],
    echo_server: Start,
    take: Take,
    language: str,
) -> None:
    first = echo_server(host, "tcp", "127.0.0.3", 8008, name="first")
    array = SockArray(max_entries=1)
    with ExitStack() as stack:
        stack.enter_context(attach(selecting_first(array), host))
        array[0] = take(first)
        attached = stack.enter_context(
            attached_selecting(
                language,
                host,
                attach=attach_behind,  # type: ignore[arg-type]
            )
        )
        attached.put(0, take(servers[0]))
        assert answer(host) == "selected"
