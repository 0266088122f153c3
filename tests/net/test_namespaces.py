"""Network namespaces are opened, entered and left without a trace in the caller."""

from __future__ import annotations

import contextvars
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inet_lookup.errors import NamespaceError
from inet_lookup.net.namespaces import Namespace
from support import mounts

pytestmark = pytest.mark.kernel


def where() -> int:
    """The inode of the calling thread's network namespace."""
    return os.stat("/proc/thread-self/ns/net").st_ino


def test_name_path_and_pid_open_the_same_namespace(named_netns: str) -> None:
    with Namespace.open(named_netns) as by_name:
        with by_name.popen(["cat"], stdin=subprocess.PIPE) as process:
            specs = (
                f"/run/netns/{named_netns}",
                Path("/run/netns") / named_netns,
                process.pid,
                str(process.pid),
                f"/proc/{process.pid}/ns/net",
            )
            for spec in specs:
                with Namespace.open(spec) as other:
                    assert other.is_same(by_name)
            process.kill()
        assert by_name.name == named_netns
        assert by_name.label == f"network namespace '{named_netns}'"


def test_none_opens_the_namespace_of_the_calling_thread(netns: Namespace) -> None:
    with Namespace.open() as current:
        assert current.inode == where()
        assert not current.is_same(netns)
    with netns.run(Namespace.open, None) as inside:
        assert inside.is_same(netns)


def test_a_function_runs_in_the_namespace_and_the_caller_stays_where_it_is(
    netns: Namespace,
) -> None:
    before = where()
    assert netns.run(where) == netns.inode != before
    assert where() == before


def test_arguments_results_and_context_variables_pass_through(netns: Namespace) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")

    def combine(one: str, *, other: str) -> tuple[str, str, str]:
        return one, other, variable.get()

    assert netns.run(combine, "a", other="b") == ("a", "b", "set")


def test_an_exception_is_raised_in_the_caller_with_the_traceback_of_its_origin(
    netns: Namespace,
) -> None:
    def fail_inside() -> None:
        raise LookupError("inside")

    with pytest.raises(LookupError, match="inside") as caught:
        netns.run(fail_inside)
    assert "fail_inside" in "".join(traceback.format_tb(caught.tb))


def test_calls_nest(netns: Namespace) -> None:
    with Namespace.create() as other:
        assert netns.run(other.run, where) == other.inode


def test_a_process_starts_in_the_namespace_with_the_mounts_of_this_one(
    netns: Namespace, bpffs: Path
) -> None:
    with netns.popen(
        [
            "sh",
            "-c",
            f"readlink /proc/self/ns/net && test -d {bpffs} && grep -c {bpffs} /proc/mounts",
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.communicate()[0].split() == [f"net:[{netns.inode}]", "1"]


def test_a_command_that_does_not_exist_is_an_error_of_the_caller(
    netns: Namespace, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        netns.popen([str(tmp_path / "missing")])


@pytest.mark.parametrize("loopback", [True, False])
def test_a_new_namespace_has_its_loopback_interface_up_unless_told_otherwise(
    loopback: bool,
) -> None:
    def reach() -> None:
        with socket.create_server(("0.0.0.0", 0)) as server:
            socket.create_connection(("127.0.0.1", server.getsockname()[1]), timeout=5).close()

    with Namespace.create(loopback=loopback) as namespace:
        if loopback:
            namespace.run(reach)
        else:
            with pytest.raises(OSError, match="unreachable"):
                namespace.run(reach)


def test_cookies_tell_namespaces_apart(netns: Namespace) -> None:
    with Namespace.create() as other, Namespace.open(f"/proc/self/fd/{netns.fileno()}") as same:
        assert netns.cookie == same.cookie != other.cookie


def test_a_mistyped_name_is_answered_with_close_ones(named_netns: str) -> None:
    with pytest.raises(NamespaceError) as caught:
        Namespace.open(named_netns + "x")
    assert caught.value.message == f"there is no network namespace named '{named_netns}x'"
    assert caught.value.hint == f"did you mean '{named_netns}'?"


def test_a_name_without_resemblance_is_answered_with_those_that_exist(named_netns: str) -> None:
    with pytest.raises(NamespaceError) as caught:
        Namespace.open("blue")
    assert caught.value.hint == f"there are: {named_netns}"


def test_where_no_namespace_has_a_name_the_hint_says_how_to_make_one() -> None:
    with pytest.raises(NamespaceError) as caught:
        Namespace.open("edge")
    assert caught.value.hint == "there are none in /run/netns; 'ip netns add NAME' makes one"


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(NamespaceError, match="is no name of a network namespace"):
        Namespace.open(name)


def test_a_namespace_of_another_kind_is_refused() -> None:
    with pytest.raises(NamespaceError, match="of another kind, not a network namespace"):
        Namespace.open("/proc/self/ns/uts")


def test_a_file_that_is_no_namespace_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file", tmp_path / "fifo", Path("/dev/null")):
        with pytest.raises(NamespaceError, match=f"^{path} is not a namespace$"):
            Namespace.open(path)
    with pytest.raises(NamespaceError, match="there is no network namespace"):
        Namespace.open(tmp_path / "missing")


def test_a_name_whose_mount_is_gone_is_explained(named_netns: str) -> None:
    (mounts.NAMED_NAMESPACES / "stale").touch()
    try:
        with pytest.raises(NamespaceError, match="'ip netns delete stale' removes it"):
            Namespace.open("stale")
    finally:
        (mounts.NAMED_NAMESPACES / "stale").unlink()


@pytest.fixture
def ended_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def test_a_process_that_does_not_exist_is_an_error(ended_pid: int) -> None:
    with pytest.raises(NamespaceError, match=f"there is no process {ended_pid}"):
        Namespace.open(ended_pid)
    (mounts.NAMED_NAMESPACES / str(ended_pid)).touch()
    try:
        with pytest.raises(NamespaceError, match=f"give its path, /run/netns/{ended_pid}"):
            Namespace.open(str(ended_pid))
    finally:
        (mounts.NAMED_NAMESPACES / str(ended_pid)).unlink()


def test_a_process_that_ended_and_was_not_waited_for_is_an_error() -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(NamespaceError, match=f"process {process.pid} has ended"):
            Namespace.open(process.pid)


@pytest.mark.requires_command("setpriv")
@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "Namespace.open({name!r}).run(print)",
            "no permission to enter network namespace '{name}' "
            "(entering a network namespace needs CAP_SYS_ADMIN: run as root)",
        ),
        (
            "Namespace.create()",
            "no permission to make a network namespace "
            "(making a network namespace needs CAP_SYS_ADMIN: run as root)",
        ),
        (
            "Namespace.open({pid})",
            "no permission to open /proc/{pid}/ns/net "
            "(run as root, or with CAP_SYS_PTRACE to look into processes of other users)",
        ),
    ],
)
def test_a_missing_privilege_is_named(named_netns: str, code: str, message: str) -> None:
    facts = {"name": named_netns, "pid": os.getpid()}
    script = f"""if True:
        import warnings
        warnings.simplefilter("ignore")
        from inet_lookup.errors import NamespaceError
        from inet_lookup.net.namespaces import Namespace
        try:
            {code.format(**facts)}
        except NamespaceError as error:
            print(error)
    """
    output = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    assert output.strip() == message.format(**facts)


