"""Pinned programs: attached, replaced and detached as a whole, whenever a writer is killed."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inet_lookup.bpf import AttachType, Map, NetnsLink, Program, query
from inet_lookup.bpf.objects import ObjectFile
from inet_lookup.control import PinnedPrograms, ProgramImage, SocketPlacement, list_programs
from inet_lookup.errors import CapacityError, InetLookupError, SocketError, VerifierError
from inet_lookup.net.namespaces import Namespace
from support import steering_files
from support.clang import build
from support.interruption import killed_at

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[ProgramImage]:
    """Two programs with maps of the same shape, and one with a larger sock array."""
    directory = tmp_path_factory.mktemp("programs")
    paths = [
        steering_files.steer(directory, counter=0),
        steering_files.steer(directory, counter=1),
        steering_files.steer(directory, slots=3),
    ]
    return [
        ProgramImage.of_object(ObjectFile.parse(path.read_bytes(), name=path.name), "steer")
        for path in paths
    ]


@pytest.fixture
def pinned(netns: Namespace, bpffs: Path) -> PinnedPrograms:
    return PinnedPrograms(netns, bpffs=bpffs)


@contextlib.contextmanager
def listener(namespace: Namespace) -> Iterator[socket.socket]:
    with namespace.run(socket.create_server, ("127.0.0.1", 0)) as sock:
        yield sock


def running(namespace: Namespace) -> list[int]:
    return query(namespace.fileno(), AttachType.SK_LOOKUP)


def everything(bpffs: Path) -> list[str]:
    root = bpffs / "inet-lookup"
    return sorted(str(each.relative_to(root)) for each in root.rglob("*"))


def is_whole(namespace: Namespace, bpffs: Path, name: str = "steer") -> bool:
    """Whether what is pinned under a name is one program that runs, with its very maps."""
    home = bpffs / "inet-lookup" / str(namespace.inode) / "programs" / name
    with (
        NetnsLink.open_pinned(home / "link") as link,
        Program.open_pinned(home / "program") as program,
        contextlib.ExitStack() as stack,
    ):
        maps = [stack.enter_context(Map.open_pinned(each)) for each in (home / "maps").iterdir()]
        names = sorted(each.name for each in (home / "maps").iterdir())
        return (
            running(namespace) == [program.id] == [link.info().program_id]
            and names == ["seen", "servers"]
            and {each.id for each in maps} == set(program.info().map_ids)
            and sorted(each.name for each in home.iterdir()) == ["link", "maps", "program"]
            and [each.name for each in home.parent.iterdir()] == [name]
        )


def cookies(namespace: Namespace, bpffs: Path) -> list[int]:
    (program,) = list_programs(namespace, bpffs=bpffs).programs
    (servers,) = [each for each in program.maps if each.name == "servers"]
    return [each.cookie for each in servers.slots or []]


Change = Callable[[], object]


def every_interruption(change: Change, check: Callable[[int], None]) -> int:
    """Kill a change at each of its steps, and check what is left of it.

    :return: how many steps there are.
    """
    step = 0
    while killed_at(step, change):
        check(step)
        step += 1
    return step


def test_an_attach_that_is_killed_leaves_nothing_to_the_next_writer(
    netns: Namespace, bpffs: Path, pinned: PinnedPrograms, images: list[ProgramImage]
) -> None:
    whole = 0

    def check(step: int) -> None:
        nonlocal whole
        done = len(pinned.names()) == 1
        whole += done
        assert running(netns) in ([], running(netns)[:1])
        if done:
            assert is_whole(netns, bpffs), step
            pinned.detach("steer")
        else:
            pinned.attach(images[1], name="next")
            assert is_whole(netns, bpffs, "next"), step
            pinned.detach("next")
        assert running(netns) == [], step
        assert everything(bpffs) == [], step

    steps = every_interruption(lambda: pinned.attach(images[0]), check)
    assert 1 <= whole < steps / 2
    assert is_whole(netns, bpffs)


def test_a_replacement_that_is_killed_is_done_or_not_done(
    netns: Namespace, bpffs: Path, pinned: PinnedPrograms, images: list[ProgramImage]
) -> None:
    replaced = kept = 0
    with listener(netns) as sock:
        pinned.attach(images[0], sockets=[SocketPlacement("servers", 0, sock)])
        cookie = cookies(netns, bpffs)
        (before,) = running(netns)

        def check(step: int) -> None:
            nonlocal replaced, kept, before
            (after,) = running(netns)  # there is no moment without a program
            replaced += after != before
            kept += after == before
            pinned.attach(images[2], name="next")  # the next writer, of another program
            pinned.detach("next")
            assert running(netns) == [after], step
            assert is_whole(netns, bpffs), step
            assert cookies(netns, bpffs) == cookie, step
            before = after

        steps = every_interruption(lambda: pinned.attach(images[1], replace=True), check)
        assert steps >= 12
        assert replaced >= 4
        assert kept >= 4
        assert is_whole(netns, bpffs)


def test_a_recovery_that_is_killed_is_completed_by_the_next_one(
    netns: Namespace, bpffs: Path, pinned: PinnedPrograms, images: list[ProgramImage]
) -> None:
    pinned.attach(images[0])
    (before,) = running(netns)
    step = 0
    while running(netns) == [before]:  # until the kernel has the new program, and no pin moved
        assert killed_at(step, lambda: pinned.attach(images[1], replace=True))
        step += 1
    after = running(netns)
    assert not is_whole(netns, bpffs)

    def check(step: int) -> None:
        assert running(netns)[:1] == after, step

    every_interruption(lambda: pinned.attach(images[0], name="next", replace=True), check)
    pinned.detach("next")
    assert running(netns) == after
    assert is_whole(netns, bpffs)


def test_maps_that_the_new_program_does_not_have_go_when_a_replacement_was_killed(
    netns: Namespace, bpffs: Path, pinned: PinnedPrograms, images: list[ProgramImage]
) -> None:
    def check(step: int) -> None:
        pinned.attach(images[0], name="next")
        pinned.detach("next")
        assert is_whole(netns, bpffs), step
        pinned.attach(images[0], replace=True)  # back, for the next step

    pinned.attach(images[0])
    every_interruption(lambda: pinned.attach(images[2], replace=True), check)
    assert is_whole(netns, bpffs)


def test_a_detach_that_is_killed_is_completed_by_the_next_writer(
    netns: Namespace, bpffs: Path, pinned: PinnedPrograms, images: list[ProgramImage]
) -> None:
    def check(step: int) -> None:
        if running(netns):
            pinned.detach("steer")
        else:
            pinned.attach(images[1], name="next")
            assert is_whole(netns, bpffs, "next"), step
            pinned.detach("next")
        assert everything(bpffs) == [], step
        pinned.attach(images[0])

    pinned.attach(images[0])
    steps = every_interruption(lambda: pinned.detach("steer"), check)
    assert steps >= 5
    assert running(netns) == []
    assert everything(bpffs) == []


def test_what_a_namespace_that_is_gone_had_is_removed_by_a_writer_of_another(
    netns: Namespace, bpffs: Path, pinned: PinnedPrograms, images: list[ProgramImage]
) -> None:
    with Namespace.create() as gone:
        inode = gone.inode
        PinnedPrograms(gone, bpffs=bpffs).attach(images[0])
    wait_until_stale(bpffs, inode)
    done = pinned.attach(images[0])
    assert [(each.namespace, each.name) for each in done.removed] == [(inode, "steer")]
    assert "its namespace is gone" in done.removed[0].reason
    assert not (bpffs / "inet-lookup" / str(inode)).exists()


def test_a_namespace_does_not_inherit_the_pins_of_one_with_its_inode(
    netns: Namespace, bpffs: Path, pinned: PinnedPrograms, images: list[ProgramImage]
) -> None:
    with Namespace.create() as gone:
        inode = gone.inode
        PinnedPrograms(gone, bpffs=bpffs).attach(images[0])
    wait_until_stale(bpffs, inode)
    root = bpffs / "inet-lookup"
    os.rename(root / str(inode), root / str(netns.inode))
    listing = list_programs(netns, bpffs=bpffs)
    assert listing.programs == []
    assert [each.name for each in listing.stale] == ["steer"]
    assert len(pinned.attach(images[0]).removed) == 1
    assert is_whole(netns, bpffs)


def test_pins_of_a_program_that_runs_elsewhere_are_stale(
    netns: Namespace, bpffs: Path, images: list[ProgramImage]
) -> None:
    with Namespace.create() as other:
        PinnedPrograms(other, bpffs=bpffs).attach(images[0])
        root = bpffs / "inet-lookup"
        os.rename(root / str(other.inode), root / str(netns.inode))
        (stale,) = list_programs(netns, bpffs=bpffs).stale
        assert f"attached to another namespace (inode {other.inode})" in stale.reason


def wait_until_stale(bpffs: Path, inode: int) -> None:
    """The kernel takes a namespace down in the background."""
    link = bpffs / "inet-lookup" / str(inode) / "programs" / "steer" / "link"
    with NetnsLink.open_pinned(link) as held:
        deadline = time.monotonic() + 10
        while held.info().attached:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("name", ["a.b", "a/b", "..", "-x", "", "+x", "x" * 129, "é"])
def test_a_name_that_cannot_be_a_pin_is_refused(
    pinned: PinnedPrograms, bpffs: Path, images: list[ProgramImage], name: str
) -> None:
    with pytest.raises(InetLookupError, match="cannot be the name of a pin"):
        pinned.attach(images[0], name=name)
    assert everything(bpffs) == []


def test_a_closed_socket_is_refused(
    netns: Namespace, pinned: PinnedPrograms, bpffs: Path, images: list[ProgramImage]
) -> None:
    with listener(netns) as sock:
        pass
    with pytest.raises(SocketError, match="the socket is closed"):
        pinned.attach(images[0], sockets=[SocketPlacement("servers", 0, sock)])
    assert (running(netns), everything(bpffs)) == ([], [])


def test_a_program_that_the_verifier_refuses_leaves_nothing(
    netns: Namespace, pinned: PinnedPrograms, bpffs: Path
) -> None:
    rejected = ObjectFile.parse(build("rejected"), name="rejected.o")
    with pytest.raises(VerifierError):
        pinned.attach(ProgramImage.of_object(rejected, "in_program"))
    assert (running(netns), everything(bpffs)) == ([], [])


def test_sockets_without_an_index_fill_the_empty_slots_and_no_more(
    netns: Namespace, pinned: PinnedPrograms, bpffs: Path, images: list[ProgramImage]
) -> None:
    with listener(netns) as one, listener(netns) as two, listener(netns) as three:
        pinned.attach(images[0], sockets=[SocketPlacement("servers", 1, one)])
        done = pinned.attach(
            images[1], replace=True, sockets=[SocketPlacement("servers", None, two)]
        )
        assert [(each.map, each.index) for each in done.sockets] == [("servers", 0)]
        before = running(netns), cookies(netns, bpffs)
        with pytest.raises(CapacityError, match="all of its 2 slots hold a socket"):
            pinned.attach(
                images[0], replace=True, sockets=[SocketPlacement("servers", None, three)]
            )
        assert (running(netns), cookies(netns, bpffs)) == before
        assert is_whole(netns, bpffs)


def test_slots_that_were_filled_are_emptied_when_a_replacement_fails(
    netns: Namespace, pinned: PinnedPrograms, bpffs: Path, images: list[ProgramImage]
) -> None:
    with listener(netns) as one, listener(netns) as two:
        pinned.attach(images[0], sockets=[SocketPlacement("servers", 0, one)])
        before = running(netns), cookies(netns, bpffs)
        placements = [SocketPlacement("servers", None, two), SocketPlacement("servers", None, two)]
        with pytest.raises(CapacityError):
            pinned.attach(images[1], replace=True, sockets=placements)
        assert (running(netns), cookies(netns, bpffs)) == before


def test_programs_in_python_are_attached_with_what_their_maps_hold(
    netns: Namespace, pinned: PinnedPrograms, bpffs: Path
) -> None:
    from inet_lookup import PASS, Context, Hash, SockArray, Verdict, program

    ports = Hash(4)
    servers = SockArray(max_entries=1)
    ports[80] = 1

    @program
    def by_port(ctx: Context) -> Verdict:
        if ctx.local_port in ports:
            return servers.redirect(ctx, 0)
        return PASS

    with listener(netns) as sock:
        servers[0] = sock
        pinned.attach(by_port)
        (listed,) = list_programs(netns, bpffs=bpffs).programs
        slots = {each.name: each.slots for each in listed.maps}["servers"]
        assert slots is not None
        assert slots[0].socket is not None
        assert slots[0].socket.port == sock.getsockname()[1]
    home = bpffs / "inet-lookup" / str(netns.inode) / "programs" / "by_port" / "maps"
    with Map.open_pinned(home / "ports") as held:
        assert [int.from_bytes(key[:8], "little") for key in held.keys()] == [80]  # noqa: SIM118


def test_writers_of_one_namespace_wait_for_each_other(
    netns: Namespace, pinned: PinnedPrograms, bpffs: Path, images: list[ProgramImage]
) -> None:
    pids = []
    for number in range(6):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for _ in range(3):
                    pinned.attach(images[0], name=f"p{number}")
                    pinned.detach(f"p{number}")
                pinned.attach(images[0], name=f"p{number}")
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 6
    assert pinned.names() == [f"p{number}" for number in range(6)]
    assert len(running(netns)) == 6
