"""The commands for rules, run at the server of two hosts."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inet_lookup.cli import main
from support.command import Ended, inet_lookup, path_of
from support.networks import TwoHosts
from support.servers import EchoServer


@dataclass(frozen=True)
class Edge:
    """The server of two hosts, as the command sees it: its namespace and a bpffs of its own."""

    hosts: TwoHosts
    bpffs: Path

    @property
    def place(self) -> tuple[str, ...]:
        """The global options that name it."""
        return "--netns", path_of(self.hosts.server), "--bpffs", str(self.bpffs)

    def __call__(self, *arguments: object) -> Ended:
        """Run the command in this process, which is several times as fast as in one of its own."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([*self.place, *map(str, arguments)])
        return Ended(status, out.getvalue(), err.getvalue())

    def process(self, *arguments: object, **options: Any) -> Ended:
        """Run the command as a process of its own; see :func:`support.command.inet_lookup`."""
        return inet_lookup(*self.place, *arguments, **options)

    def bind(self, *rules: str) -> None:
        """Bind rules as they are printed: ``nginx tcp 192.0.2.0/24 80``, and options behind it."""
        for rule in rules:
            self("bind", *rule.split()).done()

    def register(self, service: str, *servers: EchoServer) -> None:
        """Register the sockets of servers, which are of one protocol."""
        pids = [word for server in servers for word in ("--pid", server.pid)]
        self("register", service, *pids, servers[0].protocol).done()

    def status(self) -> Any:
        """What ``status --json`` says."""
        return self("status", "--json").done().json

    def service(self, name: str) -> Any:
        """What ``status --json`` says about a service."""
        (found,) = (each for each in self.status()["services"] if each["name"] == name)
        return found
