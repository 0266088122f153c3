"""Fixtures of the command's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from inet_lookup.bpf import AttachType, query
from inet_lookup.net.namespaces import Namespace
from support import steering_files
from support.command import EXAMPLE, Ended, inet_lookup, path_of
from support.networks import TwoHosts

Command = Callable[..., Ended]


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's program as an ELF object: what the tests are about does not need a compiler."""
    path = tmp_path_factory.mktemp("objects") / "two_http_servers.o"
    path.write_bytes(steering_files.compiled(EXAMPLE, "two_http_servers"))
    return path


@pytest.fixture
def at_server(two_hosts: TwoHosts, bpffs: Path) -> Command:
    """Run the command on the server's namespace, with a bpffs of its own."""

    def run(*arguments: object, **options: object) -> Ended:
        place = ("--netns", path_of(two_hosts.server), "--bpffs", bpffs)
        return inet_lookup(*place, *arguments, **options)  # type: ignore[arg-type]

    return run


@pytest.fixture
def untouched(two_hosts: TwoHosts, bpffs: Path) -> Callable[[], None]:
    """Assert that nothing is attached to the server's namespace, and nothing is pinned."""

    def check() -> None:
        assert attached(two_hosts.server) == []
        assert pins(bpffs) == []

    return check


def attached(namespace: Namespace) -> list[int]:
    """The ids of the programs that run in a namespace."""
    return query(namespace.fileno(), AttachType.SK_LOOKUP)


def pins(bpffs: Path) -> list[str]:
    """Everything below ``inet-lookup``, directories included, by its path there."""
    root = bpffs / "inet-lookup"
    found = [str(each.relative_to(root)) for each in root.rglob("*")]
    return sorted([*found, "."]) if root.exists() else []
