"""Sockets are found in and taken out of running processes."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from inet_lookup.errors import SocketError
from inet_lookup.net.namespaces import Namespace
from inet_lookup.net.owners import owners_of
from inet_lookup.net.processes import Process, sockets_of, take_all, take_one
from inet_lookup.net.selectors import SocketSelector
from inet_lookup.net.sockets import SocketState, describe
from support.networks import TwoHosts
from support.servers import EchoServer, ask
from support.steering import steer_everything

pytestmark = pytest.mark.kernel

Start = Callable[..., EchoServer]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(("address", "written"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_the_socket_that_is_taken_is_the_one_that_the_server_has(
    netns: Namespace, echo_server: Start, protocol: str, address: str, written: str
) -> None:
    server = echo_server(netns, protocol, address, 8080)
    selector = SocketSelector.parse(f"{server.pid}/{protocol}/{written}:8080")
    with take_one(selector, namespace=netns) as taken:
        (theirs,) = server.sockets
        assert taken.source_fd == theirs.fd
        assert taken.info.inode == os.stat(f"/proc/{server.pid}/fd/{theirs.fd}").st_ino
        assert taken.info.netns_cookie == netns.cookie
        assert taken.process == Process.of(server.pid)
        assert describe(taken) == taken.info
        assert not os.get_inheritable(taken.fileno())


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(("bound", "asked"), [("127.0.0.1", "192.0.2.9"), ("::1", "2001:db8:1::9")])
def test_traffic_is_steered_to_the_socket_of_another_process(
    two_hosts: TwoHosts, echo_server: Start, protocol: str, bound: str, asked: str
) -> None:
    server = echo_server(two_hosts.server, protocol, bound, 8080, name="hidden", v6only=None)
    with take_one(SocketSelector(server.pid)) as taken:
        with steer_everything(two_hosts.server, taken):
            answer = ask(two_hosts.client, protocol, asked, 7)
            assert (answer.server, answer.local) == ("hidden", (asked, 7))
        assert server.process.poll() is None


def test_closing_what_was_taken_leaves_the_server_its_socket(
    netns: Namespace, echo_server: Start
) -> None:
    server = echo_server(netns, "tcp", "127.0.0.1", 80)
    take_one(SocketSelector(server.pid)).close()
    assert ask(netns, "tcp", "127.0.0.1", 80).server == "server"


def test_all_members_of_a_reuseport_group_are_taken_and_the_first_stands_for_it(
    netns: Namespace, echo_server: Start
) -> None:
    server = echo_server(netns, "tcp", "127.0.0.1", 80, sockets=3)
    selector = SocketSelector.parse(f"{server.pid}/tcp/*:80")
    group = take_all(selector)
    try:
        assert [taken.source_fd for taken in group] == [each.fd for each in server.sockets]
        with take_one(selector) as first:
            assert first.info == group[0].info
    finally:
        for taken in group:
            taken.close()


def test_one_of_several_different_sockets_is_not_picked_by_chance(
    netns: Namespace, echo_server: Start
) -> None:
    server = echo_server(netns, "tcp", ["127.0.0.1", "127.0.0.2"], 80, name="x")
    with pytest.raises(SocketError) as caught:
        take_one(SocketSelector.parse(f"{server.pid}/tcp/*:80"))
    process = Process.of(server.pid)
    assert caught.value.message == f"2 sockets of {process} match {server.pid}/tcp/*:80"
    assert caught.value.hint == (
        "name one of: tcp 127.0.0.1:80 (listening), tcp 127.0.0.2:80 (listening)"
    )


def test_connections_of_a_server_are_not_taken_for_its_listener(
    netns: Namespace, echo_server: Start
) -> None:
    server = echo_server(netns, "tcp", "127.0.0.1", 80)
    with netns.run(socket.create_connection, ("127.0.0.1", 80), timeout=5) as client:
        client.sendall(b"hello\n")
        assert client.recv(1000)
        states = {info.state for info in sockets_of(server.pid)}
        assert states == {SocketState.LISTENING, SocketState.CONNECTED}
        with take_one(SocketSelector.parse(f"{server.pid}/tcp/*:80")) as taken:
            assert taken.info.state is SocketState.LISTENING


def test_a_socket_that_matches_and_is_unfit_is_explained(netns: Namespace) -> None:
    with netns.run(socket.socket, socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 80))
        with pytest.raises(SocketError) as caught:
            take_all(SocketSelector(os.getpid(), "tcp", None, 80))
    assert caught.value.message == (
        f"cannot steer traffic to tcp 127.0.0.1:80 of {Process.of(os.getpid())}: it does not listen"
    )


def test_a_selector_that_matches_nothing_is_answered_with_what_there_is(
    netns: Namespace, echo_server: Start
) -> None:
    server = echo_server(netns, "udp", ["127.0.0.1", "::1"], 53)
    with pytest.raises(SocketError) as caught:
        take_all(SocketSelector.parse(f"{server.pid}/udp/*:54"))
    process = Process.of(server.pid)
    assert caught.value.message == f"no socket of {process} matches {server.pid}/udp/*:54"
    assert caught.value.hint == "it has udp 127.0.0.1:53, udp [::1]:53"


def test_a_process_without_sockets_is_said_to_have_none() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        with pytest.raises(SocketError, match="it has no TCP socket that listens"):
            take_all(SocketSelector.parse(f"{process.pid}/tcp/*:80"))
        process.kill()


def test_a_socket_of_another_namespace_is_refused(two_hosts: TwoHosts, echo_server: Start) -> None:
    server = echo_server(two_hosts.client, "tcp", "0.0.0.0", 80)
    with pytest.raises(SocketError) as caught:
        take_all(SocketSelector.parse(f"{server.pid}/tcp/*:80"), namespace=two_hosts.server)
    assert caught.value.message == (
        f"tcp 0.0.0.0:80 of {Process.of(server.pid)} is not in {two_hosts.server.label}"
    )
    assert caught.value.hint is not None
    assert f"--netns {server.pid}" in caught.value.hint


def test_the_socket_s_namespace_counts_and_not_its_process_s(netns: Namespace) -> None:
    with netns.run(socket.create_server, ("127.0.0.1", 80)):
        take_one(SocketSelector(os.getpid(), "tcp", None, 80), namespace=netns).close()


def test_a_socket_with_two_descriptors_is_one_socket(netns: Namespace) -> None:
    with netns.run(socket.create_server, ("127.0.0.1", 80)) as sock, sock.dup():
        take_one(SocketSelector(os.getpid(), "tcp", None, 80)).close()


def test_a_process_that_does_not_exist_is_an_error() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(SocketError, match=f"^there is no process {process.pid} "):
        take_all(SocketSelector(process.pid))


def test_a_process_that_ended_and_was_not_waited_for_is_an_error() -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(SocketError, match=f"{process.pid}.*has (ended|no TCP socket)"):
            take_all(SocketSelector(process.pid))


def test_a_thread_is_not_a_process() -> None:
    ids: list[int] = []
    ready, release = threading.Event(), threading.Event()

    def work() -> None:
        ids.append(threading.get_native_id())
        ready.set()
        release.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        ready.wait(10)
        with pytest.raises(SocketError, match=f"^{ids[0]} is not the id of a process"):
            take_all(SocketSelector(ids[0]))
    finally:
        release.set()
        thread.join()


@pytest.mark.requires_command("setpriv")
def test_a_missing_privilege_is_named(netns: Namespace, echo_server: Start) -> None:
    server = echo_server(netns, "tcp", "127.0.0.1", 80)
    script = f"""if True:
        from inet_lookup.errors import PrivilegeError
        from inet_lookup.net.processes import take_one
        from inet_lookup.net.selectors import SocketSelector
        try:
            take_one(SocketSelector({server.pid}))
        except PrivilegeError as error:
            print(error.message)
            print(error.hint)
    """
    lines = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert lines[0].startswith(f"take sockets of process {server.pid} (")
    assert lines[0].endswith("this process may not look into that one")
    assert lines[1] == "run as root, or with CAP_SYS_PTRACE"


def test_a_taken_socket_that_is_forgotten_is_closed_with_a_warning(netns: Namespace) -> None:
    def forget() -> None:
        take_one(SocketSelector(os.getpid(), "tcp", None, 80))
        gc.collect()

    with (
        netns.run(socket.create_server, ("127.0.0.1", 80)),
        pytest.warns(ResourceWarning, match="unclosed <TakenSocket tcp 127.0.0.1:80"),
    ):
        forget()


def test_the_owners_of_a_socket_are_all_processes_that_have_it_open(
    netns: Namespace, echo_server: Start
) -> None:
    server = echo_server(netns, "tcp", "127.0.0.1", 80)
    (theirs,) = sockets_of(server.pid)
    with netns.run(socket.create_server, ("127.0.0.1", 81)) as sock:
        ours = describe(sock)
        with take_one(SocketSelector(server.pid)):
            assert owners_of([theirs.inode, ours.inode, 1]) == {
                theirs.inode: sorted([Process.of(server.pid), Process.of(os.getpid())]),
                ours.inode: [Process.of(os.getpid())],
                1: [],
            }
    assert owners_of([]) == {}
