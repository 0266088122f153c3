"""What the demo found, as values and as one JSON object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from inet_lookup.demo.requests import PORT, REFUSED


class ServerSeen(NamedTuple):
    """A running server.

    :ivar name: what people call it.
    :ivar software: what it calls itself, with its version.
    :ivar users: the users that its processes run as, root left out.
    :ivar endpoint: the address and port that it is bound to.
    :ivar pid: the process that its listening socket was taken from.
    :ivar missing: the command that was not found, where this is a stand-in.
    """

    name: str
    software: str
    users: list[str]
    endpoint: str
    pid: int
    missing: str | None


class PrefixAnswers(NamedTuple):
    """Who answered the requests to one prefix.

    :ivar expected: the server that the program gives the prefix to, as its answers call it.
    :ivar outcomes: the number of requests by the server that answered, or by what came instead.
    """

    prefix: str
    expected: str
    outcomes: Counter[str]

    @property
    def right(self) -> bool:
        """Whether the right server answered all of them, and there were some."""
        return self.outcomes.total() == self.outcomes[self.expected] > 0


class ProgramInKernel(NamedTuple):
    """The program as the kernel has it.

    :ivar id: its id.
    :ivar instructions: BPF instructions, as the verifier left them.
    :ivar machine_code: bytes of machine code; 0 where the kernel interprets the program.
    :ivar runs: how often it ran for the requests.
    :ivar mean_ns: the mean time of these runs in nanoseconds.
    """

    id: int
    instructions: int
    machine_code: int
    runs: int
    mean_ns: float | None


class Report(NamedTuple):
    """All of it.

    :ivar before: what came of the same requests before the program was attached.
    :ivar answers: what came of them afterwards.
    :ivar file: the program's file.
    :ivar function: the program's name.
    """

    servers: Sequence[ServerSeen]
    before: Counter[str]
    answers: Sequence[PrefixAnswers]
    file: str
    function: str
    program: ProgramInKernel

    @property
    def ok(self) -> bool:
        """Whether nothing answered before, and then the right server answered every request."""
        return self.refused_before and all(answers.right for answers in self.answers)

    @property
    def refused_before(self) -> bool:
        """Whether nothing answered before the program was attached."""
        return self.before.total() == self.before[REFUSED]

    def to_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints.

        ``servers`` are by slot of the sock array. ``before`` and each prefix's ``answers`` count
        requests by the server that answered, or by ``refused``, ``no answer`` or an HTTP status.
        """
        return {
            "ok": self.ok,
            "servers": [
                {
                    "slot": slot,
                    "name": server.name,
                    "software": server.software,
                    "users": server.users,
                    "endpoint": server.endpoint,
                    "pid": server.pid,
                    "stand_in": server.missing is not None,
                }
                for slot, server in enumerate(self.servers)
            ],
            "before": dict(self.before),
            "prefixes": [
                {
                    "prefix": each.prefix,
                    "protocol": "tcp",
                    "port": PORT,
                    "expected": each.expected,
                    "requests": each.outcomes.total(),
                    "answers": dict(each.outcomes),
                    "ok": each.right,
                }
                for each in self.answers
            ],
            "program": {
                "name": self.function,
                "file": self.file,
                "id": self.program.id,
                "instructions": self.program.instructions,
                "machine_code_bytes": self.program.machine_code,
                "runs": self.program.runs,
                "mean_ns": self.program.mean_ns,
            },
        }
