"""A program is attached to the namespace that was named, in whichever way, and to no other."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from inet_lookup import PASS, Context, ProgramLink, SockArray, Verdict, attach, program, query
from inet_lookup.errors import KernelError, NamespaceError
from inet_lookup.net import Namespace
from inet_lookup.programs.attachment import NamespaceSpec
from support.servers import Start, who_answers
from support.taking import Take

pytestmark = pytest.mark.kernel

PORT = 7007

servers = SockArray(max_entries=1)


@program
def steer(ctx: Context) -> Verdict:
    return servers.redirect(ctx, 0) if ctx.local_port == PORT else PASS


@pytest.mark.parametrize("way", ["name", "path", "path object", "pid", "digits", "open namespace"])
def test_a_namespace_is_given_in_any_way(
    named_netns: str, netns: Namespace, echo_server: Start, take: Take, way: str
) -> None:
    with Namespace.open(named_netns) as edge:
        server = echo_server(edge, "tcp", "127.0.0.1", name="steered")
        servers[0] = take(server)
        ways: dict[str, NamespaceSpec] = {
            "name": named_netns,
            "path": f"/run/netns/{named_netns}",
            "path object": Path(f"/proc/{server.pid}/ns/net"),
            "pid": server.pid,
            "digits": str(server.pid),
            "open namespace": edge,
        }
        given = ways[way]
        with attach(steer, given) as link:
            assert link.info().netns_ino == edge.inode
            assert [each.name for each in query(given)] == ["steer"]
            assert query(netns) == []
            assert who_answers(edge, "tcp", "127.0.0.5", PORT) == "steered"
        assert query(given) == []
        assert not edge.closed


def test_none_is_the_namespace_of_the_calling_thread(
    netns: Namespace, echo_server: Start, take: Take
) -> None:
    servers[0] = take(echo_server(netns, "udp", "127.0.0.1", name="steered"))
    with netns.run(attach, steer) as link:
        assert link.info().netns_ino == netns.inode
        assert [each.id for each in netns.run(query)] == [link.info().program_id]
        assert who_answers(netns, "udp", "127.0.0.5", PORT) == "steered"


@pytest.mark.parametrize(
    "given", ["no-such-namespace", "/run/netns/no-such-namespace", 2**22 + 1, "/proc/self/ns/mnt"]
)
def test_what_is_no_namespace_is_refused_and_nothing_is_made(given: str | int) -> None:
    with pytest.raises(NamespaceError):
        attach(steer, given)
    with pytest.raises(NamespaceError):
        query(given)
    assert servers.kernel_map is None


def test_a_link_outlives_its_namespace_as_an_empty_shell() -> None:
    namespace = Namespace.create()
    link = attach(steer, namespace)
    assert link.info().netns_ino == namespace.inode
    namespace.close()
    with link:
        wait_until_detached(link)
        with pytest.raises(KernelError, match="ENOLINK"):
            link.replace(steer)
        link.detach()
    assert servers.kernel_map is None


def wait_until_detached(link: ProgramLink) -> None:
    """The kernel frees a namespace in the background, some time after its last user went."""
    end = time.monotonic() + 10
    while link.info().attached:
        assert time.monotonic() < end, "the kernel did not free the namespace"
        time.sleep(0.01)


def test_the_attaching_process_stays_in_its_namespace(netns: Namespace) -> None:
    before = os.readlink("/proc/thread-self/ns/net")
    with attach(steer, netns):
        assert os.readlink("/proc/thread-self/ns/net") == before
