"""The queue under an injected clock, chance and storage: no vote is lost or doubled, whatever goes wrong.

`python -m tests.queue_simulator --seeds 20000` runs more, and `--seed N` tells what happens under one.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.queue_simulator.faulty import FAULTS
from tests.queue_simulator.runs import run_here, run_seeds, summary, told
from tests.soak import SEED, SOAK, rounds

ROOT = Path(__file__).parents[3]
ENOUGH = 400
"""Number of seeds within which every fault must be found; the slowest needed 75 when this was written."""


@pytest.mark.slow
@pytest.mark.soak
def test_no_vote_is_lost_or_doubled_under_any_seed() -> None:
    first = SEED * 100_000 if SOAK else 0
    seeds = range(first, first + rounds(1000, 20_000))
    counts, broken = run_seeds(seeds) if SOAK else run_here(seeds)
    assert not broken, "\n".join(broken[:5])
    print(summary(counts, broken))
    assert counts["seeds"] == len(seeds) and counts["attempted"] > 15 * len(seeds)
    assert counts["lost"] == counts["unexpected"] == counts["duplicated"] == 0
    assert counts["acknowledged"] > 0.8 * counts["attempted"]
    assert counts["recovered"] > 0 and counts["refused"] > 0  # else nothing went wrong on the way


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_queue_that_is_broken_on_purpose_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*FAULTS[fault]())
    assert any(run_here([seed])[1] for seed in range(ENOUGH)), f"not found within {ENOUGH} seeds: {fault}"


def test_a_seed_repeats_its_run_to_the_letter() -> None:
    first, second = [], []
    assert told(7, first.append) and told(7, second.append)
    assert _without_leases(first) == _without_leases(second) and len(first) > 50


def test_a_seed_is_told_on_the_command_line() -> None:
    command = [sys.executable, "-m", "tests.queue_simulator", "--seed", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("1 seeds kept, 0 broken: attempted ")


def _without_leases(lines: list[str]) -> list[str]:
    """Returns what happened; a lease is drawn by the system's own chance, since nobody may guess it."""
    return [line.split("lease=")[0] for line in lines if "→ ['" not in line]
