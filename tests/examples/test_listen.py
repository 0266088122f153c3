"""The servers of ``examples/listen`` serve whole prefixes, each on its own framework."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from inet_lookup import Namespace, query
from support.networks import TwoHosts
from support.requirements import unmet

pytestmark = pytest.mark.kernel

EXAMPLES = Path(__file__).parents[2] / "examples" / "listen"
PREFIXES = ("192.0.2.0/24", "2001:db8:1::/48")
ADDRESSES = ("192.0.2.0", "192.0.2.77", "192.0.2.255", "2001:db8:1::", "2001:db8:1:2:3::4")
_SECONDS = 20


@contextlib.contextmanager
def running(name: str, namespace: Namespace, home: Path) -> Iterator[None]:
    """Run an example in a namespace, from when it steers until it ends by SIGTERM.

    :param home: where it may leave files, as gunicorn does.
    """
    process = namespace.popen(
        [sys.executable, EXAMPLES / name, *PREFIXES],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "HOME": str(home)},
    )
    with process:
        try:
            deadline = time.monotonic() + _SECONDS
            while not query(namespace):
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < deadline, f"{name} did not come up"
                time.sleep(0.01)
            yield
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert query(namespace) == []


def fetch(address: str) -> str:
    host = f"[{address}]" if ":" in address else address
    with urllib.request.urlopen(f"http://{host}/", timeout=_SECONDS) as response:
        text: str = response.read().decode()
    return text


def ask_line(address: str) -> str:
    with (
        socket.create_connection((address, 7123), timeout=_SECONDS) as sock,
        sock.makefile("rw") as stream,
    ):
        stream.write("hello\n")
        stream.flush()
        return stream.readline()


def ask_datagrams(address: str) -> str:
    """Ask on two ports, by sockets that take an answer only from where they asked."""
    answers = []
    for port in (53, 40_000):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(_SECONDS)
            sock.connect((address, port))
            sock.send(b"hello")
            answers.append(sock.recv(100).decode())
    return "; ".join(answers)


@pytest.mark.parametrize(
    ("example", "ask", "expected"),
    [
        ("asyncio_server.py", ask_line, "{} port 7123: hello\n"),
        ("http_server.py", fetch, "{} port 80\n"),
        ("uvicorn_server.py", fetch, "{} port 80\n"),
        ("gunicorn_server.py", fetch, "{} port 80\n"),
        ("udp_server.py", ask_datagrams, "{0} port 53: hello; {0} port 40000: hello"),
    ],
)
def test_every_address_is_answered_as_itself(
    two_hosts: TwoHosts, tmp_path: Path, example: str, ask: Callable[[str], str], expected: str
) -> None:
    framework = example.partition("_")[0]
    if framework in ("uvicorn", "gunicorn") and find_spec(framework) is None:
        unmet(f"not installed: {framework}")
    with running(example, two_hosts.server, tmp_path):
        for address in ADDRESSES:
            answer = two_hosts.client.run(ask, address).replace("::ffff:", "")
            assert answer == expected.format(address)
        with pytest.raises(OSError, match="refused"):
            two_hosts.client.run(ask, "198.51.100.1")
