"""One program a namespace: attach, detach and query as the RFC has them, for both hooks."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from inet_lookup.bpf import AttachType, NetnsLink, Program, ProgramType
from inet_lookup.bpf.program_attachment import attach_without_link
from inet_lookup.errors import KernelError
from inet_lookup.net import Namespace
from inet_lookup.rfc import attach, detach, query
from support.instructions import returning
from support.rfc_programs import redirecting

pytestmark = pytest.mark.kernel


class Hook(NamedTuple):
    program_type: ProgramType
    attach_type: AttachType
    verdict: int

    def load(self, name: str = "only") -> Program:
        return Program.load(
            self.program_type,
            returning(self.verdict),
            expected_attach_type=self.attach_type,
            name=name,
        )


SK_LOOKUP = Hook(ProgramType.SK_LOOKUP, AttachType.SK_LOOKUP, 1)
FLOW_DISSECTOR = Hook(ProgramType.FLOW_DISSECTOR, AttachType.FLOW_DISSECTOR, 0)
BPF_F_ALLOW_OVERRIDE, BPF_F_ALLOW_MULTI = 1, 2


@pytest.fixture(params=[SK_LOOKUP, FLOW_DISSECTOR], ids=["sk_lookup", "flow_dissector"])
def hook(request: pytest.FixtureRequest) -> Hook:
    found = request.param
    assert isinstance(found, Hook)
    return found


@pytest.fixture
def program(hook: Hook) -> Iterator[Program]:
    with hook.load() as program:
        yield program


def attached_ids(netns: Namespace, hook: Hook) -> tuple[int, ...]:
    return query(netns, attach_type=hook.attach_type).program_ids


def refuses_with(number: int) -> object:
    return pytest.raises(KernelError, match=errno.errorcode[number])


def test_attach_query_detach(netns: Namespace, hook: Hook, program: Program) -> None:
    found = query(netns, attach_type=hook.attach_type)
    assert (found.attach_flags, found.program_count, found.program_ids) == (0, 0, ())
    with attach(program, netns, attach_type=hook.attach_type) as link:
        found = query(netns, attach_type=hook.attach_type)
        assert (found.attach_flags, found.program_count) == (0, 1)
        assert found.program_ids == (program.id,)
        assert link.info().netns_ino == netns.inode
        assert detach(netns, attach_type=hook.attach_type) == program.id
        assert attached_ids(netns, hook) == ()
        assert not link.info().attached


def test_closing_the_link_detaches(netns: Namespace, hook: Hook, program: Program) -> None:
    attach(program, netns, attach_type=hook.attach_type).close()
    assert attached_ids(netns, hook) == ()


def test_a_second_program_is_refused(netns: Namespace, hook: Hook, program: Program) -> None:
    with attach(program, netns, attach_type=hook.attach_type), hook.load("second") as second:
        for other in (second, program):
            with pytest.raises(KernelError) as caught:
                attach(other, netns, attach_type=hook.attach_type)
            assert caught.value.errno == errno.EEXIST
            assert caught.value.hint == "detach it first"
        assert attached_ids(netns, hook) == (program.id,)
        detach(netns, attach_type=hook.attach_type)
        with attach(second, netns, attach_type=hook.attach_type):
            assert attached_ids(netns, hook) == (second.id,)


def test_a_program_that_something_else_attached_counts(
    netns: Namespace, hook: Hook, program: Program
) -> None:
    with (
        NetnsLink.create(program, netns.fileno(), hook.attach_type),
        hook.load("second") as second,
        refuses_with(errno.EEXIST),  # type: ignore[attr-defined]
    ):
        attach(second, netns, attach_type=hook.attach_type)


def test_the_other_hook_does_not_count(netns: Namespace) -> None:
    with (
        SK_LOOKUP.load() as one,
        FLOW_DISSECTOR.load() as other,
        attach(one, netns),
        attach(other, netns, attach_type=AttachType.FLOW_DISSECTOR),
    ):
        assert attached_ids(netns, SK_LOOKUP) == (one.id,)
        assert attached_ids(netns, FLOW_DISSECTOR) == (other.id,)


def test_each_namespace_has_its_own(netns: Namespace, program: Program, hook: Hook) -> None:
    with (
        Namespace.create() as other,
        attach(program, netns, attach_type=hook.attach_type),
        attach(program, other, attach_type=hook.attach_type),
    ):
        detach(other, attach_type=hook.attach_type)
        assert attached_ids(netns, hook) == (program.id,)


def test_detaching_none_finds_no_entry(netns: Namespace, hook: Hook) -> None:
    with pytest.raises(KernelError, match="no program is attached") as caught:
        detach(netns, attach_type=hook.attach_type)
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize("flags", [BPF_F_ALLOW_OVERRIDE, BPF_F_ALLOW_MULTI, 1 << 31])
def test_flags_are_invalid(netns: Namespace, program: Program, hook: Hook, flags: int) -> None:
    with pytest.raises(KernelError, match=f"flags are {flags:#x}") as caught:
        attach(program, netns, flags=flags, attach_type=hook.attach_type)
    assert caught.value.errno == errno.EINVAL
    assert attached_ids(netns, hook) == ()
    with pytest.raises(KernelError, match=f"flags are {flags:#x}") as caught:
        query(netns, flags=flags, attach_type=hook.attach_type)
    assert caught.value.errno == errno.EINVAL


def test_flags_are_invalid_also_where_a_program_is_attached(
    netns: Namespace, program: Program, hook: Hook
) -> None:
    with attach(program, netns, attach_type=hook.attach_type):
        with pytest.raises(KernelError) as caught:
            attach(program, netns, flags=1, attach_type=hook.attach_type)
        assert caught.value.errno == errno.EINVAL


def test_of_several_programs_none_is_detached(netns: Namespace) -> None:
    with ExitStack() as stack:
        programs = [stack.enter_context(SK_LOOKUP.load()) for _ in range(2)]
        for each in programs:
            stack.enter_context(NetnsLink.create(each, netns.fileno(), AttachType.SK_LOOKUP))
        with pytest.raises(KernelError, match="2 programs are attached") as caught:
            detach(netns)
        assert caught.value.errno == errno.EBUSY
        assert query(netns).program_ids == tuple(each.id for each in programs)


def test_a_flow_dissector_without_a_link_is_one_too(netns: Namespace) -> None:
    """As ``bpftool prog attach`` does it."""
    with FLOW_DISSECTOR.load() as old, FLOW_DISSECTOR.load() as new:
        netns.run(attach_without_link, old, AttachType.FLOW_DISSECTOR)
        assert attached_ids(netns, FLOW_DISSECTOR) == (old.id,)
        with pytest.raises(KernelError) as caught:
            attach(new, netns, attach_type=AttachType.FLOW_DISSECTOR)
        assert caught.value.errno == errno.EEXIST
        assert detach(netns, attach_type=AttachType.FLOW_DISSECTOR) == old.id
        assert attached_ids(netns, FLOW_DISSECTOR) == ()


def test_of_many_at_the_same_time_one_succeeds(netns: Namespace, hook: Hook) -> None:
    with ExitStack() as stack:
        programs = [stack.enter_context(hook.load()) for _ in range(8)]
        for _ in range(20):
            links: list[NetnsLink] = []
            failures: list[KernelError] = []
            start = threading.Barrier(len(programs))

            def race(
                program: Program,
                start: threading.Barrier = start,
                links: list[NetnsLink] = links,
                failures: list[KernelError] = failures,
            ) -> None:
                start.wait()
                try:
                    links.append(attach(program, netns, attach_type=hook.attach_type))
                except KernelError as error:
                    failures.append(error)

            threads = [threading.Thread(target=race, args=(each,)) for each in programs]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            try:
                assert len(links) == 1
                assert {each.errno for each in failures} == {errno.EEXIST}
                assert attached_ids(netns, hook) == (links[0].info().program_id,)
            finally:
                for link in links:
                    link.close()


def test_a_program_in_python_is_attached_by_itself(netns: Namespace) -> None:
    function, _ = redirecting("by_port")
    with attach(function, netns) as link:
        assert query(netns).program_ids == (link.program.info().id,)
        with pytest.raises(KernelError) as caught:
            attach(function, netns)
        assert caught.value.errno == errno.EEXIST


# --- the command -------------------------------------------------------------------------------

PROGRAM = """
from inet_lookup.rfc import BPF_OK, Context, SockArray, program, redirect_lookup

