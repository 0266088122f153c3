"""Links to a network namespace; whatever holds for both attach types is tried with both."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from inet_lookup.bpf import (
    AttachType,
    Map,
    MapType,
    NetnsLink,
    Program,
    ProgramType,
    link_ids,
    links_of,
    query,
    unpin,
)
from inet_lookup.errors import CapacityError, KernelError
from inet_lookup.net.namespaces import Namespace
from support.instructions import returning

pytestmark = pytest.mark.kernel


class Hook(NamedTuple):
    program_type: ProgramType
    attach_type: AttachType
    verdict: int

    def load(self, name: str = "steer") -> Program:
        return Program.load(
            self.program_type,
            returning(self.verdict),
            expected_attach_type=self.attach_type,
            name=name,
        )


SK_LOOKUP = Hook(ProgramType.SK_LOOKUP, AttachType.SK_LOOKUP, 1)
FLOW_DISSECTOR = Hook(ProgramType.FLOW_DISSECTOR, AttachType.FLOW_DISSECTOR, 0)


@pytest.fixture(params=[SK_LOOKUP, FLOW_DISSECTOR], ids=["sk_lookup", "flow_dissector"])
def hook(request: pytest.FixtureRequest) -> Hook:
    found = request.param
    assert isinstance(found, Hook)
    return found


@pytest.fixture
def other(hook: Hook) -> Hook:
    return FLOW_DISSECTOR if hook is SK_LOOKUP else SK_LOOKUP


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited for 10 seconds"
        time.sleep(0.005)


@contextlib.contextmanager
def attached(hook: Hook, netns: Namespace) -> Iterator[tuple[NetnsLink, Program]]:
    with (
        hook.load() as program,
        NetnsLink.create(program, netns.fileno(), hook.attach_type) as link,
    ):
        yield link, program


def test_attached_program_is_listed(hook: Hook, netns: Namespace) -> None:
    assert query(netns.fileno(), hook.attach_type) == []
    with attached(hook, netns) as (link, program):
        assert query(netns.fileno(), hook.attach_type) == [program.id]
        info = link.info()
        assert info.id == link.id
        assert info.program_id == program.id
        assert info.netns_ino == netns.inode
        assert info.attach_type == link.attach_type == hook.attach_type
        assert info.attached
        assert links_of(netns.inode, hook.attach_type) == [info]
        assert link.id in set(link_ids())
    assert query(netns.fileno(), hook.attach_type) == []
    assert links_of(netns.inode, hook.attach_type) == []


def test_hooks_do_not_mix(hook: Hook, other: Hook, netns: Namespace) -> None:
    with attached(hook, netns):
        assert query(netns.fileno(), other.attach_type) == []
        assert links_of(netns.inode, other.attach_type) == []


def test_namespaces_do_not_mix(hook: Hook, netns: Namespace) -> None:
    with Namespace.create() as elsewhere, attached(hook, netns):
        assert query(elsewhere.fileno(), hook.attach_type) == []
        assert links_of(elsewhere.inode, hook.attach_type) == []


def test_program_is_replaced(hook: Hook, netns: Namespace) -> None:
    with attached(hook, netns) as (link, first), hook.load("second") as second:
        link.update(second)
        assert query(netns.fileno(), hook.attach_type) == [second.id]
        assert link.info().program_id == second.id
        link.update(first, expected=second)
        assert link.info().program_id == first.id


def test_replacing_another_program_than_expected_is_refused(hook: Hook, netns: Namespace) -> None:
    with (
        attached(hook, netns) as (link, first),
        hook.load("second") as second,
        hook.load("third") as third,
    ):
        with pytest.raises(KernelError) as raised:
            link.update(third, expected=second)
        assert type(raised.value) is KernelError  # EPERM, and no matter of privilege
        assert raised.value.errno_name == "EPERM"
        assert f"does not run the expected program {second.id}" in raised.value.message
        assert link.info().program_id == first.id


def test_program_of_another_type_is_refused(hook: Hook, other: Hook, netns: Namespace) -> None:
    with attached(hook, netns) as (link, first), other.load("wrong") as wrong:
        with pytest.raises(KernelError, match=r"EINVAL: program 'wrong' is of the type"):
            link.update(wrong)
        with pytest.raises(KernelError, match=r"EINVAL: .*'wrong' .* is not one to attach as"):
            NetnsLink.create(wrong, netns.fileno(), hook.attach_type)
        assert link.info().program_id == first.id


def test_detached_link_is_a_shell(hook: Hook, netns: Namespace) -> None:
    with attached(hook, netns) as (link, program):
        link.detach()
        assert query(netns.fileno(), hook.attach_type) == []
        info = link.info()
        assert info.netns_ino == 0
        assert not info.attached
        with pytest.raises(
            KernelError, match="ENOLINK: the link is detached or its network"
        ) as raised:
            link.update(program)
        assert raised.value.hint == "attach the program anew"
        link.detach()


def test_link_does_not_keep_its_namespace(hook: Hook) -> None:
    with Namespace.create() as netns:
        inode = netns.inode
        with hook.load() as program:
            link = NetnsLink.create(program, netns.fileno(), hook.attach_type)
    with link:
        # The kernel takes a namespace down in the background.
        eventually(lambda: not link.info().attached)
        assert link.info().netns_ino == 0
        assert links_of(inode, hook.attach_type) == []


def test_link_outlives_its_program_object(hook: Hook, netns: Namespace) -> None:
    with hook.load() as program:
        id = program.id
        link = NetnsLink.create(program, netns.fileno(), hook.attach_type)
    with link:
        assert query(netns.fileno(), hook.attach_type) == [id]
        with Program.from_id(link.info().program_id) as found:
            assert found.type == hook.program_type


def test_link_is_opened_by_id_and_by_pin(hook: Hook, netns: Namespace, bpffs: Path) -> None:
    with attached(hook, netns) as (link, _):
        link.pin(bpffs / "link")
        with NetnsLink.from_id(link.id) as by_id:
            assert by_id.info() == link.info()
    assert len(query(netns.fileno(), hook.attach_type)) == 1
    with NetnsLink.open_pinned(bpffs / "link") as pinned, hook.load("next") as following:
        pinned.update(following)
        assert query(netns.fileno(), hook.attach_type) == [following.id]
    unpin(bpffs / "link")
    eventually(lambda: query(netns.fileno(), hook.attach_type) == [])


def test_detaching_reaches_all_who_hold_the_link(hook: Hook, netns: Namespace, bpffs: Path) -> None:
    with attached(hook, netns) as (link, _):
        link.pin(bpffs / "link")
        link.detach()
        with NetnsLink.open_pinned(bpffs / "link") as pinned:
            assert not pinned.info().attached


def test_descriptor_of_no_namespace_is_refused(hook: Hook) -> None:
    with hook.load() as program, open(os.devnull) as file:
        with pytest.raises(KernelError, match=r"EINVAL: file descriptor \d+ is not a network"):
            NetnsLink.create(program, file.fileno(), hook.attach_type)
        with pytest.raises(KernelError, match=r"EINVAL: file descriptor \d+ is not a network"):
            query(file.fileno(), hook.attach_type)
        with pytest.raises(KernelError, match="EBADF: 987654 is not an open file descriptor"):
            NetnsLink.create(program, 987654, hook.attach_type)
        with pytest.raises(KernelError, match="EBADF: 987654 is not an open file descriptor"):
            query(987654, hook.attach_type)


def test_garbage_collector_warns_of_an_open_link(hook: Hook, netns: Namespace) -> None:
    with hook.load() as program:
        owned = [NetnsLink.create(program, netns.fileno(), hook.attach_type)]
    with pytest.warns(ResourceWarning, match=f"unclosed <NetnsLink {hook.attach_type.label}"):
        owned.clear()
    assert query(netns.fileno(), hook.attach_type) == []


def test_lookup_programs_run_in_the_order_of_attachment(netns: Namespace) -> None:
    with contextlib.ExitStack() as stack:
        programs = [stack.enter_context(SK_LOOKUP.load(f"p{number}")) for number in range(5)]
        links = [
            stack.enter_context(NetnsLink.create(each, netns.fileno(), AttachType.SK_LOOKUP))
            for each in programs
        ]
        ids = [program.id for program in programs]
        assert query(netns.fileno(), AttachType.SK_LOOKUP) == ids
        links[1].detach()
        assert query(netns.fileno(), AttachType.SK_LOOKUP) == [ids[0], *ids[2:]]
        listed = links_of(netns.inode, AttachType.SK_LOOKUP)
        assert [info.id for info in listed] == sorted(
            link.id for link in links if link is not links[1]
        )


def test_one_program_is_attached_many_times(netns: Namespace) -> None:
    with (
        attached(SK_LOOKUP, netns) as (_, program),
        NetnsLink.create(program, netns.fileno(), AttachType.SK_LOOKUP),
    ):
        assert query(netns.fileno(), AttachType.SK_LOOKUP) == [program.id] * 2


@pytest.mark.parametrize(
    ("hook", "limit", "words"),
    [(SK_LOOKUP, 64, "has 64 programs attached"), (FLOW_DISSECTOR, 1, "has a program attached")],
)
def test_more_programs_than_the_kernel_takes_are_a_matter_of_capacity(
    hook: Hook, limit: int, words: str, netns: Namespace
) -> None:
    with contextlib.ExitStack() as stack:
        program = stack.enter_context(hook.load())
        for _ in range(limit):
            stack.enter_context(NetnsLink.create(program, netns.fileno(), hook.attach_type))
        with pytest.raises(CapacityError, match=rf"E2BIG: the namespace {words}.*detach one"):
            NetnsLink.create(program, netns.fileno(), hook.attach_type)
        assert query(netns.fileno(), hook.attach_type) == [program.id] * limit


def test_descriptor_of_another_kind_is_no_link() -> None:
    with Map.create(MapType.ARRAY, key_size=4, value_size=4, max_entries=1) as array:
        fd = os.dup(array.fd)
    with pytest.raises(KernelError, match="anon_inode:bpf-map, not a link"):
        NetnsLink.from_fd(fd)
