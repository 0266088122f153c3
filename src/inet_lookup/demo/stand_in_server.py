"""A small HTTP server, run as a script: it stands in for a web server that is not installed.

``stand_in_server.py NAME PORT UID GID``: it binds as root and serves as the user, as web servers
do, and calls itself NAME in its answers.
"""

from __future__ import annotations

import http.server
import os
import socket
import sys


def main() -> None:
    """Serve until the end."""
    name, port, uid, gid = sys.argv[1], *map(int, sys.argv[2:])
    Handler.name = name
    with Server(("::", port), Handler) as server:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        server.serve_forever()


class Server(http.server.ThreadingHTTPServer):
    """It listens for IPv4 and IPv6 on one socket."""

    address_family = socket.AF_INET6
    request_queue_size = 128

    def server_bind(self) -> None:
        """Bind to all addresses of both families."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's: it asks DNS for the name of the machine.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)


class Handler(http.server.BaseHTTPRequestHandler):
    """It answers every GET with the name of the server."""

    name = ""

    def do_GET(self) -> None:
        """Answer."""
        body = f"{self.name}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """What the header ``Server`` says."""
        return self.name

    def log_message(self, format: str, *args: object) -> None:
        """Keep no log."""


if __name__ == "__main__":
    main()
