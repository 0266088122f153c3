"""Programs that nobody thought of do in the kernel what they do in Python."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

COMPARISON = Path(__file__).with_name("random_comparison.py")
SECONDS = float(os.environ.get("INET_LOOKUP_SECONDS", "20"))
PROCESSES = 2


def test_random_programs_agree_and_end_no_process() -> None:
    seed = os.environ.get("INET_LOOKUP_SEED", str(random.randrange(2**32)))
    command = [sys.executable, str(COMPARISON), "--seed", seed, "--seconds", str(SECONDS)]
    shards = [
        subprocess.Popen(
            [*command, "--first", str(first), "--step", str(PROCESSES)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for first in range(PROCESSES)
    ]
    compared = refused = 0
    outputs = [shard.communicate() for shard in shards]
    for shard, (said, complained) in zip(shards, outputs, strict=True):
        last = said.splitlines()[-1] if said else ""
        tally = re.fullmatch(r"compared (\d+) refused (\d+)", last)
        assert tally, (
            f"the process ended with status {shard.returncode} in {last!r}: {complained}\n"
            f"see it with: python {COMPARISON.name} --count 1 --seed SEED --first NUMBER"
        )
        assert shard.returncode == 0, re.sub(r"(?m)^program .*\n", "", said)
        compared += int(tally[1])
        refused += int(tally[2])
    assert compared >= SECONDS, f"only {compared} programs were compared with seed {seed}"
    assert compared >= 0.4 * (compared + refused), (
        f"{refused} of {compared + refused} programs were refused with seed {seed}"
    )
