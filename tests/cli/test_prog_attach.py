"""``inet-lookup prog attach``: whole or not at all, and it stays."""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from inet_lookup.bpf import AttachType, NetnsLink, Program, ProgramType
from inet_lookup.net.namespaces import Namespace
from support import steering_files
from support.clang import build
from support.command import EXAMPLE, WITHOUT_PRIVILEGES, Ended, inet_lookup, path_of
from support.networks import TwoHosts
from support.servers import EchoServer, ask

from .conftest import attached, pins

pytestmark = pytest.mark.kernel

Start = Callable[..., EchoServer]
Command = Callable[..., Ended]
Check = Callable[[], None]

PASS = bytes.fromhex("b700000001000000" + "9500000000000000")


def placed(slot: str, server: EchoServer) -> tuple[str, str]:
    return "--socket", f"{slot}={server.pid}/{server.protocol}/{server.address}:{server.port}"


def test_traffic_flows_to_the_servers_after_the_command_has_ended(
    two_hosts: TwoHosts, bpffs: Path, echo_server: Start, at_server: Command
) -> None:
    nginx = echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080, name="nginx")
    apache = echo_server(two_hosts.server, "tcp", "::", 8081, name="apache")
    sockets = [*placed("servers[0]", nginx), "--socket", f"servers[1]={apache.pid}/tcp/[::]:8081"]
    ended = at_server("prog", "attach", f"{EXAMPLE}:two_http_servers", *sockets).done()
    assert "servers[0]  tcp 127.0.0.1:8080 of process" in ended.out
    assert ask(two_hosts.client, "tcp", "192.0.2.1", 80).server == "nginx"
    assert ask(two_hosts.client, "tcp", "198.51.100.9", 80).server == "apache"
    assert ask(two_hosts.client, "tcp", "2001:db8:2::7", 80).server == "apache"
    assert len(attached(two_hosts.server)) == 1


def test_the_json_tells_what_was_done(
    two_hosts: TwoHosts, echo_server: Start, at_server: Command, example: Path
) -> None:
    server = echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080)
    result = (
        at_server(
            "prog", "attach", example, "--name", "web", "--json", *placed("servers[1]", server)
        )
        .done()
        .json
    )
    assert result["name"] == "web"
    assert result["namespace"]["inode"] == two_hosts.server.inode
    assert [result["program"]["id"]] == attached(two_hosts.server)
    assert result["replaced"] is None
    assert result["kept_maps"] == result["removed"] == []
    (put,) = result["sockets"]
    assert (put["array"], put["slot"], put["protocol"], put["port"]) == ("servers", 1, "tcp", 8080)
    assert put["process"]["pid"] == server.pid


def test_pins_are_for_their_owner_to_write_and_their_group_to_read(
    two_hosts: TwoHosts, bpffs: Path, at_server: Command, example: Path
) -> None:
    at_server("prog", "attach", example, "--name", "web", umask=0o077).done()
    inode = two_hosts.server.inode
    home = f"{inode}/programs/web"
    expected = [".", str(inode), f"{inode}/programs", home, f"{home}/link", f"{home}/maps"]
    assert pins(bpffs) == [*expected, f"{home}/maps/servers", f"{home}/program"]
    for each in pins(bpffs):
        path = bpffs / "inet-lookup" / each
        assert stat.S_IMODE(path.stat().st_mode) == (0o750 if path.is_dir() else 0o640)


def test_a_program_in_c_steers_too(
    two_hosts: TwoHosts, echo_server: Start, at_server: Command, tmp_path: Path
) -> None:
    path = tmp_path / "steering.o"
    path.write_bytes(build("steering"))
    server = echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080, name="c")
    ended = at_server("prog", "attach", f"{path}:redirect", *placed("servers[1]", server)).done()
    assert "servers[1]  tcp 127.0.0.1:8080 of process" in ended.out
    assert ask(two_hosts.client, "tcp", "192.0.2.1", 4711).server == "c"
    (listed,) = at_server("prog", "list", "--json").done().json["programs"]
    assert [each["slots"][0]["slot"] for each in listed["maps"] if each["slots"]] == [1]


