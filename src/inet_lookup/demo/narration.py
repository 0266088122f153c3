"""The text that a person reads while the demo runs, for somebody who sees the project first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from inet_lookup.demo.network import CLIENT_ADDRESSES, SERVER_ADDRESSES
from inet_lookup.demo.program_file import DemoProgram
from inet_lookup.demo.report import PrefixAnswers, ProgramInKernel, Report, ServerSeen
from inet_lookup.demo.requests import PORT, REFUSED

_TERM: Final = 14


class Narration:
    """Tells each step when it is done.

    :param write: takes one line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def begin(self) -> None:
        """Say what this is."""
        self._write(f"Two web servers share port {PORT}, steered by a program written in Python.")

    def set_up(self, servers: Sequence[ServerSeen], prefixes: Sequence[str]) -> None:
        """Say what runs where."""
        self._section("Set up, in network namespaces that end with the demo")
        self._item("client", " and ".join(CLIENT_ADDRESSES))
        self._item("server", " and ".join(SERVER_ADDRESSES) + ", and all addresses of")
        self._item("", ", ".join(prefixes))
        for slot, server in enumerate(servers):
            users = " and ".join(server.users) or "root"
            self._item(
                f"web server {slot}", f"{server.software}, as {users}, bound to {server.endpoint}"
            )
            if server.missing:
                self._item(
                    "", f"{server.missing} is not in PATH: a small server in Python stands in"
                )

    def refused(self, outcomes: Counter[str]) -> None:
        """Say what came of the requests while no program was attached."""
        self._section("Before the program is attached")
        total = outcomes.total()
        if outcomes[REFUSED] == total:
            self._write(
                f"  All {total} requests to port {PORT} are refused: no server is bound to it."
            )
        else:
            self._write(f"  Of {total} requests to port {PORT}: {_counts(outcomes)}.")

    def attached(self, program: DemoProgram) -> None:
        """Say what was attached."""
        name, lines = program.function.name, program.lines
        self._section(f"The program: {name}() in {program.shown_path}, {lines} lines")
        for line in (program.function.__doc__ or "").strip().splitlines():
            self._write(f"  {line.strip()}")
        self._write("  Compiled to BPF and attached, its sockets taken from the running servers.")

    def answered(self, answers: Sequence[PrefixAnswers]) -> None:
        """Say who answered the requests."""
        self._section("With the program, asked by the client")
        width = max(len(each.prefix) for each in answers)
        self._write(f"  {'prefix':{width}}  port    requests  answered by")
        for each in answers:
            wrong = "" if each.right else f"  wrong: {each.expected} should have"
            port = f"tcp/{PORT}"
            self._write(
                f"  {each.prefix:{width}}  {port:6}  {each.outcomes.total():8}"
                f"  {_counts(each.outcomes)}{wrong}"
            )

    def in_kernel(self, program: ProgramInKernel) -> None:
        """Say what the kernel knows of the program."""
        self._section("The program in the kernel")
        self._item("id", str(program.id))
        code = f", {program.machine_code} bytes of machine code" if program.machine_code else ""
        self._item("instructions", f"{program.instructions}{code}")
        self._item("runs", str(program.runs))
        if program.mean_ns is not None:
            self._item("mean", f"{program.mean_ns:.0f} ns a run")

    def end(self, report: Report) -> None:
        """Say how it went, when all is taken down again, and what to try next."""
        total = sum(each.outcomes.total() for each in report.answers)
        right = sum(each.outcomes[each.expected] for each in report.answers)
        self._write("")
        if not report.refused_before:
            self._write("Without the program not all requests were refused.")
        self._write(
            f"{right} of {total} requests reached the right server. Nothing is left behind."
        )
        if report.ok:
            self._section("Next")
            self._item("see what this machine can do", "inet-lookup check", width=33)
            self._item("steer to servers of your own", "inet-lookup prog attach --help", width=33)

    def _section(self, title: str) -> None:
        self._write("")
        self._write(title)

    def _item(self, term: str, text: str, *, width: int = _TERM) -> None:
        self._write(f"  {term:{width}}{text}")


def _counts(outcomes: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in outcomes.most_common())
