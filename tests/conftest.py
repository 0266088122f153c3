"""Fixtures of all tests: what the kernel must offer, namespaces to test in, and the leak watch."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inet_lookup.net.namespaces import Namespace
from support import mounts, networks, requirements, servers
from support.leaks import Holdings, left_behind_since
from support.networks import TwoHosts
from support.servers import EchoServer


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "kernel: needs root and a kernel with BPF; skipped where they are missing, or failed"
        " with INET_LOOKUP_REQUIRE_KERNEL=1",
    )
    config.addinivalue_line(
        "markers",
        "requires_command(*names): needs these programs; skipped where one is missing, or failed"
        " with INET_LOOKUP_REQUIRE_KERNEL=1",
    )
    # A shell starts background commands with these ignored, and every child would inherit that.
    for each in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(each) == signal.SIG_IGN:
            interrupt = each == signal.SIGINT
            signal.signal(each, signal.default_int_handler if interrupt else signal.SIG_DFL)
    # Daemons and network tools are there also when the tests run from a user's shell.
    os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    if requirements.kernel_obstacle() is None:
        mounts.enter_private_namespace()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kernel"):
        obstacle = requirements.kernel_obstacle()
        if obstacle:
            requirements.unmet(obstacle)
    for marker in item.iter_markers("requires_command"):
        requires_commands(*marker.args)


def requires_commands(*names: str) -> None:
    missing = requirements.missing_commands(names)
    if missing:
        requirements.unmet(f"not installed: {', '.join(missing)}; tests/install-packages does it")


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves something behind.

    This fixture is set up before the test's others and torn down after them.
    """
    before = Holdings.now()
    yield
    found = left_behind_since(before)
    if found:
        pytest.fail("the test left behind:\n  " + "\n  ".join(found), pytrace=False)


@pytest.fixture
def requires_command() -> Callable[..., None]:
    """``requires_command("clang-19", "bpftool")``: skip, or fail, where a program is missing.

    The marker of the same name does it before the test's fixtures are set up.
    """
    return requires_commands


@pytest.fixture
def netns() -> Iterator[Namespace]:
    """A network namespace without a name; ``lo`` is up."""
    with Namespace.create() as namespace:
        yield namespace


@pytest.fixture
def named_netns() -> Iterator[str]:
    """The name of a network namespace under ``/run/netns``."""
    with networks.named_namespace() as name:
        yield name


@pytest.fixture
def two_hosts() -> Iterator[TwoHosts]:
    """A server and a client namespace; see :class:`support.networks.TwoHosts`."""
    with networks.two_hosts() as hosts:
        yield hosts


@pytest.fixture
def bpffs() -> Iterator[Path]:
    """A directory with a bpffs of its own mounted on it; the machine's may be absent."""
    with tempfile.TemporaryDirectory(prefix="inet-lookup-bpffs-") as directory:
        mounts.mount("bpf", directory, "bpf", data="mode=0700")
        try:
            yield Path(directory)
        finally:
            mounts.unmount(directory)


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A new, empty cgroup (v2). Processes that are still in it afterwards go to its parent."""
    root = next((each.point for each in mounts.mounts() if each.type == "cgroup2"), None)
    if root is None:
        requirements.unmet("no cgroup2 file system is mounted")
    directory = Path(tempfile.mkdtemp(prefix="inet-lookup-", dir=root))
    try:
        yield directory
    finally:
        for pid in (directory / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (directory.parent / "cgroup.procs").write_text(pid)
        directory.rmdir()


@pytest.fixture
def echo_server() -> Iterator[Callable[..., EchoServer]]:
    """Start echo servers in processes of their own; they end with the test.

    ``echo_server(namespace, "tcp", "127.0.0.1", 8080, name="a")``; see
    :func:`support.servers.start` for the arguments.
    """
    with contextlib.ExitStack() as stack:

        def start(*args: object, **options: object) -> EchoServer:
            return stack.enter_context(servers.start(*args, **options))  # type: ignore[arg-type]

        yield start