def test_all_members_of_a_reuseport_group_go_into_the_next_slots(
    two_hosts: TwoHosts, echo_server: Start, at_server: Command, tmp_path: Path
) -> None:
    server = echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080, sockets=3)
    path = steering_files.steer(tmp_path, slots=4)
    result = at_server("--json", "prog", "attach", path, *placed("servers", server)).done().json
    assert [each["slot"] for each in result["sockets"]] == [0, 1, 2]
    assert len({each["cookie"] for each in result["sockets"]}) == 3


def test_it_runs_behind_the_programs_that_are_there(
    two_hosts: TwoHosts, at_server: Command, example: Path
) -> None:
    first = at_server("--json", "prog", "attach", example, "--name", "first").done().json
    second = at_server("--json", "prog", "attach", example, "--name", "second").done().json
    order = [first["program"]["id"], second["program"]["id"]]
    assert attached(two_hosts.server) == order


# What is refused leaves nothing.


def test_a_program_that_does_not_compile(
    at_server: Command, untouched: Check, tmp_path: Path
) -> None:
    path = tmp_path / "bad.py"
    path.write_text(
        "from inet_lookup import Context, Verdict, program\n\n"
        "@program\ndef bad(ctx: Context) -> Verdict:\n    return open('x')\n"
    )
    at_server("prog", "attach", path).failed(f"{path}:5:12: ", "return open('x')", "^")
    untouched()


def test_a_program_that_the_verifier_refuses(
    at_server: Command, untouched: Check, tmp_path: Path
) -> None:
    path = tmp_path / "rejected.o"
    path.write_bytes(build("rejected"))
    at_server("prog", "attach", f"{path}:in_program").failed("the verifier says:", "rejected.c:")
    untouched()


def test_a_namespace_that_does_not_exist(bpffs: Path, example: Path) -> None:
    for spec, text in (
        ("no-such", "there is no network namespace named 'no-such'"),
        ("/run/netns/no-such", "there is no network namespace /run/netns/no-such"),
        ("4194304", "there is no process 4194304"),
        ("/etc/passwd", "/etc/passwd is not a namespace"),
    ):
        inet_lookup("--netns", spec, "--bpffs", bpffs, "prog", "attach", example).failed(text)
    assert pins(bpffs) == []


def test_no_privilege(netns: Namespace, bpffs: Path, example: Path) -> None:
    bpffs.chmod(0o777)
    for command in (["attach", example], ["list"], ["detach", "two_http_servers"]):
        inet_lookup(
            "--bpffs", bpffs, "prog", *command, prefix=WITHOUT_PRIVILEGES, inside=netns
        ).failed()
    ended = inet_lookup(
        "--bpffs", bpffs, "prog", "attach", example, prefix=WITHOUT_PRIVILEGES, inside=netns
    )
    ended.failed("EPERM", "lacks CAP_BPF", "hint: run it as root, or give it CAP_BPF")
    assert attached(netns) == []
    assert pins(bpffs) == []


def test_no_privilege_to_look_into_the_process(
    netns: Namespace, bpffs: Path, echo_server: Start, example: Path
) -> None:
    server = echo_server(netns, "tcp", "127.0.0.1", 8080, user=65534)
    ended = inet_lookup(
        *("--bpffs", bpffs, "prog", "attach", example, *placed("servers[0]", server)),
        prefix=WITHOUT_PRIVILEGES,
        inside=netns,
    )
    ended.failed(f"take sockets of process {server.pid}", "CAP_SYS_PTRACE")
    assert attached(netns) == []


