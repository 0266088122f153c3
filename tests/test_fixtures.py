"""The fixtures themselves: traffic flows where it should, and leaks are seen."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from inet_lookup.net.namespaces import Namespace
from support import mounts
from support.leaks import Holdings, left_behind_since
from support.networks import TwoHosts
from support.servers import EchoServer, Protocol, ask

pytestmark = pytest.mark.kernel

Start = Callable[..., EchoServer]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ("0.0.0.0", "192.0.2.77"),
        ("0.0.0.0", "203.0.113.1"),
        ("198.51.100.1", "198.51.100.1"),
        ("::", "2001:db8:1:2::3"),
        ("::", "192.0.2.1"),
        ("2001:db8:2::1", "2001:db8:2::1"),
    ],
)
def test_a_client_reaches_a_server_on_every_address_of_the_local_prefixes(
    two_hosts: TwoHosts, echo_server: Start, protocol: Protocol, bound: str, asked: str
) -> None:
    v6only = False if ":" in bound else None
    echo_server(
        two_hosts.server, protocol, bound, 7007, name="a", v6only=v6only, freebind=":" in bound
    )
    answer = ask(two_hosts.client, protocol, asked, 7007, "ping")
    assert (answer.server, answer.data, answer.local) == ("a", "ping", (asked, 7007))


def test_several_sockets_of_a_server_share_the_port(netns: Namespace, echo_server: Start) -> None:
    echo_server(netns, "udp", "127.0.0.1", 53, sockets=4)
    answers = {ask(netns, "udp", "127.0.0.1", 53).socket for _ in range(40)}
    assert len(answers) > 1
    assert answers <= {0, 1, 2, 3}


def test_a_server_can_run_as_another_user(netns: Namespace, echo_server: Start) -> None:
    server = echo_server(netns, "tcp", "127.0.0.1", 80, user=65534)
    assert "\nUid:\t65534\t65534" in Path(f"/proc/{server.pid}/status").read_text()


def test_a_named_namespace_is_where_ip_finds_it(named_netns: str) -> None:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    assert listed.stdout.split()[0] == named_netns


def test_the_bpffs_takes_pins_and_directories(bpffs: Path) -> None:
    (bpffs / "directory").mkdir()
    assert any(each.type == "bpf" and each.point == str(bpffs) for each in mounts.mounts())


def test_a_process_can_enter_the_cgroup(cgroup: Path) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        (cgroup / "cgroup.procs").write_text(str(process.pid))
        assert (cgroup / "cgroup.procs").read_text().split() == [str(process.pid)]
        process.kill()


def test_the_watch_sees_a_leaked_file_descriptor() -> None:
    before = Holdings.now()
    fd = os.open("/dev/null", os.O_RDONLY)
    assert left_behind_since(before) == [f"file descriptor {fd}: /dev/null"]
    os.close(fd)
    assert left_behind_since(before) == []


def test_the_watch_sees_a_leaked_process() -> None:
    before = Holdings.now()
    with subprocess.Popen(["sleep", "60"]) as process:
        assert left_behind_since(before) == [f"child process {process.pid}: sleep 60"]
        process.kill()
    assert left_behind_since(before) == []


def test_the_watch_sees_a_leaked_mount_and_pin(bpffs: Path) -> None:
    before = Holdings.now()
    (bpffs / "forgotten").mkdir()
    assert left_behind_since(before) == [f"pin: {bpffs}/forgotten"]
    (bpffs / "forgotten").rmdir()
    (bpffs.parent / f"{bpffs.name}-too").mkdir()
    target = str(bpffs.parent / f"{bpffs.name}-too")
    mounts.mount("bpf", target, "bpf")
    assert left_behind_since(before) == [f"mount: bpf on {target}"]
    mounts.unmount(target)
    os.rmdir(target)


def test_the_watch_sees_a_thread_that_stays_in_another_namespace(netns: Namespace) -> None:
    before = Holdings.now()
    release, entered = threading.Event(), threading.Event()

    def stay() -> None:
        entered.set()
        release.wait(10)

    thread = threading.Thread(target=netns.run, args=(stay,))
    thread.start()
    entered.wait(10)
    (found,) = left_behind_since(before)
    assert found.endswith(f"in another network namespace: net:[{netns.inode}]")
    release.set()
    thread.join()


def test_sockets_of_a_namespace_are_closed_by_the_test_that_made_them(netns: Namespace) -> None:
    with netns.run(socket.socket) as sock:
        assert sock.fileno() >= 0
