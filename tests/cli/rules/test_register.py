"""``register`` gives the sockets of running processes to a service, or says why it does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.command import Ended
from support.edge import Edge
from support.networks import TwoHosts
from support.servers import Start, ask, who_answers

pytestmark = pytest.mark.kernel

RULES = ("web tcp 192.0.2.0/24 80", "web udp 192.0.2.0/24 80")


def sockets(edge: Edge, service: str = "web") -> list[str]:
    """The sockets that a service has, as ``status`` names them."""
    return sorted(
        f"{each['protocol']} {each['address']} {each['port']}"
        for each in edge.service(service)["sockets"]
    )


@contextmanager
def holding(hosts: TwoHosts, code: str) -> Iterator[int]:
    """The pid of a process that has run some code in the server's namespace, and waits."""
    source = f"import socket, sys\n{code}\nprint('ready', flush=True)\nsys.stdin.read()"
    with hosts.server.popen(
        [sys.executable, "-I", "-S", "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process.pid
        finally:
            process.kill()


def test_all_that_fit_are_taken(edge: Edge, two_hosts: TwoHosts) -> None:
    code = """
a = socket.create_server(("127.0.0.1", 8080))
b = socket.create_server(("::1", 8080), family=socket.AF_INET6)
c = socket.socket(type=socket.SOCK_DGRAM); c.bind(("127.0.0.1", 5300))
not_listening = socket.socket(); not_listening.bind(("127.0.0.1", 9000))
connected = socket.socket(type=socket.SOCK_DGRAM); connected.connect(("127.0.0.1", 9))
connection = socket.create_connection(("127.0.0.1", 8080))
"""
    edge.bind(*RULES)
    with holding(two_hosts, code) as pid:
        ended = edge("register", "web", "--pid", pid).done()
        assert sockets(edge) == ["tcp 127.0.0.1 8080", "tcp ::1 8080", "udp 127.0.0.1 5300"]
        assert "tcp 127.0.0.1:8080" in ended.out
        assert f"({pid})" in ended.out or f"process {pid}" in ended.out


TWO_PORTS = """
a = socket.create_server(("127.0.0.1", 8080))
b = socket.create_server(("127.0.0.1", 8443))
c = socket.create_server(("::", 8443), family=socket.AF_INET6)
d = socket.socket(type=socket.SOCK_DGRAM); d.bind(("127.0.0.1", 8443))
"""


def test_protocol_address_and_port_tell_which(edge: Edge, two_hosts: TwoHosts) -> None:
    edge.bind(*RULES)
    with holding(two_hosts, TWO_PORTS) as pid:
        register = ("register", "web", "--pid", pid)
        edge(*register, "tcp", "127.0.0.1", 8443).done()
        assert sockets(edge) == ["tcp 127.0.0.1 8443"]
        edge(*register, "udp").done()
        assert sockets(edge) == ["tcp 127.0.0.1 8443", "udp 127.0.0.1 8443"]
        edge(*register, "tcp", "*", 8443).done()
        assert sockets(edge) == ["tcp 127.0.0.1 8443", "tcp :: 8443", "udp 127.0.0.1 8443"]
        edge(*register, "tcp", "0:0::0", "8443").done()
        assert "tcp :: 8443" in sockets(edge)


def test_several_that_are_no_group_are_refused_with_their_names(
    edge: Edge, two_hosts: TwoHosts
) -> None:
    edge.bind(*RULES)
    with holding(two_hosts, TWO_PORTS) as pid:
        edge("register", "web", "--pid", pid).failed("127.0.0.1:8080", "127.0.0.1:8443")
        assert sockets(edge) == []


@pytest.mark.parametrize(
    ("code", "arguments", "texts"),
    [
        (
            's = socket.socket(); s.bind(("127.0.0.1", 9000))',
            ["tcp", "127.0.0.1", "9000"],
            ["tcp 127.0.0.1:9000", "it does not listen"],
        ),
        (
            's = socket.socket(type=socket.SOCK_DGRAM); s.bind(("127.0.0.1", 9000));'
            ' s.connect(("127.0.0.1", 9))',
            ["udp", "127.0.0.1", "9000"],
            ["udp 127.0.0.1:9000", "it is connected to one peer"],
        ),
        (
            's = socket.create_server(("127.0.0.1", 9000))',
            ["tcp", "127.0.0.1", "9001"],
            ["no socket of process", "it has tcp 127.0.0.1:9000"],
        ),
        ("s = None", [], ["no socket", "its children may"]),
        ('s = socket.socket(socket.AF_UNIX); s.bind("\\0x"); s.listen()', [], ["no socket"]),
    ],
)
def test_what_cannot_be_steered_to_is_refused_by_name(
    edge: Edge, two_hosts: TwoHosts, code: str, arguments: list[str], texts: list[str]
) -> None:
    edge.bind(*RULES)
    with holding(two_hosts, code) as pid:
        edge("register", "web", "--pid", pid, *arguments).failed(*texts)
    assert sockets(edge) == []


def test_a_server_of_another_namespace_is_refused(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start
) -> None:
    edge.bind(*RULES)
    server = echo_server(two_hosts.client, "tcp", "127.0.0.1", 8080)
    edge("register", "web", "--pid", server.pid).failed("is not in network namespace")


def test_a_service_that_no_rule_names_is_refused_with_the_like(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start
) -> None:
    server = echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080)
    edge("register", "web", "--pid", server.pid).failed("no dispatcher is loaded", "bind")
    edge.bind(*RULES)
    edge("register", "wbe", "--pid", server.pid).failed("wbe", "did you mean 'web'?")


# Stands for systemd: passes the descriptor 3, named, to the process that it becomes.
PASSING = """
import os, socket, sys
s = socket.create_server(("127.0.0.1", 8080))
d = socket.socket(type=socket.SOCK_DGRAM); d.bind(("127.0.0.1", 8080))
os.dup2(s.fileno(), 103); os.dup2(d.fileno(), 104); os.dup2(103, 3); os.dup2(104, 4)
os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="http:quic")
os.execv(sys.argv[1], sys.argv[1:])
"""


def with_passed_sockets(edge: Edge, *arguments: str) -> Ended:
    prefix = (sys.executable, "-c", PASSING)
    return edge.process(*arguments, prefix=prefix, inside=edge.hosts.server)


def test_passed_sockets_are_registered(edge: Edge, two_hosts: TwoHosts) -> None:
    edge.bind(*RULES)
    out = with_passed_sockets(edge, "register", "web", "--systemd").done().out
    assert "tcp 127.0.0.1:8080" in out
    assert "udp 127.0.0.1:8080" in out


def test_of_passed_sockets_some_are_chosen_by_name_or_address(edge: Edge) -> None:
    edge.bind(*RULES)
    register = ("register", "web", "--systemd", "--json")
    for arguments, expected in (
        (["--fdname", "http"], "tcp"),
        (["--fdname", "quic"], "udp"),
        (["udp", "127.0.0.1", "8080"], "udp"),
    ):
        result = with_passed_sockets(edge, *register, *arguments).done().json
        assert [each["protocol"] for each in result["sockets"]] == [expected]
    ended = with_passed_sockets(edge, *register[:3], "--fdname", "https")
    ended.failed("https", "http, quic")
    ended = with_passed_sockets(edge, *register[:3], "tcp", "127.0.0.1", "80")
    ended.failed("tcp 127.0.0.1:8080")


def test_sockets_of_several_processes_are_taken_together(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start
) -> None:
    edge.bind(*RULES)
    workers = [
        echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080, reuseport=True) for _ in range(3)
    ]
    pids = [word for worker in workers for word in ("--pid", worker.pid)]
    result = edge("register", "web", *pids, "--json").done().json
    assert [each["process"]["pid"] for each in result["sockets"]] == [
        worker.pid for worker in workers
    ]
    assert who_answers(two_hosts.client, "tcp", "192.0.2.1", 80) == "server"


def test_of_a_large_group_some_members_are_held_and_all_are_reached(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start
) -> None:
    edge.bind(*RULES)
    server = echo_server(two_hosts.server, "tcp", "127.0.0.1", sockets=10)
    ended = edge("register", "web", "--pid", server.pid).done()
    assert "note: 2 more members of the group get their share too" in ended.err
    result = edge("register", "web", "--pid", server.pid, "--json").done().json
    assert (len(result["sockets"]), len(result["left_out"])) == (8, 2)
    reached = {ask(two_hosts.client, "tcp", "192.0.2.1", 80).socket for _ in range(200)}
    assert reached == set(range(10))


def test_unregister_says_what_it_let_go_of(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start
) -> None:
    edge.bind(*RULES)
    edge.register("web", echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080))
    assert "no udp socket" in edge("unregister", "web", "udp").done().out.lower()
    assert sockets(edge) == ["tcp 127.0.0.1 8080"]
    edge("unregister", "web", "tcp").done()
    assert sockets(edge) == []
