"""A UDP server for all ports of whole prefixes: ``udp_server.py 192.0.2.0/24``.

It answers each datagram with where it was sent to, from that address and port: a client takes an
answer from nowhere else. The prefixes are local to the machine already, as by
``ip route add local 192.0.2.0/24 dev lo``.
"""

from __future__ import annotations

import sys

from inet_lookup import UdpReplies, listen
from inet_lookup.errors import SocketError

if __name__ == "__main__":
    with (
        listen(sys.argv[1:] or "192.0.2.0/24", "any", protocol="udp") as listener,
        UdpReplies(listener) as replies,
    ):
        print(f"serving {listener}", flush=True)
        while True:
            question = replies.receive()
            address, port = question.destination
            answer = f"{address} port {port}: ".encode() + question.data
            try:
                replies.send(answer, to=question)
            except (SocketError, OSError) as error:  # for one client, such as one that is gone
                print(f"no answer to {question.source[0]}: {error}", file=sys.stderr)
