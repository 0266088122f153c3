"""Guards prefixes on an interface until it is interrupted: ``attach.py eth0``.

Packets to them for which the stack would find no socket are dropped. Build the program first:
``make -C examples/xdp_guard``. The guarded prefixes are those that are local to the namespace at
that moment, unless they are named.
"""

from __future__ import annotations

import argparse
import ipaddress
import signal
import socket
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from inet_lookup import InetLookupError, Namespace
from inet_lookup.bpf import Map, ObjectFile, Program, XdpLink, XdpMode
from inet_lookup.net import local_prefixes

IPPrefix = ipaddress.IPv4Network | ipaddress.IPv6Network


def key_of(prefix: IPPrefix) -> bytes:
    """Return a prefix as ``struct prefix`` of the program."""
    address = prefix.network_address.packed.ljust(16, b"\0")
    return struct.pack("=II", 32 + prefix.prefixlen, prefix.version) + address


def attach(program: Program, interface: str, mode: XdpMode) -> XdpLink:
    """Attach the program to an interface of the calling thread's namespace."""
    return XdpLink.create(program, socket.if_nametoindex(interface), mode=mode)


def packets(verdicts: Map) -> dict[str, int]:
    """Return how many packets to guarded prefixes passed and were dropped."""
    found = {}
    for index, name in enumerate(("passed", "dropped")):
        values = verdicts.lookup_percpu(index) or []
        found[name] = sum(int.from_bytes(value, sys.byteorder) for value in values)
    return found


def guard(
    interface: str, namespace: Namespace, prefixes: Iterable[IPPrefix], mode: XdpMode, path: Path
) -> None:
    """Guard prefixes until SIGINT or SIGTERM comes."""
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with ObjectFile.parse(path.read_bytes(), name=path.name).load() as loaded:
        for prefix in prefixes:
            loaded.maps["guarded"].update(key_of(prefix), bytes(8))
        with namespace.run(attach, loaded.programs["xdp_guard"], interface, mode):
            print(f"guarding {interface}", flush=True)
            signal.sigwait(ends)
        print(packets(loaded.maps["verdicts"]))


def main() -> None:
    """Read the arguments and guard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("interface")
    parser.add_argument("prefix", nargs="*", type=ipaddress.ip_network)
    parser.add_argument("--netns", help="the interface's namespace: a name, a path or a pid")
    parser.add_argument("--mode", default="any", choices=[each.name.lower() for each in XdpMode])
    parser.add_argument("--object", type=Path, default=Path(__file__).with_name("xdp_guard.bpf.o"))
    given = parser.parse_args()
    try:
        with Namespace.open(given.netns) as namespace:
            prefixes = given.prefix or local_prefixes(namespace)
            mode = XdpMode[given.mode.upper()]
            guard(given.interface, namespace, prefixes, mode, given.object)
    except (InetLookupError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
