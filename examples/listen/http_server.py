"""A web server of the standard library for whole prefixes: ``http_server.py 192.0.2.0/24``.

The prefixes are local to the machine already, as by ``ip route add local 192.0.2.0/24 dev lo``.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from inet_lookup import Listener, listen


class Handler(BaseHTTPRequestHandler):
    """Answers with where the client connected to."""

    def do_GET(self) -> None:
        """Answer one request."""
        address, port = self.connection.getsockname()[:2]
        body = f"{address} port {port}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class PrefixServer(ThreadingHTTPServer):
    """An HTTP server on a socket that listens already."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener.getsockname()[:2], Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener


if __name__ == "__main__":
    with PrefixServer(listen(sys.argv[1:] or "192.0.2.0/24", 80)) as server:
        print(f"serving {server.socket}", flush=True)
        server.serve_forever()
