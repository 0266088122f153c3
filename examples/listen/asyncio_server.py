"""An asyncio server for whole prefixes: ``asyncio_server.py 192.0.2.0/24 2001:db8:1::/64``.

It answers each line with where the client connected to. The prefixes are local to the machine
already, as by ``ip route add local 192.0.2.0/24 dev lo``.
"""

from __future__ import annotations

import asyncio
import sys

from inet_lookup import Listener, listen


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the lines of one connection."""
    address, port = writer.get_extra_info("sockname")[:2]
    async for line in reader:
        writer.write(f"{address} port {port}: ".encode() + line)
        await writer.drain()
    writer.close()


async def serve(listener: Listener) -> None:
    """Serve until the process is interrupted."""
    server = await asyncio.start_server(answer, sock=listener)
    print(f"serving {listener}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with listen(sys.argv[1:] or "192.0.2.0/24", "7000-7999") as listener:
        asyncio.run(serve(listener))
