"""Sockets that a service manager passes, by the protocol of sd_listen_fds(3)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from inet_lookup.errors import SocketError
from inet_lookup.net.passed_sockets import passed_sockets

# Stands for a service manager: sets LISTEN_PID to the pid that the command is to have.
_EXEC = """
import os, sys
for place, fd in enumerate(map(int, sys.argv[2].split(","))):
    os.dup2(fd, 100 + place)
    os.dup2(100 + place, 3 + place)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""

_PRINT = """
import json
from inet_lookup.net.passed_sockets import passed_sockets
print(json.dumps([[each.fd, each.name, each.info.endpoint] for each in passed_sockets()]))
"""


def passed(sockets: list[socket.socket], names: str | None) -> list[list[object]]:
    """What a process finds that is passed some sockets."""
    fds = ",".join(str(each.fileno()) for each in sockets)
    environment = {**os.environ, "LISTEN_FDS": str(len(sockets))}
    if names is not None:
        environment["LISTEN_FDNAMES"] = names
    done = subprocess.run(
        [sys.executable, "-c", _EXEC, _PRINT, fds],
        env=environment,
        pass_fds=[each.fileno() for each in sockets],
        capture_output=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("names", [None, "web:dns", ":dns"])
def test_sockets_are_found_with_their_names(names: str | None) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as web,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as dns,
    ):
        dns.bind(("::1", 0))
        expected = names.split(":") if names is not None else [None, None]
        assert passed([web, dns], names) == [
            [3, expected[0], f"tcp 127.0.0.1:{web.getsockname()[1]}"],
            [4, expected[1], f"udp [::1]:{dns.getsockname()[1]}"],
        ]


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({}, "LISTEN_FDS is not set"),
        ({"LISTEN_FDS": "1"}, "LISTEN_PID is not set"),
        ({"LISTEN_FDS": "one", "LISTEN_PID": "1"}, "LISTEN_FDS is 'one', and not a number"),
        ({"LISTEN_FDS": "-1", "LISTEN_PID": "1"}, "LISTEN_FDS is '-1', and not a number"),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "1"}, "are for process 1, and this is process"),
        ({"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())}, "no socket was passed"),
        (
            {"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "web"},
            "LISTEN_FDNAMES has 1 names for the 2 sockets",
        ),
    ],
)
def test_what_was_not_passed_to_this_process_is_refused(
    environment: dict[str, str], text: str
) -> None:
    with pytest.raises(SocketError, match=text):
        passed_sockets(environment)