def test_no_bpffs(two_hosts: TwoHosts, tmp_path: Path, example: Path) -> None:
    place = ("--netns", path_of(two_hosts.server))
    inet_lookup(*place, "prog", "attach", example).failed("none is mounted", "mount -t bpf")
    inet_lookup(*place, "--bpffs", tmp_path, "prog", "attach", example).failed(
        f"{tmp_path} is not in a BPF file system", "mount -t bpf"
    )
    assert attached(two_hosts.server) == []
    assert not any(tmp_path.iterdir())


def test_a_directory_that_is_missing_in_the_bpffs(
    bpffs: Path, two_hosts: TwoHosts, example: Path
) -> None:
    place = ("--netns", path_of(two_hosts.server), "--bpffs", bpffs / "missing")
    inet_lookup(*place, "prog", "attach", example).failed("there is no such directory")


@pytest.mark.parametrize(
    ("socket_of", "texts"),
    [
        ("{pid}/tcp/127.0.0.1:9999", ["no socket of process {pid}", "it has tcp 127.0.0.1:8080"]),
        ("{pid}/udp/127.0.0.1:8080", ["no socket of process {pid}"]),
        ("4194304/tcp/127.0.0.1:8080", ["there is no process 4194304"]),
        ("{pid}/tcp/127.0.0.1", ["'{pid}/tcp/127.0.0.1' does not name a socket"]),
        ("{pid}/sctp/127.0.0.1:1", ["the protocol is 'tcp' or 'udp'"]),
        ("x/tcp/127.0.0.1:1", ["'x' is not a process id"]),
    ],
)
def test_a_socket_that_is_not_there(
    two_hosts: TwoHosts,
    echo_server: Start,
    at_server: Command,
    untouched: Check,
    socket_of: str,
    texts: list[str],
    example: Path,
) -> None:
    server = echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080)
    selector = socket_of.format(pid=server.pid)
    ended = at_server("prog", "attach", example, "--socket", f"servers[0]={selector}")
    ended.failed(*(text.format(pid=server.pid) for text in texts))
    untouched()


def test_a_socket_that_is_closed(
    two_hosts: TwoHosts, echo_server: Start, at_server: Command, untouched: Check, example: Path
) -> None:
    server = echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080)
    server.kill()
    ended = at_server("prog", "attach", example, *placed("servers[0]", server))
    ended.failed(f"there is no process {server.pid}")
    untouched()


def test_a_socket_of_the_wrong_kind(
    two_hosts: TwoHosts, at_server: Command, untouched: Check, example: Path
) -> None:
    def connected_pair() -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return socket.create_connection(listener.getsockname()), listener.accept()[0]

    near, far = two_hosts.server.run(connected_pair)
    with near, far:
        port = near.getsockname()[1]
        ended = at_server(
            "prog", "attach", example, "--socket", f"servers[0]={os.getpid()}/tcp/127.0.0.1:{port}"
        )
    ended.failed("it is one connection, and not a socket that listens", "hint: ")
    untouched()


def test_a_socket_that_does_not_listen_yet(
    two_hosts: TwoHosts, at_server: Command, untouched: Check, example: Path
) -> None:
    with two_hosts.server.run(socket.socket) as bound:
        bound.bind(("127.0.0.1", 8080))
        ended = at_server(
            "prog", "attach", example, "--socket", f"servers[0]={os.getpid()}/tcp/127.0.0.1:8080"
        )
    ended.failed("it does not listen")
    untouched()


def test_a_socket_of_another_namespace(
    two_hosts: TwoHosts, echo_server: Start, at_server: Command, untouched: Check, example: Path
) -> None:
    server = echo_server(two_hosts.client, "tcp", "127.0.0.1", 8080)
    ended = at_server("prog", "attach", example, *placed("servers[0]", server))
    ended.failed("is not in network namespace")
    untouched()


