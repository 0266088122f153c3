"""The requests that the demo sends, and who answered them."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections import Counter
from typing import Final

from inet_lookup.net.namespaces import Namespace

PORT: Final = 80

REFUSED: Final = "refused"
NO_ANSWER: Final = "no answer"

_REQUEST_SECONDS: Final = 2.0


def spread(prefix: str, count: int) -> list[str]:
    """Addresses of a prefix, evenly spread from its second to its last but one."""
    network = ipaddress.ip_network(prefix)
    first, last = 1, network.num_addresses - 2
    return [str(network[first + (last - first) * i // (count - 1)]) for i in range(count)]


def send_to_prefix(client: Namespace, prefix: str, count: int, deadline: float) -> Counter[str]:
    """Send an HTTP request to each of ``count`` addresses of a prefix, one after the other.

    :param client: the namespace to send from.
    :param deadline: the time of :func:`time.monotonic` after which no answer is waited for.
    :return: how many were answered by whom: what the ``Server`` header says before a slash, or
        :data:`REFUSED`, or :data:`NO_ANSWER`.
    """
    family = socket.AF_INET6 if ":" in prefix else socket.AF_INET
    outcomes: Counter[str] = Counter()
    for address in spread(prefix, count):
        # A socket stays in the namespace it was made in: it is used from here, where an
        # interruption ends the wait for an answer at once.
        with client.run(socket.socket, family, socket.SOCK_STREAM) as sock:
            remaining = max(deadline - time.monotonic(), 0.001)
            sock.settimeout(min(_REQUEST_SECONDS, remaining))
            outcomes[_ask(sock, address)] += 1
    return outcomes


def _ask(sock: socket.socket, address: str) -> str:
    host = f"[{address}]" if ":" in address else address
    try:
        sock.connect((address, PORT))
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    except ConnectionRefusedError:
        return REFUSED
    except OSError:
        return NO_ANSWER
    status, *headers = answer.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
    if status.split()[1:2] != ["200"]:
        return status or NO_ANSWER
    for header in headers:
        name, _, value = header.partition(":")
        if name.lower() == "server":
            return value.strip().partition("/")[0]
    return "a server without a name"
