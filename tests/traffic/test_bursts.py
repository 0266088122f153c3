"""Many at once: each of thousands of connections and datagrams arrives at the right server."""

from __future__ import annotations

import contextlib
import itertools
import json
import selectors
import socket
import time
from ipaddress import ip_address, ip_network

import pytest

from inet_lookup import Context, Counters, NetworkSet, SockArray, Verdict, attach, program
from support.networks import PREFIXES, TwoHosts, sysctl
from support.servers import Protocol, Start
from support.taking import Take

pytestmark = pytest.mark.kernel

REQUESTS = 2000
AT_ONCE = {"tcp": 500, "udp": 100}
"""How many are open at a time: what the accept queues and the receive buffers hold."""
SECONDS = 20

FIRST = NetworkSet("192.0.2.0/24", "2001:db8:1::/48")


Destination = tuple[str, int]


def destinations() -> list[Destination]:
    """Addresses all over the prefixes, and ports that hardly repeat."""
    found = []
    for number in range(REQUESTS):
        network = ip_network(PREFIXES[number % len(PREFIXES)])
        # A multiplier without common factors with a power of two: no address repeats early.
        offset = number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % network.num_addresses
        found.append((str(network[offset]), 1 + number * 31 % 65535))
    return found


@pytest.mark.parametrize(
    ("protocol", "syncookies", "lookups_each"),
    [
        pytest.param("tcp", 1, 1, id="tcp"),
        # As under a flood: no SYN is remembered, and the ACK that brings the cookie back is looked
        # up as one more new connection.
        pytest.param("tcp", 2, 2, id="tcp with a cookie for every SYN"),
        pytest.param("udp", 1, 1, id="udp"),
    ],
)
def test_each_of_2000_requests_arrives_at_the_right_server(
    two_hosts: TwoHosts,
    echo_server: Start,
    take: Take,
    protocol: Protocol,
    syncookies: int,
    lookups_each: int,
) -> None:
    servers, lookups = SockArray(max_entries=2), Counters(max_entries=2)
    for index, name in enumerate(("first", "second")):
        server = echo_server(two_hosts.server, protocol, "::", v6only=False, name=name)
        servers[index] = take(server)
    sysctl(two_hosts.server, "net.ipv4.tcp_syncookies", syncookies)

    @program
    def by_prefix(ctx: Context) -> Verdict:
        index = 0 if ctx.local_ip in FIRST else 1
        lookups.add(index)
        return servers.redirect(ctx, index)

    wanted = destinations()
    assert len(set(wanted)) == REQUESTS
    with attach(by_prefix, two_hosts.server):
        answers = two_hosts.client.run(ask_all, protocol, wanted)
        counted = list(lookups)
    assert answers == {
        (address, port): ("first" if ip_address(address) in FIRST else "second", [address, port])
        for address, port in wanted
    }
    assert counted == [REQUESTS // 2 * lookups_each] * 2


def ask_all(protocol: Protocol, wanted: list[Destination]) -> dict[Destination, object]:
    """Ask many at once; give the server's name and the destination that it saw, for each asked."""
    answers: dict[Destination, object] = {}
    remaining = iter(wanted)
    end = time.monotonic() + SECONDS
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        while len(answers) < len(wanted):
            room = AT_ONCE[protocol] - len(selector.get_map())
            for destination in itertools.islice(remaining, room):
                sock = stack.enter_context(connecting(protocol, destination))
                selector.register(sock, selectors.EVENT_WRITE, destination)
            assert time.monotonic() < end, f"{len(answers)} of {len(wanted)} answers came"
            for key, events in selector.select(1):
                sock, destination = key.fileobj, key.data
                try:
                    if events & selectors.EVENT_WRITE:
                        sock.send(b"hello\n")
                        selector.modify(sock, selectors.EVENT_READ, destination)
                        continue
                    answer = json.loads(sock.recv(1000))
                    answers[destination] = (answer["server"], answer["local"])
                except OSError as error:
                    answers[destination] = error
                selector.unregister(sock)
                sock.close()
    return answers


def connecting(protocol: Protocol, destination: Destination) -> socket.socket:
    family = socket.AF_INET6 if ":" in destination[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        sock.connect(destination)
    return sock
