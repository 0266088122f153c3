"""Which processes hold a socket: from the inode that the kernel lists to pids and names."""

from __future__ import annotations

import os
from collections.abc import Collection

from inet_lookup.net.processes import Process


def owners_of(inodes: Collection[int]) -> dict[int, list[Process]]:
    """Find the processes that have sockets open, by one pass over ``/proc``.

    Processes that end meanwhile, or that this one may not look into (without ``CAP_SYS_PTRACE``:
    those of other users), are passed over; a socket that nobody was found for has an empty list.

    :param inodes: inodes of sockets, as :class:`~inet_lookup.net.sockets.SocketInfo` and
        :class:`~inet_lookup.net.sock_diag.ListedSocket` have them.
    :return: for each inode its processes, by pid.
    """
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, list[Process]] = {inode: [] for inode in inodes}
    if not wanted:
        return found
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            held = {wanted[target] for target in _links(f"/proc/{entry}/fd") if target in wanted}
            if held:
                process = Process.of(int(entry))
                for inode in held:
                    found[inode].append(process)
    return {inode: sorted(processes) for inode, processes in found.items()}


def _links(directory: str) -> list[str]:
    """What the links of a directory point to, as far as it can be read."""
    found = []
    try:
        for entry in os.listdir(directory):
            try:
                found.append(os.readlink(f"{directory}/{entry}"))
            except FileNotFoundError:
                continue
    except OSError:
        pass
    return found
