"""Links of XDP programs to interfaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from inet_lookup.bpf import (
    AttachType,
    NetnsLink,
    Program,
    ProgramType,
    XdpLink,
    XdpMode,
    unpin,
)
from inet_lookup.errors import KernelError, UnsupportedError
from support.instructions import returning
from support.networks import TwoHosts, interface_index

pytestmark = pytest.mark.kernel

XDP_PASS = 2
LOOPBACK = 1


@pytest.fixture
def passing() -> Iterator[Program]:
    with Program.load(
        ProgramType.XDP, returning(XDP_PASS), expected_attach_type=AttachType.XDP, name="passing"
    ) as program:
        yield program


@pytest.fixture
def eth0(two_hosts: TwoHosts) -> int:
    return interface_index(two_hosts.server, "eth0")


@pytest.mark.parametrize("mode", XdpMode)
def test_a_link_attaches_until_it_is_closed(
    two_hosts: TwoHosts, passing: Program, eth0: int, mode: XdpMode
) -> None:
    for _ in range(2):
        with two_hosts.server.run(XdpLink.create, passing, eth0, mode=mode) as link:
            info = link.info()
            assert (info.id, info.program_id, info.ifindex) == (link.id, passing.id, eth0)
            assert info.attached
            assert repr(link) == f"<XdpLink id={link.id} fd={link.fd}>"


def test_a_detached_link_stays_as_a_shell(two_hosts: TwoHosts, passing: Program, eth0: int) -> None:
    with two_hosts.server.run(XdpLink.create, passing, eth0) as link:
        link.detach()
        link.detach()
        assert not link.info().attached
        two_hosts.server.run(XdpLink.create, passing, eth0).close()


def test_a_pinned_link_outlives_its_descriptor(
    two_hosts: TwoHosts, passing: Program, eth0: int, bpffs: Path
) -> None:
    with two_hosts.server.run(XdpLink.create, passing, eth0) as link:
        link.pin(bpffs / "guard")
    with XdpLink.open_pinned(bpffs / "guard") as link:
        assert link.info().ifindex == eth0
        link.detach()
    unpin(bpffs / "guard")


def test_an_interface_takes_one_program(two_hosts: TwoHosts, passing: Program, eth0: int) -> None:
    with two_hosts.server.run(XdpLink.create, passing, eth0):
        for mode, name in ((XdpMode.ANY, "EBUSY"), (XdpMode.GENERIC, "EEXIST")):
            with pytest.raises(KernelError, match="the interface has an XDP program") as caught:
                two_hosts.server.run(XdpLink.create, passing, eth0, mode=mode)
            assert caught.value.errno_name == name
            assert caught.value.hint


def test_what_cannot_be_attached_is_refused(
    two_hosts: TwoHosts, passing: Program, eth0: int
) -> None:
    with pytest.raises(KernelError, match="there is no interface 99999"):
        two_hosts.server.run(XdpLink.create, passing, 99999)
    with pytest.raises(UnsupportedError, match="cannot run XDP programs in this mode") as caught:
        two_hosts.server.run(XdpLink.create, passing, LOOPBACK, mode=XdpMode.DRIVER)
    assert caught.value.hint == "use XdpMode.GENERIC"
    with (
        Program.load(
            ProgramType.SK_LOOKUP, returning(1), expected_attach_type=AttachType.SK_LOOKUP, name="x"
        ) as other,
        pytest.raises(KernelError, match=r"'x' \(sk_lookup\) is not one to attach as xdp"),
    ):
        two_hosts.server.run(XdpLink.create, other, eth0)


def test_a_link_to_a_namespace_is_not_one_to_an_interface(
    two_hosts: TwoHosts, passing: Program, eth0: int
) -> None:
    with (
        two_hosts.server.run(XdpLink.create, passing, eth0) as link,
        pytest.raises(KernelError, match="not a link to a network namespace"),
    ):
        NetnsLink.from_id(link.id)
    with (
        Program.load(
            ProgramType.SK_LOOKUP, returning(1), expected_attach_type=AttachType.SK_LOOKUP, name="x"
        ) as other,
        NetnsLink.create(other, two_hosts.server.fileno(), AttachType.SK_LOOKUP) as netns_link,
        pytest.raises(KernelError, match="not a link to a network interface"),
    ):
        XdpLink.from_id(netns_link.id)
