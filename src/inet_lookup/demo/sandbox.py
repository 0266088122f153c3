"""Where the demo's servers run: process, mount and network namespaces that end with the demo.

NGINX and Apache fork workers, which a parent-death signal to their masters would leave running. So
the servers get a process namespace: when its first process ends, the kernel kills all others. That
first process waits on a pipe whose other end this process holds, and ends with it: also when this
one is killed by SIGKILL. The servers' files lie in a tmpfs that only their mount namespace has.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from inet_lookup.demo.interruptions import Interruptions
from inet_lookup.demo.servers import WebServer
from inet_lookup.errors import InetLookupError, NamespaceError
from inet_lookup.net.namespaces import Namespace
from inet_lookup.net.syscalls import unshare

DIRECTORY: Final = "/dev/shm"
"""Where the servers' own file system is mounted, in their mount namespace only.

The directory exists everywhere, no program lies in it, and these servers have no use for what it
hides from them. One made for it would be left behind if the demo were killed.
"""

_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWPID: Final = 0x20000000

_START_SECONDS: Final = 8.0


@contextlib.contextmanager
def running(
    servers: Sequence[WebServer], namespace: Namespace, interruptions: Interruptions
) -> Iterator[list[str]]:
    """Run servers in a network namespace until the end of the block.

    :return: what each calls itself in its ``Server`` header.
    :raises NamespaceError: the process may not make namespaces.
    :raises InetLookupError: a server does not start; the message has what it wrote.
    """
    with contextlib.ExitStack() as stack:
        with interruptions.deferred():
            process = namespace.run(_start)
            stack.callback(_end, process, interruptions)
        yield _have_started(process, servers)


def _start() -> subprocess.Popen[str]:
    """Start the first process of new process and mount namespaces.

    The calling thread ends with this: it has moved into the mount namespace too.
    """
    try:
        unshare(_CLONE_NEWNS | _CLONE_NEWPID)
    except OSError as error:
        raise NamespaceError(
            f"cannot make process and mount namespaces: {os.strerror(error.errno or 0)}",
            hint="this needs CAP_SYS_ADMIN: run as root; in a container, as a privileged one",
        ) from error
    script = Path(__file__).with_name("sandbox_process.py")
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            start_new_session=True,  # a Ctrl-C at the terminal is for the demo alone
        )
    except OSError as error:
        raise InetLookupError(f"cannot start {sys.executable}: {error.strerror}") from error


def _have_started(process: subprocess.Popen[str], servers: Sequence[WebServer]) -> list[str]:
    """Have the first process start servers, and wait until they answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    task = {
        "directory": DIRECTORY,
        "seconds": _START_SECONDS,
        "servers": [
            {
                "name": server.name,
                "port": server.port,
                "directory": server.directory,
                "files": server.files,
                "command": server.command,
            }
            for server in servers
        ],
    }
    with contextlib.suppress(BrokenPipeError):  # it ended already: there is no answer below
        process.stdin.write(json.dumps(task) + "\n")
        process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise InetLookupError(f"the servers' first process ended with status {process.wait()}")
    report = json.loads(answer)
    if "failed" in report:
        raise InetLookupError("\n    ".join([report["failed"], *report["output"].splitlines()]))
    return [server["software"] for server in report["servers"]]


def _end(process: subprocess.Popen[str], interruptions: Interruptions) -> None:
    """Kill the first process, and wait until the kernel has killed and reaped the others."""
    with interruptions.deferred():
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