@pytest.mark.parametrize(
    ("slot", "texts"),
    [
        ("servers[2]", ["the index is out of range", "from 0 to 1"]),
        ("servers[-1]", ["'-1'", "is not an index"]),
        ("servers[x]", ["'x'", "is not an index"]),
        ("server[0]", ["uses no sock array 'server'", "did you mean 'servers'?"]),
        ("seen[0]", ["'seen'", "is a map of the type array"]),
        ("servers[0", ["does not say which socket goes where", "ARRAY[INDEX]="]),
    ],
)
def test_a_slot_that_is_not_there(
    two_hosts: TwoHosts,
    echo_server: Start,
    at_server: Command,
    untouched: Check,
    tmp_path: Path,
    slot: str,
    texts: list[str],
) -> None:
    server = echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080)
    path = steering_files.steer(tmp_path)
    at_server("prog", "attach", path, *placed(slot, server)).failed(*texts)
    untouched()


def test_a_slot_that_is_given_twice(
    two_hosts: TwoHosts, echo_server: Start, at_server: Command, untouched: Check, example: Path
) -> None:
    server = echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080)
    twice = [*placed("servers[0]", server), *placed("servers[0]", server)]
    at_server("prog", "attach", example, *twice).failed("servers[0] is given two sockets")
    untouched()


def test_a_sock_array_that_is_full(
    two_hosts: TwoHosts, echo_server: Start, at_server: Command, untouched: Check, example: Path
) -> None:
    server = echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080, sockets=3)
    ended = at_server("prog", "attach", example, *placed("servers", server))
    ended.failed("put 3 sockets into 'servers'", "it has room for 2")
    untouched()


def test_the_65th_program(
    two_hosts: TwoHosts, bpffs: Path, at_server: Command, example: Path
) -> None:
    with ExitStack() as stack:
        program = stack.enter_context(
            Program.load(
                ProgramType.SK_LOOKUP, PASS, expected_attach_type=AttachType.SK_LOOKUP, name="x"
            )
        )
        for _ in range(64):
            stack.enter_context(
                NetnsLink.create(program, two_hosts.server.fileno(), AttachType.SK_LOOKUP)
            )
        at_server("prog", "attach", example).failed("the namespace has 64 programs attached")
        assert pins(bpffs) == []
        assert attached(two_hosts.server) == [program.id] * 64


def test_a_name_that_is_in_use(
    two_hosts: TwoHosts, bpffs: Path, at_server: Command, example: Path
) -> None:
    at_server("prog", "attach", example).done()
    before = attached(two_hosts.server), pins(bpffs)
    at_server("prog", "attach", example).failed("'two_http_servers' already", "--replace")
    assert (attached(two_hosts.server), pins(bpffs)) == before


def test_a_name_that_cannot_be_one(at_server: Command, untouched: Check, example: Path) -> None:
    at_server("prog", "attach", example, "--name", "a/b").failed("'a/b' cannot be the name of")
    untouched()


def test_a_directory_of_another_user_is_not_trusted(
    two_hosts: TwoHosts, bpffs: Path, at_server: Command, example: Path
) -> None:
    (bpffs / "inet-lookup").mkdir()
    os.chown(bpffs / "inet-lookup", 65534, 65534)
    at_server("prog", "attach", example).failed("cannot trust", "belongs to the user 65534")
    os.chown(bpffs / "inet-lookup", 0, 0)
    (bpffs / "inet-lookup").chmod(0o757)
    at_server("prog", "attach", example).failed("cannot trust", "everyone may write to it")
    assert attached(two_hosts.server) == []
    assert pins(bpffs) == ["."]


def test_a_signal_while_a_file_is_run_leaves_nothing(
    at_server: Command, untouched: Check, tmp_path: Path
) -> None:
    path = tmp_path / "ends.py"
    path.write_text(f"import os\nos.kill(os.getpid(), {int(signal.SIGTERM)})\n")
    ended = at_server("prog", "attach", path)
    assert (ended.status, ended.err) == (143, "")
    untouched()
