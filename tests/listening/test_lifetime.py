"""How long a listener steers, and what is left of it afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inet_lookup import Listener, Namespace, listen, query
from inet_lookup.errors import CapacityError
from inet_lookup.net import is_local
from support.arrivals import arrives, is_refused
from support.networks import TwoHosts
from support.unprivileged import run_with

pytestmark = pytest.mark.kernel

PREFIX, ADDRESS, PORT = "192.0.2.0/24", "192.0.2.7", 80

CAP_NET_ADMIN, CAP_BPF = 12, 39


@contextlib.contextmanager
def process(namespace: Namespace, script: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python in a namespace until it has written a line; it is killed afterwards."""
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", script]
    with namespace.popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == "ready\n"
            yield started
        finally:
            started.kill()


LISTEN = f"""
import os, sys
from inet_lookup import listen
listener = listen({PREFIX!r}, {PORT})
"""


def test_the_end_of_the_with_block_ends_it(two_hosts: TwoHosts) -> None:
    with listen(PREFIX, PORT, netns=two_hosts.server) as listener:
        assert len(query(two_hosts.server)) == 1
    assert listener.fileno() == -1
    assert query(two_hosts.server) == []
    assert is_refused(two_hosts, ADDRESS, PORT)
    listener.close()


def test_what_is_accepted_stays_open_after_it(two_hosts: TwoHosts) -> None:
    with listen(PREFIX, PORT, netns=two_hosts.server) as listener:
        asking = two_hosts.client.run(socket.create_connection, (ADDRESS, PORT), 5)
        accepted, _ = listener.accept()
    with asking, accepted:
        assert type(accepted) is socket.socket
        accepted.sendall(b"still here")
        assert asking.recv(100) == b"still here"


def test_a_forgotten_listener_ends_with_a_warning(netns: Namespace) -> None:
    listener: Listener | None = listen(PREFIX, PORT, netns=netns)
    assert len(query(netns)) == 1
    with pytest.warns(ResourceWarning, match="unclosed <Listener tcp") as warned:
        del listener
    assert len(warned) == 1
    assert query(netns) == []


def test_the_last_one_attached_wins_until_it_is_closed(two_hosts: TwoHosts) -> None:
    with listen(PREFIX, "any", netns=two_hosts.server) as first:
        with listen("192.0.2.0/28", [PORT, 81], netns=two_hosts.server) as second:
            with listen("192.0.0.0/16", 81, netns=two_hosts.server) as third:
                assert arrives(second, two_hosts, ADDRESS, 80)
                assert arrives(third, two_hosts, ADDRESS, 81)
                assert arrives(first, two_hosts, ADDRESS, 82)
                assert arrives(first, two_hosts, "192.0.2.77", 80)
            assert arrives(second, two_hosts, ADDRESS, 81)
        assert arrives(first, two_hosts, ADDRESS, 81)
    assert is_refused(two_hosts, ADDRESS, 81)


def test_a_new_server_takes_over_from_an_old_one(two_hosts: TwoHosts) -> None:
    old = listen(PREFIX, PORT, netns=two_hosts.server)
    assert arrives(old, two_hosts, ADDRESS, PORT)
    with listen(PREFIX, PORT, netns=two_hosts.server) as new:
        assert arrives(new, two_hosts, ADDRESS, PORT)
        old.close()
        assert arrives(new, two_hosts, ADDRESS, PORT)


def test_a_killed_process_steers_no_more(two_hosts: TwoHosts) -> None:
    script = LISTEN + "print('ready', flush=True); sys.stdin.read()"
    with process(two_hosts.server, script) as server:
        assert not is_refused(two_hosts, ADDRESS, PORT)
        server.send_signal(signal.SIGKILL)
        server.wait()
        assert query(two_hosts.server) == []
        assert is_refused(two_hosts, ADDRESS, PORT)


def test_a_forked_process_shares_it(two_hosts: TwoHosts) -> None:
    script = f"""
import os, sys
from inet_lookup import listen
listener = listen("10.9.8.0/24", {PORT}, anyip=True)
if os.fork() == 0:
    sys.stdin.readline()
    listener.close()
    os._exit(0)
print('ready', flush=True)
os.wait()
print('the child has ended', flush=True)
sys.stdin.readline()
"""
    with process(two_hosts.server, script) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert connects(two_hosts, "10.9.8.7")
        server.stdin.write("\n")
        server.stdin.flush()
        assert server.stdout.readline() == "the child has ended\n"
        assert connects(two_hosts, "10.9.8.7")


