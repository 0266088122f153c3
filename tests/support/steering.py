"""Steering by a program that is written instruction by instruction, for tests of other things."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

from inet_lookup.bpf import AttachType, Map, MapType, NetnsLink, Program, ProgramType
from inet_lookup.net.namespaces import Namespace
from inet_lookup.net.sockets import HasFileno

_MAP_LOOKUP_ELEM, _SK_RELEASE, _SK_ASSIGN = 1, 86, 124


@contextlib.contextmanager
def steer_everything(namespace: Namespace, sock: HasFileno) -> Iterator[None]:
    """Redirect every look-up in a namespace that the socket fits to that socket."""
    with (
        Map.create(MapType.SOCKMAP, key_size=4, value_size=8, max_entries=1, name="slot") as slot,
        Program.load(
            ProgramType.SK_LOOKUP,
            _redirect_to_slot_0(slot.fd),
            expected_attach_type=AttachType.SK_LOOKUP,
            name="everything",
        ) as program,
        NetnsLink.create(program, namespace.fileno(), AttachType.SK_LOOKUP),
    ):
        slot.update(struct.pack("=I", 0), struct.pack("=Q", sock.fileno()))
        yield


def _redirect_to_slot_0(map_fd: int) -> bytes:
    def instruction(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
        return struct.pack("=BBhi", code, src << 4 | dst, off, imm)

    move, add, load_map, store_word, call = 0xBF, 0x07, 0x18, 0x62, 0x85
    jump_if_zero, move_number, end = 0x15, 0xB7, 0x95
    return b"".join(
        [
            instruction(move, 6, 1),
            instruction(store_word, 10, off=-4),
            instruction(load_map, 1, 1, imm=map_fd),
            instruction(0),
            instruction(move, 2, 10),
            instruction(add, 2, imm=-4),
            instruction(call, imm=_MAP_LOOKUP_ELEM),
            instruction(jump_if_zero, 0, off=7),
            instruction(move, 7, 0),
            instruction(move, 1, 6),
            instruction(move, 2, 7),
            instruction(move_number, 3),
            instruction(call, imm=_SK_ASSIGN),
            instruction(move, 1, 7),
            instruction(call, imm=_SK_RELEASE),
            instruction(move_number, 0, imm=1),
            instruction(end),
        ]
    )
