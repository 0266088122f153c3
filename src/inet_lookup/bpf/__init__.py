"""The kernel's ``bpf(2)`` surface as typed objects: maps, programs, links, pins, BTF, ELF objects.

Nothing here knows what a socket means or what a rule is. Objects own their file descriptors: use
them in a ``with`` block or close them. Failed calls raise subclasses of
:class:`inet_lookup.errors.KernelError`.

Names are imported from their modules when they are first used, so that a command pays only for
what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import exports

if TYPE_CHECKING:
    from .cpus import possible_cpus as possible_cpus
    from .features import FEATURES as FEATURES
    from .features import Feature as Feature
    from .handle import Handle as Handle
    from .handle import live_handles as live_handles
    from .helper_ids import Helper as Helper
    from .kernel_btf import Btf as Btf
    from .links import LinkInfo as LinkInfo
    from .links import NetnsLink as NetnsLink
    from .links import link_ids as link_ids
    from .links import links_of as links_of
    from .links import query as query
    from .map_memory import MapMemory as MapMemory
    from .maps import Map as Map
    from .maps import MapInfo as MapInfo
    from .maps import map_ids as map_ids
    from .objects import LoadedObject as LoadedObject
    from .objects import ObjectFile as ObjectFile
    from .pins import default_bpffs as default_bpffs
    from .pins import is_bpffs as is_bpffs
    from .pins import require_bpffs as require_bpffs
    from .pins import unpin as unpin
    from .programs import Program as Program
    from .programs import ProgramInfo as ProgramInfo
    from .programs import ProgramLine as ProgramLine
    from .programs import TestRun as TestRun
    from .programs import program_ids as program_ids
    from .ring_buffer import RingBuffer as RingBuffer
    from .run_statistics import RunStatistics as RunStatistics
    from .run_statistics import enable_stats as enable_stats
    from .source_line import SourceLine as SourceLine
    from .uapi import AttachType as AttachType
    from .uapi import Command as Command
    from .uapi import LinkType as LinkType
    from .uapi import MapFlags as MapFlags
    from .uapi import MapType as MapType
    from .uapi import ProgramFlags as ProgramFlags
    from .uapi import ProgramType as ProgramType
    from .uapi import SkAction as SkAction
    from .uapi import SkLookupFlags as SkLookupFlags
    from .uapi import UpdateMode as UpdateMode
    from .uapi import XdpMode as XdpMode
    from .xdp_link import XdpLink as XdpLink
    from .xdp_link import XdpLinkInfo as XdpLinkInfo

# Which module has which of the names above.
_HOMES = {
    "cpus": ("possible_cpus",),
    "features": ("FEATURES", "Feature"),
    "handle": ("Handle", "live_handles"),
    "helper_ids": ("Helper",),
    "kernel_btf": ("Btf",),
    "links": ("LinkInfo", "NetnsLink", "link_ids", "links_of", "query"),
    "map_memory": ("MapMemory",),
    "maps": ("Map", "MapInfo", "map_ids"),
    "objects": ("LoadedObject", "ObjectFile"),
    "pins": ("default_bpffs", "is_bpffs", "require_bpffs", "unpin"),
    "programs": ("Program", "ProgramInfo", "ProgramLine", "TestRun", "program_ids"),
    "ring_buffer": ("RingBuffer",),
    "run_statistics": ("RunStatistics", "enable_stats"),
    "source_line": ("SourceLine",),
    "uapi": (
        "AttachType",
        "Command",
        "LinkType",
        "MapFlags",
        "MapType",
        "ProgramFlags",
        "ProgramType",
        "SkAction",
        "SkLookupFlags",
        "UpdateMode",
        "XdpMode",
    ),
    "xdp_link": ("XdpLink", "XdpLinkInfo"),
}

if not TYPE_CHECKING:  # a type checker shall find the names above, and no others
    __getattr__, __dir__ = exports(__name__, _HOMES)
