"""Servers as distributions ship them, and clients for them."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from inet_lookup.net.namespaces import Namespace

_START_SECONDS = 20


@contextlib.contextmanager
def running(
    namespace: Namespace, command: list[str], ready: Callable[[], bool]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in the foreground until the end of the block."""
    with namespace.popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not namespace.run(ready):
                if process.poll() is not None or time.monotonic() > deadline:
                    process.kill()
                    output, _ = process.communicate()
                    raise RuntimeError(f"{command[0]} did not start: {output.decode()}")
                time.sleep(0.02)
            yield process
        finally:
            # The workers end with their master.
            process.terminate()
            try:
                process.wait(_START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def listens(address: str, port: int) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            return False
        return True

    return ready


def nginx(directory: Path, port: int, name: str, listen: str = "") -> list[str]:
    """The command of an NGINX with two workers that says its name, and where it was asked.

    :param directory: where its files are; everyone has to be able to look into it.
    :param listen: more words for its ``listen``.
    """
    configuration = directory / f"nginx-{port}.conf"
    configuration.write_text(
        f"""
        worker_processes 2; daemon off; pid {directory}/nginx-{port}.pid;
        error_log {directory}/nginx-{port}.log;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
            fastcgi_temp_path {directory}/fcgi; uwsgi_temp_path {directory}/uwsgi;
            scgi_temp_path {directory}/scgi;
            server {{
                listen {port} {listen}; listen [::]:{port} {listen};
                location / {{ return 200 "{name} $server_addr $server_port"; }}
            }}
        }}
        """
    )
    return ["nginx", "-c", str(configuration), "-e", str(directory / "start.log")]


def fetch(namespace: Namespace, address: str, port: int = 80) -> str:
    """The body of a page."""

    def get() -> str:
        connection = http.client.HTTPConnection(address, port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    return namespace.run(get)
