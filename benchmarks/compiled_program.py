"""What a program compiled from Python costs, against the same program in C built by clang -O2.

Both are loaded in this process and run by the kernel's test run, in turns, on the same contexts.
Usage: python benchmarks/compiled_program.py [--rounds N] [--json]
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "examples"))

from two_http_servers import servers, two_http_servers  # noqa: E402

from inet_lookup import IPPROTO_UDP, Context, load  # noqa: E402
from inet_lookup.bpf import Program  # noqa: E402
from inet_lookup.bpf.objects import ObjectFile  # noqa: E402

REPEAT = 200_000

CONTEXTS = {
    "192.0.2.7 tcp/80, redirected": Context(local=("192.0.2.7", 80)),
    "198.51.100.7 tcp/80, redirected": Context(local=("198.51.100.7", 80)),
    "2001:db8:1::7 tcp/80, redirected": Context(local=("2001:db8:1::7", 80)),
    "2001:db8:2::7 tcp/80, redirected": Context(local=("2001:db8:2::7", 80)),
    "203.0.113.7 tcp/80, passed": Context(local=("203.0.113.7", 80)),
    "2001:db8:3::7 tcp/80, passed": Context(local=("2001:db8:3::7", 80)),
    "192.0.2.7 tcp/22, passed": Context(local=("192.0.2.7", 22)),
    "192.0.2.7 udp/80, passed": Context(local=("192.0.2.7", 80), protocol=IPPROTO_UDP),
}


def build_c(directory: str) -> bytes:
    clang = next((found for name in ("clang-19", "clang") if (found := shutil.which(name))), None)
    if clang is None:
        sys.exit("error: clang is not installed\nhint: apt-get install clang-19 libbpf-dev")
    target = Path(directory, "two_http_servers.o")
    include = f"/usr/include/{sys.implementation._multiarch}"
    flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", f"-I{include}"]
    source = HERE / "two_http_servers.c"
    subprocess.run([clang, *flags, "-c", source, "-o", target], check=True)
    return target.read_bytes()


def run(program: Program, ctx: Context) -> int:
    return program.test_run(ctx.pack(), repeat=REPEAT).duration_ns


def measure(rounds: int) -> dict[str, dict[str, float]]:
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        python = stack.enter_context(load(two_http_servers))
        for index in range(2):
            listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
            servers[index] = stack.enter_context(listener)
        shared = {name: table.kernel_map for name, table in python.maps.items()}
        kernel_maps = {name: table for name, table in shared.items() if table is not None}
        file = ObjectFile.parse(build_c(directory), name="two_http_servers.o")
        c = stack.enter_context(file.load(maps=kernel_maps)).programs["two_http_servers"]
        results = {}
        for title, ctx in CONTEXTS.items():
            pairs = []
            for number in range(rounds + 1):
                order = (python.program, c) if number % 2 else (c, python.program)
                times = {program.id: run(program, ctx) for program in order}
                pairs.append((times[python.program.id], times[c.id]))
            del pairs[0]  # the first run warms the caches
            results[title] = {
                "python_ns": statistics.median(pair[0] for pair in pairs),
                "c_ns": statistics.median(pair[1] for pair in pairs),
                "ratio": statistics.median(pair[0] / pair[1] for pair in pairs),
            }
        results["instructions"] = {
            "python_ns": python.info().xlated_insns,
            "c_ns": c.info().xlated_insns,
            "ratio": python.info().xlated_insns / c.info().xlated_insns,
        }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = measure(arguments.rounds)
    if arguments.json:
        print(json.dumps(results, indent=2))
        return
    print("| packet | Python, ns | C, ns | ratio |\n|---|---|---|---|")
    for title, row in results.items():
        print(f"| {title} | {row['python_ns']:.0f} | {row['c_ns']:.0f} | {row['ratio']:.2f} |")


if __name__ == "__main__":
    main()
