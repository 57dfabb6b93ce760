"""Runs many seeds, over as many processes as there are cores."""

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Sequence

from tests.queue_simulator.checking import Broken
from tests.queue_simulator.simulation import simulate
from tests.queue_simulator.storage import Storage

TOGETHER = 25
"""Number of seeds that a process is given at a time."""
_storage: list[Storage] = []


def run_seeds(seeds: Sequence[int], processes: int = os.cpu_count() or 1) -> tuple[Counter[str], list[str]]:
    """Runs seeds; returns the sum of their counts, and a line for each seed under which a promise was broken."""
    parts = [seeds[start : start + TOGETHER] for start in range(0, len(seeds), TOGETHER)]
    counts, broken = Counter[str](), []
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for own_counts, own_broken in pool.imap_unordered(run_here, parts):
            counts += own_counts
            broken += own_broken
    return counts, broken


def run_here(seeds: Sequence[int]) -> tuple[Counter[str], list[str]]:
    """Runs seeds in this process, and returns what `run_seeds` does."""
    if not _storage:
        _storage.append(Storage())
    counts, broken = Counter[str](), []
    for seed in seeds:
        try:
            counts += simulate(seed, _storage[0])
            counts["seeds"] += 1
        except Broken as error:
            broken.append(str(error))
    return counts, broken


def told(seed: int, tell: Callable[[str], object]) -> bool:
    """Runs one seed and tells all that happens; returns whether the queue kept its promises."""
    try:
        counts = simulate(seed, Storage(), tell)
    except Broken as error:
        tell(str(error))
        return False
    tell(summary(counts + Counter(seeds=1), []))
    return True


def summary(counts: Counter[str], broken: list[str]) -> str:
    """Returns the counts in a line, as Jepsen's checker of queues gives them."""
    names = ("attempted", "acknowledged", "refused", "lost", "unexpected", "duplicated", "recovered")
    return f"{counts['seeds']} seeds kept, {len(broken)} broken: " + ", ".join(f"{n} {counts[n]}" for n in names)
