"""The demo, step by step."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import Final

from inet_lookup.bpf.run_statistics import enable_stats
from inet_lookup.demo import listeners, network, sandbox
from inet_lookup.demo.interruptions import Interruptions
from inet_lookup.demo.listeners import Listener
from inet_lookup.demo.narration import Narration
from inet_lookup.demo.program_file import load_program
from inet_lookup.demo.report import PrefixAnswers, ProgramInKernel, Report, ServerSeen
from inet_lookup.demo.requests import send_to_prefix
from inet_lookup.demo.requirements import require_all
from inet_lookup.demo.servers import WebServer, web_servers
from inet_lookup.net.namespaces import Namespace
from inet_lookup.net.sockets import format_endpoint
from inet_lookup.programs import ProgramLink, attach

STEERED: Final = {
    "192.0.2.0/24": 0,
    "198.51.100.0/24": 1,
    "2001:db8:1::/48": 0,
    "2001:db8:2::/48": 1,
}
"""Each prefix with the slot of the server that the program gives its tcp/80 to."""

REQUESTS: Final = 64
"""How many addresses of each prefix are asked."""

_ROUND_SECONDS: Final = 10.0
"""For all requests of a round; they take a tenth of a second."""


def play(narration: Narration, interruptions: Interruptions) -> Report:
    """Set everything up, attach the program, send the requests, take everything down.

    However it ends, all is taken down when it does.

    :raises InetLookupError: something is missing, or a step fails.
    """
    require_all()
    program = load_program()
    program.function.compile()  # cached: a program that does not compile starts no server
    servers = web_servers(sandbox.DIRECTORY)
    prefixes = list(STEERED)
    narration.begin()

    # The way down is not to be cut short by a signal: what it misses goes with this process at the
    # latest, but maybe a moment after its end.
    stack = contextlib.ExitStack()
    try:
        hosts = stack.enter_context(network.two_hosts(prefixes))
        software = stack.enter_context(sandbox.running(servers, hosts.server, interruptions))
        taken = stack.enter_context(listeners.taken(servers, hosts.server))
        seen = [_seen(*each) for each in zip(servers, software, taken, strict=True)]
        narration.set_up(seen, prefixes)

        before = sum(_ask_all(hosts.client).values(), Counter())
        narration.refused(before)

        for slot, listener in enumerate(taken):
            program.servers[slot] = listener.socket
        link = stack.enter_context(attach(program.function, hosts.server))
        narration.attached(program)

        with enable_stats():
            outcomes = _ask_all(hosts.client)
        answers = [
            PrefixAnswers(prefix, servers[slot].software, outcomes[prefix])
            for prefix, slot in STEERED.items()
        ]
        narration.answered(answers)
        in_kernel = _in_kernel(link)
        narration.in_kernel(in_kernel)
    finally:
        with interruptions.deferred():
            stack.close()
    report = Report(seen, before, answers, str(program.path), program.function.name, in_kernel)
    narration.end(report)
    return report


def _ask_all(client: Namespace) -> dict[str, Counter[str]]:
    deadline = time.monotonic() + _ROUND_SECONDS
    return {prefix: send_to_prefix(client, prefix, REQUESTS, deadline) for prefix in STEERED}


def _seen(server: WebServer, software: str, listener: Listener) -> ServerSeen:
    info = listener.socket.info
    return ServerSeen(
        name=server.name,
        software=software,
        users=listener.users,
        endpoint=format_endpoint(info.address, info.port),
        pid=listener.socket.process.pid,
        missing=server.missing,
    )


def _in_kernel(link: ProgramLink) -> ProgramInKernel:
    info = link.program.info()
    return ProgramInKernel(
        id=info.id,
        instructions=info.xlated_insns,
        machine_code=info.jited_size,
        runs=info.run_cnt,
        mean_ns=info.mean_ns,
    )
