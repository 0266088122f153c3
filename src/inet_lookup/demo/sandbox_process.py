"""The first process of the sandbox, run as a script: it starts the servers and outlives nobody.

It has a process namespace, in which it is process 1, and a mount namespace of its own. When it
ends, the kernel kills all others in the process namespace, the servers' workers included, and with
the last of them goes the mount namespace with all files made in it.

It is told what to do by one line of JSON on stdin, answers with one on stdout, and then waits for
the end of stdin, which the kernel brings about when the demo ends, by whatever it ends.

Only the standard library is used, so that it starts quickly.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import socket
import subprocess
import sys
import time
from typing import Any

_MS_REC = 0x4000
_MS_PRIVATE = 0x40000

_SYS_MOUNT_SETATTR = 442  # on every architecture but alpha
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 0x1

_PROBE_SECONDS = 1.0
_OUTPUT_SHOWN = 2000

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Start what stdin says, report on stdout, and wait for the end."""
    task = json.loads(sys.stdin.readline())
    try:
        protect_the_machine(task["directory"])
        report: dict[str, Any] = {"servers": start(task["servers"], task["seconds"])}
    except OSError as error:
        report = {"failed": f"cannot set up the servers: {error}", "output": ""}
    except ServerFailed as failure:
        report = {"failed": failure.problem, "output": failure.output}
    with contextlib.suppress(BrokenPipeError):  # nobody listens any more: the end has come
        os.write(sys.stdout.fileno(), json.dumps(report).encode() + b"\n")
    sys.stdin.read()


def protect_the_machine(directory: str) -> None:
    """Make all files read-only for the servers, but for an empty file system on a directory."""
    mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    # struct mount_attr: attr_set, attr_clr, propagation, userns_fd. Since Linux 5.12; an older
    # kernel goes without: the servers' configurations name no file outside the directory.
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        b"/",
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    mount("tmpfs", directory, "tmpfs", 0, "mode=0755,size=16m")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """:manpage:`mount(2)`."""
    kind_bytes = kind.encode() if kind else None
    if _libc.mount(
        source.encode(), target.encode(), kind_bytes, ctypes.c_ulong(flags), data.encode()
    ):
        number = ctypes.get_errno()
        raise OSError(number, f"mount {target}: {os.strerror(number)}")


class ServerFailed(Exception):
    """A server does not answer.

    :param problem: which one, and why not.
    :param output: what it wrote to its stdout and stderr.
    """

    def __init__(self, problem: str, output: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.output = output


def start(servers: list[dict[str, Any]], seconds: float) -> list[dict[str, str]]:
    """Start servers and wait until each answers over IPv4 and IPv6."""
    processes = [launch(server) for server in servers]
    deadline = time.monotonic() + seconds
    started = []
    for server, process in zip(servers, processes, strict=True):
        software = wait_until_ready(server, process, deadline)
        if software is None:
            raise ServerFailed(
                f"{server['name']} did not answer on port {server['port']} within {seconds:.0f} s",
                output_of(server),
            )
        started.append({"software": software})
    return started


def launch(server: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Write a server's files and start it."""
    directory = server["directory"]
    os.mkdir(directory)
    for name, text in server["files"].items():
        path = os.path.join(directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    with open(output_path_of(server), "wb") as output:
        try:
            return subprocess.Popen(
                server["command"],
                cwd=directory,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        except OSError as error:
            raise ServerFailed(
                f"{server['name']} cannot be started: {server['command'][0]}: {error.strerror}", ""
            ) from error


def wait_until_ready(
    server: dict[str, Any], process: subprocess.Popen[bytes], deadline: float
) -> str | None:
    """Wait until a server answers; return what it calls itself, or None where it does not."""
    software = ""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        while True:
            status = process.poll()
            if status is not None:
                raise ServerFailed(
                    f"{server['name']} ended with status {status} before it answered",
                    output_of(server),
                )
            with contextlib.suppress(OSError):
                software = software_at(family, address, server["port"])
                break
            if time.monotonic() > deadline:
                return None
            # Nothing more is sent here: what there is to read is the end.
            if select.select([sys.stdin], [], [], 0.01)[0]:
                sys.exit()
    return software


def software_at(family: socket.AddressFamily, address: str, port: int) -> str:
    """Ask an HTTP server for its page; return its ``Server`` header."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(_PROBE_SECONDS)
        sock.connect((address, port))
        sock.sendall(b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    for line in answer.decode("latin-1").splitlines():
        name, _, value = line.partition(":")
        if name.lower() == "server":
            return value.strip()
    raise ConnectionError("no HTTP answer")


def output_path_of(server: dict[str, Any]) -> str:
    """Where a server's stdout and stderr go."""
    return os.path.join(server["directory"], "output")


def output_of(server: dict[str, Any]) -> str:
    """The end of what a server wrote."""
    with open(output_path_of(server), "rb") as file:
        return file.read().decode(errors="replace")[-_OUTPUT_SHOWN:]


if __name__ == "__main__":
    main()
