"""``inet-lookup prog attach --replace``: another program in one step, with the same maps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from inet_lookup.bpf import Map, Program
from support import steering_files
from support.command import Ended
from support.networks import TwoHosts
from support.servers import EchoServer, ask

from .conftest import attached, pins

pytestmark = pytest.mark.kernel

Start = Callable[..., EchoServer]
Command = Callable[..., Ended]


@pytest.fixture
def servers(two_hosts: TwoHosts, echo_server: Start) -> list[EchoServer]:
    return [
        echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080 + number, name=f"server {number}")
        for number in range(2)
    ]


@pytest.fixture
def steering(at_server: Command, servers: list[EchoServer], tmp_path: Path) -> None:
    """``steer`` is attached, with a server in slot 0 and none in slot 1."""
    at_server("prog", "attach", steering_files.steer(tmp_path), *placed(0, servers[0])).done()


def placed(index: int, server: EchoServer) -> tuple[str, str]:
    return "--socket", f"servers[{index}]={server.pid}/tcp/{server.address}:{server.port}"


def home(two_hosts: TwoHosts, bpffs: Path) -> Path:
    return bpffs / "inet-lookup" / str(two_hosts.server.inode) / "programs" / "steer"


@pytest.mark.usefixtures("steering")
def test_maps_of_the_same_shape_go_on_with_what_they_hold(
    two_hosts: TwoHosts, bpffs: Path, at_server: Command, tmp_path: Path
) -> None:
    (before,) = attached(two_hosts.server)
    ask(two_hosts.client, "tcp", "192.0.2.1", 80)
    path = steering_files.steer(tmp_path, counter=1)
    result = at_server("--json", "prog", "attach", path, "--replace").done().json
    assert result["replaced"] == before
    assert sorted(result["kept_maps"]) == ["seen", "servers"]
    assert attached(two_hosts.server) == [result["program"]["id"]]
    assert ask(two_hosts.client, "tcp", "192.0.2.1", 80).server == "server 0"
    with Map.open_pinned(home(two_hosts, bpffs) / "maps" / "seen") as seen:
        counts = [int.from_bytes(seen.lookup(index) or b"", "little") for index in range(2)]
    assert counts == [1, 1]


@pytest.mark.usefixtures("steering")
def test_the_pins_are_those_of_the_program_that_runs(
    two_hosts: TwoHosts, bpffs: Path, at_server: Command, tmp_path: Path
) -> None:
    before = pins(bpffs)
    path = steering_files.steer(tmp_path, counter=1)
    at_server("prog", "attach", path, "--replace").done()
    assert pins(bpffs) == before
    with Program.open_pinned(home(two_hosts, bpffs) / "program") as program:
        assert attached(two_hosts.server) == [program.id]


@pytest.mark.usefixtures("steering")
def test_sockets_may_be_placed_with_it(
    two_hosts: TwoHosts, servers: list[EchoServer], at_server: Command, tmp_path: Path
) -> None:
    path = steering_files.steer(tmp_path, slot=1)
    at_server("prog", "attach", path, "--replace", *placed(1, servers[1])).done()
    assert ask(two_hosts.client, "tcp", "192.0.2.1", 80).server == "server 1"


def test_a_name_that_is_not_in_use_is_attached(
    two_hosts: TwoHosts, at_server: Command, tmp_path: Path
) -> None:
    path = steering_files.steer(tmp_path)
    result = at_server("--json", "prog", "attach", path, "--replace").done().json
    assert result["replaced"] is None
    assert attached(two_hosts.server) == [result["program"]["id"]]


@pytest.mark.usefixtures("steering")
def test_a_sock_array_of_another_shape_does_not_lose_its_sockets_silently(
    two_hosts: TwoHosts, servers: list[EchoServer], at_server: Command, tmp_path: Path
) -> None:
    path = steering_files.steer(tmp_path, slots=3)
    before = attached(two_hosts.server)
    at_server("prog", "attach", path, "--replace").failed(
        "'servers' has another shape", "the sockets in it (1)", "with --socket"
    )
    assert attached(two_hosts.server) == before
    assert ask(two_hosts.client, "tcp", "192.0.2.1", 80).server == "server 0"
    at_server("prog", "attach", path, "--replace", *placed(0, servers[1])).done()
    assert ask(two_hosts.client, "tcp", "192.0.2.1", 80).server == "server 1"
    (listed,) = at_server("--json", "prog", "list").done().json["programs"]
    assert {each["name"]: each["max_entries"] for each in listed["maps"]}["servers"] == 3


@pytest.mark.usefixtures("steering")
@pytest.mark.parametrize("what", ["program", "socket", "slot"])
def test_when_it_fails_all_is_as_before(
    two_hosts: TwoHosts,
    bpffs: Path,
    servers: list[EchoServer],
    at_server: Command,
    tmp_path: Path,
    what: str,
) -> None:
    before = attached(two_hosts.server), pins(bpffs)
    path = steering_files.steer(tmp_path, slot=1)
    if what == "program":
        path.write_bytes(path.read_bytes()[:-100])
        at_server("prog", "attach", path, "--replace").failed(str(path))
    elif what == "socket":
        servers[1].kill()
        at_server("prog", "attach", path, "--replace", *placed(1, servers[1])).failed("no process")
    else:
        at_server("prog", "attach", path, "--replace", *placed(2, servers[1])).failed("range")
    assert (attached(two_hosts.server), pins(bpffs)) == before
    assert ask(two_hosts.client, "tcp", "192.0.2.1", 80).server == "server 0"


@pytest.mark.usefixtures("steering")
def test_no_connection_is_refused_while_programs_are_replaced(
    two_hosts: TwoHosts, at_server: Command, tmp_path: Path
) -> None:
    over = threading.Event()
    answers: list[str] = []
    failures: list[OSError] = []

    def connect() -> None:
        while not over.is_set():
            try:
                answers.append(ask(two_hosts.client, "tcp", "192.0.2.1", 80).server)
            except OSError as error:
                failures.append(error)

    # The port is taken by nobody but the program's server: without it, it would be refused.
    asking = threading.Thread(target=connect)
    asking.start()
    try:
        for number in range(4):
            path = steering_files.steer(tmp_path, counter=number)
            at_server("prog", "attach", path, "--replace").done()
    finally:
        over.set()
        asking.join()
    assert not failures
    assert set(answers) == {"server 0"}
    assert len(answers) > 20