def test_a_closed_namespace_cannot_be_used() -> None:
    namespace = Namespace.create()
    namespace.close()
    namespace.close()
    assert namespace.closed
    with pytest.raises(NamespaceError, match="is closed"):
        namespace.run(where)


def test_a_forgotten_namespace_is_closed_with_a_warning() -> None:
    def forget() -> None:
        Namespace.create()
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed <Namespace"):
        forget()


class Interrupted(Exception):
    """What the signal handler of a test raises, as Ctrl-C raises KeyboardInterrupt."""


@pytest.fixture
def interrupt() -> Iterator[Callable[[float], None]]:
    """``interrupt(seconds)`` has the main thread interrupted after that time."""

    def handler(_signal: int, _frame: object) -> None:
        raise Interrupted

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds) and None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_an_interrupt_is_raised_and_what_the_function_made_is_closed(
    netns: Namespace, interrupt: Callable[[float], None]
) -> None:
    made: list[socket.socket] = []

    def make_slowly() -> socket.socket:
        time.sleep(0.2)
        made.append(socket.socket())
        return made[0]

    interrupt(0.05)
    with pytest.raises(Interrupted):
        netns.run(make_slowly)
    assert made[0].fileno() == -1


def test_a_process_that_is_started_during_an_interrupt_is_ended(
    netns: Namespace, interrupt: Callable[[float], None]
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start_slowly() -> subprocess.Popen[bytes]:
        time.sleep(0.2)
        started.append(subprocess.Popen(["sleep", "60"]))
        return started[0]

    interrupt(0.05)
    with pytest.raises(Interrupted):
        netns.run(start_slowly)
    assert started[0].returncode == -signal.SIGKILL


def test_a_function_that_does_not_end_does_not_hold_up_an_interrupt(
    netns: Namespace, interrupt: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inet_lookup.net.namespaces._GRACE_SECONDS", 0.05)
    release, ended = threading.Event(), threading.Event()
    made: list[socket.socket] = []

    class Late(socket.socket):
        def close(self) -> None:
            super().close()
            ended.set()

    def hang() -> socket.socket:
        release.wait(30)
        made.append(Late())
        return made[0]

    interrupt(0.05)
    began = time.monotonic()
    with pytest.raises(Interrupted):
        netns.run(hang)
    assert time.monotonic() - began < 5
    release.set()
    assert ended.wait(5)
    assert made[0].fileno() == -1


def test_many_namespaces_can_be_made_and_entered_one_after_the_other() -> None:
    inodes = set()
    for _ in range(50):
        with Namespace.create() as namespace:
            inodes.add(namespace.run(where))
    assert where() not in inodes
