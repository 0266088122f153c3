"""``examples/xdp_guard`` passes what the stack has a socket for, steered or not; no more."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from inet_lookup import DROP, PASS, Context, Verdict, attach, listen, program
from inet_lookup.net.namespaces import Namespace
from support.arrivals import arrives
from support.clang import VERSIONS
from support.networks import CLIENT_V4, SERVER_V4, TwoHosts, sysctl
from support.servers import Start, who_answers

pytestmark = [pytest.mark.kernel, pytest.mark.requires_command("make", VERSIONS[-1])]

EXAMPLE = Path(__file__).parents[2] / "examples" / "xdp_guard"
GUARDED = ("192.0.2.0/24", "2001:db8:1::/48")
ADDRESSES = ("192.0.2.7", "2001:db8:1::7")

each_mode = pytest.mark.parametrize("mode", ["generic", "driver"])
each_protocol = pytest.mark.parametrize("protocol", ["tcp", "udp"])
Protocol = Literal["tcp", "udp"]


@functools.cache
def built(compiler: str = VERSIONS[-1]) -> bytes:
    """The example's object, as its Makefile builds it."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory, "xdp_guard.bpf.o")
        subprocess.run(
            ["make", "-s", "-C", EXAMPLE, f"CLANG={compiler}", f"OBJECT={target}"], check=True
        )
        return target.read_bytes()


