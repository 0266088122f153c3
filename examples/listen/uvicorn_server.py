"""An ASGI application on uvicorn for whole prefixes: ``uvicorn_server.py 192.0.2.0/24``.

The prefixes are local to the machine already, as by ``ip route add local 192.0.2.0/24 dev lo``.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from inet_lookup import listen

Message = MutableMapping[str, Any]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer with where the client connected to."""
    address, port = scope["server"]
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": f"{address} port {port}\n".encode()})


if __name__ == "__main__":
    with listen(sys.argv[1:] or "192.0.2.0/24", 80) as listener:
        print(f"serving {listener}", flush=True)
        uvicorn.Server(uvicorn.Config(app, lifespan="off")).run(sockets=[listener])
