"""The cases of the RFC's own test: ten ways to redirect, and the query.

A client sends to an external address and port, a server is bound to internal ones, and the program
steers by port or by address. A UDP server finds the external address among what comes along with
the datagram (``IP_RECVORIGDSTADDR``, ``IPV6_RECVORIGDSTADDR``), and answers from there.
"""

from __future__ import annotations

import pytest

from inet_lookup.bpf import Program
from inet_lookup.net import Namespace
from inet_lookup.rfc import query
from support.rfc_programs import EXTERNAL_PORT, attached_redirecting
from support.servers import Protocol, Start, ask, who_answers
from support.taking import Take

pytestmark = pytest.mark.kernel

INTERNAL_PORT = 8008

CASES = {
    "IPv4 by port": ("by_port", "127.0.0.1", "127.0.0.2"),
    "IPv4 by address": ("by_ip4", "127.0.0.1", "127.0.0.2"),
    "IPv6 by port": ("by_port", "fd00::1", "fd00::2"),
    "IPv6 by address": ("by_ip6", "fd00::1", "fd00::2"),
    "IPv4 by port to an IPv6 socket": ("by_port", "127.0.0.1", "::ffff:127.0.0.2"),
}


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("case", CASES)
def test_a_redirected_echo_comes_back(
    host: Namespace, echo_server: Start, take: Take, language: str, protocol: Protocol, case: str
) -> None:
    name, external, internal = CASES[case]
    v6only = False if ":" in internal else None
    server = echo_server(host, protocol, internal, INTERNAL_PORT, v6only=v6only)
    assert who_answers(host, protocol, external, EXTERNAL_PORT) == "refused"
    with attached_redirecting(language, name, host) as attached:
        assert who_answers(host, protocol, external, EXTERNAL_PORT) == "refused"
        attached.put(0, take(server))
        answer = ask(host, protocol, external, EXTERNAL_PORT, "echo")
        assert answer.data == "echo"
        assert answer.local == (external, EXTERNAL_PORT)
        assert who_answers(host, protocol, external, EXTERNAL_PORT + 1) == "refused"
    assert who_answers(host, protocol, external, EXTERNAL_PORT) == "refused"


@pytest.mark.parametrize("name", ["by_ip4", "by_ip6"])
def test_another_address_is_not_redirected(
    host: Namespace, echo_server: Start, take: Take, language: str, name: str
) -> None:
    internal, elsewhere = ("127.0.0.2", "127.0.0.3") if name == "by_ip4" else ("fd00::2", "::1")
    server = echo_server(host, "tcp", internal, INTERNAL_PORT)
    with attached_redirecting(language, name, host) as attached:
        attached.put(0, take(server))
        assert who_answers(host, "tcp", elsewhere, EXTERNAL_PORT) == "refused"


def test_the_query_gives_one_program_and_its_id(host: Namespace, language: str) -> None:
    assert query(host).program_count == 0
    with attached_redirecting(language, "by_port", host):
        found = query(host)
        assert found.attach_flags == 0
        assert found.program_count == 1
        (id,) = found.program_ids
        assert id != 0
        with Program.from_id(id) as program:
            assert program.name == "by_port"
    assert query(host).program_count == 0