def connects(hosts: TwoHosts, address: str) -> bool:
    """Whether the server's own address is answered by a listener; from within the server."""
    try:
        hosts.server.run(socket.create_connection, (address, PORT), 5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("survives", [True, False])
def test_an_executed_program_has_it_where_it_is_inheritable(
    two_hosts: TwoHosts, survives: bool
) -> None:
    successor = "import sys; print('ready', flush=True); sys.stdin.read()"
    script = LISTEN + (
        f"{'listener' if survives else 'os'}"
        f".set_inheritable({'' if survives else 'listener.fileno(), '}True)\n"
        f"os.execv(sys.executable, [sys.executable, '-c', {successor!r}])"
    )
    with process(two_hosts.server, script):
        assert is_refused(two_hosts, ADDRESS, PORT) is not survives
        assert len(query(two_hosts.server)) == survives


def test_multiprocessing_workers_get_a_plain_socket(two_hosts: TwoHosts) -> None:
    command = [sys.executable, Path(__file__).with_name("listen_and_hire.py")]
    with two_hosts.server.popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "the worker has a socket\n"
        with two_hosts.client.run(socket.create_connection, (ADDRESS, PORT), 5) as asking:
            assert asking.recv(100) == b"from the worker"
        assert server.stdout.readline() == "the parent steers still\n"
        assert server.wait(10) == 0


def test_a_duplicate_is_a_plain_socket(two_hosts: TwoHosts) -> None:
    with listen(PREFIX, PORT, netns=two_hosts.server) as listener:
        with listener.dup() as duplicate:
            assert type(duplicate) is socket.socket
            assert duplicate.getsockname() == listener.getsockname()
        assert arrives(listener, two_hosts, ADDRESS, PORT)


def test_a_detached_socket_is_steered_to_until_the_listener_is_closed(
    two_hosts: TwoHosts,
) -> None:
    with (
        listen(PREFIX, PORT, netns=two_hosts.server) as listener,
        socket.socket(fileno=listener.detach()) as sock,
        two_hosts.client.run(socket.create_connection, (ADDRESS, PORT), 5),
    ):
        sock.accept()[0].close()
    assert query(two_hosts.server) == []


def test_it_listens_in_the_callers_namespace_by_default(two_hosts: TwoHosts) -> None:
    with two_hosts.server.run(listen, PREFIX, PORT) as listener:
        assert arrives(listener, two_hosts, ADDRESS, PORT)


def test_it_needs_no_compiler(two_hosts: TwoHosts) -> None:
    script = (
        "import sys; sys.modules['llvmlite'] = None\n"
        + LISTEN
        + "print('ready', flush=True); sys.stdin.read()"
    )
    with process(two_hosts.server, script):
        assert not is_refused(two_hosts, ADDRESS, PORT)


def test_two_capabilities_are_enough_in_ones_own_namespace(netns: Namespace) -> None:
    def attempt() -> Any:
        with listen("10.9.8.0/24", PORT, anyip=True) as listener:
            return listener.protocol

    outcome = netns.run(run_with, attempt, [CAP_NET_ADMIN, CAP_BPF])
    assert (outcome.error, outcome.value) == (None, "tcp"), outcome.text
    for lacking in ([CAP_NET_ADMIN], [CAP_BPF]):
        outcome = netns.run(run_with, attempt, lacking)
        assert outcome.error == "PrivilegeError"
        assert outcome.hint
    assert query(netns) == []


def test_the_65th_listener_of_a_namespace_is_refused(netns: Namespace) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(64):
            stack.enter_context(listen(f"192.0.2.{number}", PORT, netns=netns))
        descriptors = os.listdir("/proc/self/fd")
        with pytest.raises(CapacityError, match="64 programs attached"):
            listen("192.0.2.64", PORT, netns=netns, anyip=True)
        assert not is_local(netns, "192.0.2.64")
        assert os.listdir("/proc/self/fd") == descriptors
        assert len(query(netns)) == 64
