"""Asking the kernel what the dispatcher does with a packet, without a trace in its counters."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..bpf.handle import Resource
from ..programs import Context, Verdict
from ..rules import Family, Packet, format_address
from . import objects

if TYPE_CHECKING:
    from ..bpf import Map, Program


@dataclass(frozen=True, slots=True)
class Answer:
    """What the kernel answered for one packet.

    :ivar rule: the number of the winning rule in the order of precedence, from 1; 0 for none.
    :ivar verdict: the dispatcher's verdict.
    :ivar cookie: the cookie of the socket that is selected, None where none is. Of a reuseport
        group it is the member that stands for the group.
    :ivar error: why the service has no socket for the packet, as an errno; 0 where it has.
    """

    rule: int
    verdict: Verdict
    cookie: int | None
    error: int


class Explainer(Resource):
    """The explainer program, loaded with a generation's maps; never attached.

    :param maps: the maps of the generation and those that all share.
    """

    def __init__(self, maps: Mapping[str, Map]) -> None:
        super().__init__()
        with ExitStack() as stack:
            file = objects.read("explainer")
            used = {name: made for name, made in maps.items() if name in file.maps}
            loaded = stack.enter_context(file.load(maps=used))
            self._program: Program = loaded.programs["explainer"]
            self._question: Map = loaded.maps["question"]
            self._answer: Map = loaded.maps["answer"]
            self._owned = stack.pop_all()

    def _release(self) -> None:
        self._owned.close()

    def ask(self, packet: Packet, ifindex: int = 0) -> Answer:
        """Return what the dispatcher does with a packet.

        :param ifindex: the index of the packet's interface; 0 for one that no rule names.
        """
        ctx = context_of(packet)
        self._question.update(0, ifindex)
        run = self._program.test_run(ctx.pack())
        (cookie,) = struct.unpack_from("=Q", run.ctx_out)
        rule, _, error = (self._number(index) for index in range(3))
        return Answer(rule, Verdict(run.retval), cookie or None, error)

    def _number(self, index: int) -> int:
        raw = self._answer.lookup(index)
        assert raw is not None, "an array has a value at every index in range"
        return int(struct.unpack("=Q", raw)[0])


def context_of(packet: Packet) -> Context:
    """Return a packet of the rules as the context of a program."""
    family = Family(packet.family)
    return Context(
        local=(format_address(family, packet.local_ip), packet.local_port),
        remote=(format_address(family, packet.remote_ip), packet.remote_port),
        protocol=socket.IPPROTO_TCP if packet.protocol == 6 else socket.IPPROTO_UDP,
    )
