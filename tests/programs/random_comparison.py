"""Compare random programs in the kernel with Python until the time is over.

A process of its own, since a fault in the compiler may end it::

    python tests/programs/random_comparison.py --seed 7 --seconds 600
"""

from __future__ import annotations

import argparse
import errno
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from random_programs import random_program

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from inet_lookup.errors import CompileError, VerifierError
from support.agreement import difference
from support.contexts import fitting_sockets, random_context
from support.loading import load_module


@dataclass
class Tally:
    """What became of the programs so far."""

    compared: int = 0
    refused: int = 0
    problems: list[str] = field(default_factory=list)


def compare(seed: str, directory: Path, sockets: list[Any], contexts: int, tally: Tally) -> None:
    """Make a program, run it in the kernel and then in Python, and note any difference."""
    path = directory / "program.py"
    path.write_text(random_program(seed))
    try:
        module = load_module(path)
        for index, sock in enumerate(sockets):
            module.servers[index] = sock
        rng = random.Random(seed)
        found = difference(module, [random_context(rng) for _ in range(contexts)])
    except CompileError as error:
        if not error.hint:
            tally.problems.append(f"seed {seed}: refused without a hint: {error}")
        tally.refused += 1
        return
    except VerifierError as error:
        # More paths than the verifier follows; anything else is a fault of the compiler.
        if error.errno == errno.E2BIG:
            tally.refused += 1
            return
        found = str(error)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    tally.compared += 1
    if found:
        tally.problems.append(f"seed {seed}: {found}\n{path.read_text()}")


def main() -> int:
    """Compare programs, and say what came out."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--first", type=int, default=0, help="number of the first program")
    parser.add_argument("--step", type=int, default=1, help="distance to the next one's number")
    parser.add_argument("--count", type=int, default=10**9)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--contexts", type=int, default=40)
    options = parser.parse_args()
    tally, end = Tally(), time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory(prefix="inet-lookup-") as directory, fitting_sockets() as made:
        for position in range(options.count):
            if time.monotonic() > end or len(tally.problems) >= 3:
                break
            seed = f"{options.seed}/{options.first + position * options.step}"
            # The last of these lines tells which program ended the process, if one does.
            print(f"program {seed}", flush=True)
            compare(seed, Path(directory), made, options.contexts, tally)
    for problem in tally.problems:
        print(problem)
    print(f"compared {tally.compared} refused {tally.refused}")
    return 1 if tally.problems else 0


if __name__ == "__main__":
    sys.exit(main())
