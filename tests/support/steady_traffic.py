"""New connections without end, to servers that say who they are; each end a process of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inet_lookup.net import Namespace

# Both are run with -c and import nothing of this project.
_SERVERS = """
import json, selectors, socket, sys
selector = selectors.DefaultSelector()
ports = {}
for name in json.loads(sys.argv[1]):
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    ports[name] = listener.getsockname()[1]
    selector.register(listener, selectors.EVENT_READ, name.encode())
print(json.dumps(ports), flush=True)
selector.register(sys.stdin, selectors.EVENT_READ, None)
while True:
    for key, _ in selector.select():
        if key.data is None:
            sys.exit()
        try:
            while True:
                connection, _ = key.fileobj.accept()
                with connection:
                    connection.sendall(key.data)
        except (BlockingIOError, ConnectionAbortedError):
            pass
"""

_CLIENT = """
import json, random, select, socket, struct, sys, time
expected = json.loads(sys.stdin.readline())
addresses = list(expected)
answers, wrong, lost = {}, [], []
now = struct.pack("ii", 1, 0)
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    time.sleep(0.005)  # the machine is for others, too
    for address in random.sample(addresses, 20):
        try:
            with socket.create_connection((address, 80), timeout=10) as connection:
                name = connection.recv(100).decode()
                # No TIME_WAIT is left of it.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
        except OSError as error:
            lost.append(f"{address}: {error!r}")
            continue
        answers[name] = answers.get(name, 0) + 1
        if name not in expected[address]:
            wrong.append(f"{address}: {name!r} and not {expected[address]}")
print(json.dumps({"answers": answers, "wrong": wrong, "lost": lost}))
"""


@dataclass
class Connections:
    """What came of the connections.

    :ivar answers: how many each server took.
    :ivar wrong: those that reached another server than they may.
    :ivar lost: those that reached none.
    """

    answers: dict[str, int]
    wrong: list[str]
    lost: list[str]


@dataclass
class Servers:
    """Servers in one process, each with a socket on a port that the kernel picked."""

    pid: int
    ports: dict[str, int]


@contextlib.contextmanager
def servers(namespace: Namespace, names: Sequence[str]) -> Iterator[Servers]:
    """Start servers that send their name to who connects."""
    with _process(namespace, _SERVERS, json.dumps(names)) as process:
        try:
            yield Servers(process.pid, json.loads(process.stdout.readline()))
        finally:
            process.kill()


@contextlib.contextmanager
def connecting(
    namespace: Namespace, expected: Mapping[str, Sequence[str]]
) -> Iterator[Connections]:
    """Connect to port 80 of addresses all the time, until the block ends.

    :param expected: the servers that each address may reach.
    :return: what came of it; filled when the block has ended.
    """
    found = Connections({}, [], [])
    with _process(namespace, _CLIENT) as process:
        try:
            process.stdin.write(json.dumps(expected) + "\n")
            process.stdin.flush()
            process.stdout.readline()
            yield found
        except BaseException:
            process.kill()
            raise
        result = json.loads(process.communicate("", timeout=60)[0].splitlines()[-1])
        found.answers, found.wrong, found.lost = (
            result[key] for key in ("answers", "wrong", "lost")
        )


def _process(namespace: Namespace, source: str, *arguments: str) -> subprocess.Popen[Any]:
    return namespace.popen(
        [sys.executable, "-I", "-S", "-c", source, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