@contextlib.contextmanager
def guarding(
    hosts: TwoHosts,
    directory: Path,
    *prefixes: str,
    mode: str = "any",
    compiler: str = VERSIONS[-1],
) -> Iterator[dict[str, int]]:
    """Guard the server's interface; afterwards the counts of packets are in what is given."""
    path = directory / "xdp_guard.bpf.o"
    path.write_bytes(built(compiler))
    options = ["--object", path, "--mode", mode]
    options += ["--netns", f"/proc/{os.getpid()}/fd/{hosts.server.fileno()}"]
    packets: dict[str, int] = {}
    with subprocess.Popen(
        [sys.executable, EXAMPLE / "attach.py", "eth0", *prefixes, *options],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "guarding eth0\n"
            yield packets
            process.send_signal(signal.SIGTERM)
            for entry in process.stdout.readline().strip("{}\n").split(","):
                name, number = entry.split(":")
                packets[name.strip(" '")] = int(number)
            assert process.wait(10) == 0
        finally:
            process.kill()


def outcome(client: Namespace, protocol: Protocol, address: str, port: int) -> str:
    """What becomes of a packet of the client's: ``refused``, ``silence`` or ``accepted``."""

    def send() -> str:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        with socket.socket(family, kind) as sock:
            sock.settimeout(0.2)
            try:
                sock.connect((address, port))
                if protocol == "udp":
                    sock.send(b"question")
                    sock.recv(100)
            except ConnectionRefusedError:
                return "refused"
            except TimeoutError:
                return "silence"
        return "accepted"

    return client.run(send)


@pytest.fixture
def hosts(two_hosts: TwoHosts) -> TwoHosts:
    # As many ICMP messages as there are refusals: by default they are few a second.
    for family in ("ipv4.icmp_ratelimit", "ipv6.icmp.ratelimit"):
        sysctl(two_hosts.server, f"net.{family}", 0)
    return two_hosts


@each_mode
@each_protocol
def test_what_is_steered_passes_and_what_nobody_serves_is_dropped(
    hosts: TwoHosts, tmp_path: Path, protocol: Protocol, mode: str
) -> None:
    with listen(GUARDED, 80, protocol=protocol, netns=hosts.server) as listener:
        for address in ADDRESSES:
            assert outcome(hosts.client, protocol, address, 81) == "refused"
        with guarding(hosts, tmp_path, *GUARDED, mode=mode) as packets:
            for address in ADDRESSES:
                assert arrives(listener, hosts, address, 80)
                assert outcome(hosts.client, protocol, address, 81) == "silence"
            # Out of the guarded prefixes the stack answers for itself.
            assert outcome(hosts.client, protocol, "198.51.100.7", 81) == "refused"
            assert outcome(hosts.client, protocol, SERVER_V4, 81) == "refused"
        for address in ADDRESSES:
            assert outcome(hosts.client, protocol, address, 81) == "refused"
    assert packets["passed"] >= len(ADDRESSES)
    assert packets["dropped"] >= len(ADDRESSES)


@each_protocol
def test_the_end_of_the_steering_is_the_end_of_passing(
    hosts: TwoHosts, tmp_path: Path, protocol: Protocol
) -> None:
    with guarding(hosts, tmp_path, *GUARDED):
        with listen(GUARDED, "any", protocol=protocol, netns=hosts.server) as listener:
            for address in ADDRESSES:
                assert arrives(listener, hosts, address, 443)
        for address in ADDRESSES:
            assert outcome(hosts.client, protocol, address, 443) == "silence"


def test_what_a_program_drops_never_comes_to_the_stack(
    hosts: TwoHosts, echo_server: Start, tmp_path: Path
) -> None:
    @program
    def drops_81(ctx: Context) -> Verdict:
        return DROP if ctx.local_port == 81 else PASS

    for port in (80, 81):
        echo_server(hosts.server, "tcp", "0.0.0.0", port, name="regular")
    with attach(drops_81, hosts.server):
        assert outcome(hosts.client, "tcp", ADDRESSES[0], 81) == "refused"
        with guarding(hosts, tmp_path, *GUARDED):
            assert outcome(hosts.client, "tcp", ADDRESSES[0], 81) == "silence"
            assert who_answers(hosts.client, "tcp", ADDRESSES[0], 80) == "regular"


def test_by_default_every_local_address_is_guarded_and_the_hosts_own_traffic_passes(
    hosts: TwoHosts, echo_server: Start, tmp_path: Path
) -> None:
    for protocol in ("tcp", "udp"):
        echo_server(hosts.server, protocol, "0.0.0.0", 7007, name="bound")
        echo_server(hosts.client, protocol, CLIENT_V4, 7007, name="far")
    with (
        hosts.client.run(socket.create_connection, (SERVER_V4, 7007), 5) as established,
        guarding(hosts, tmp_path),
    ):
        for protocol in ("tcp", "udp"):
            for address in (SERVER_V4, "198.51.100.7"):
                assert who_answers(hosts.client, protocol, address, 7007) == "bound"
                assert outcome(hosts.client, protocol, address, 81) == "silence"
            # The server asks, and the answers come to the sockets that asked.
            assert who_answers(hosts.server, protocol, CLIENT_V4, 7007) == "far"
        established.sendall(b"still here\n")
        assert b"still here" in established.recv(1000)


def test_a_client_may_come_back_to_a_connection_in_time_wait(
    hosts: TwoHosts, tmp_path: Path
) -> None:
    with (
        listen(GUARDED, 80, netns=hosts.server) as listener,
        guarding(hosts, tmp_path, *GUARDED) as packets,
    ):
        for _ in range(3):
            with hosts.client.run(socket.socket) as asking:
                asking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                asking.settimeout(5)
                asking.bind((CLIENT_V4, 40_000))
                asking.connect((ADDRESSES[0], 80))
                listener.accept()[0].close()  # first, and so it waits
                assert asking.recv(100) == b""
    assert packets["dropped"] == 0


@pytest.mark.requires_command(VERSIONS[0])
def test_objects_of_the_oldest_clang_work(hosts: TwoHosts, tmp_path: Path) -> None:
    with guarding(hosts, tmp_path, compiler=VERSIONS[0]):
        assert outcome(hosts.client, "tcp", ADDRESSES[0], 81) == "silence"


def test_an_interface_that_has_a_program_is_refused(hosts: TwoHosts, tmp_path: Path) -> None:
    with guarding(hosts, tmp_path):
        done = subprocess.run(
            [
                sys.executable,
                EXAMPLE / "attach.py",
                "eth0",
                f"--netns=/proc/{os.getpid()}/fd/{hosts.server.fileno()}",
                f"--object={tmp_path / 'xdp_guard.bpf.o'}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "the interface has an XDP program" in done.stderr
    assert "Traceback" not in done.stderr