redir_map = SockArray(max_entries=1)

@program
def everything(ctx: Context) -> int:
    return redirect_lookup(ctx, redir_map, 0, 0)
"""


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inet_lookup", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_the_command_attaches_exclusively(named_netns: str, bpffs: Path, tmp_path: Path) -> None:
    source = tmp_path / "everything.py"
    source.write_text(PROGRAM)
    options = ["--netns", named_netns, "--bpffs", str(bpffs), "--json"]
    try:
        first = cli(*options, "prog", "attach", str(source), "--exclusive")
        assert first.returncode == 0, first.stderr
        with Namespace.open(named_netns) as namespace:
            assert query(namespace).program_ids == (json.loads(first.stdout)["program"]["id"],)
        for name in ("everything", "other"):
            again = cli(*options, "prog", "attach", str(source), "--exclusive", "--name", name)
            assert again.returncode == 1
            assert "EEXIST: a program is attached already" in again.stderr
        assert list((bpffs / "inet-lookup").rglob("other")) == []
        behind = cli(*options, "prog", "attach", str(source), "--name", "other")
        assert behind.returncode == 0, behind.stderr
        assert cli(*options, "prog", "detach", "other").returncode == 0
        both = cli(*options, "prog", "attach", str(source), "--exclusive", "--replace")
        assert both.returncode == 2
        assert "do not go together" in both.stderr
    finally:
        cli(*options, "prog", "detach", "everything")
        cli(*options, "prog", "detach", "other")
