"""Levels and agreement of 3,000,000 votes on 1,000,000 images: revisions, withdrawals and decisions in any order."""

import argparse
import tempfile
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from curation.annotation.agreement import alpha_interval, confusion, kappa_interval
from curation.annotation.levels import decide_levels, levels_of, vote_counts
from curation.workspace import Workspace
from curation.workspace.files import write_table
from curation.workspace.schemas import DECISIONS, VOTES
from tests.benchmarks.report import Figure, peak_mb, show

ANNOTATORS, REVISED, UNDECIDED = 50, 0.02, 0.05
"""Number of annotators, share of votes that were revised, and share of images that needed a decision."""


def main() -> None:
    """Prints the table. The floor counts the same votes with one `numpy.bincount`, given numbers in place of keys."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    images = parser.parse_args().images
    random = np.random.default_rng(0)
    image, level = random.permutation(np.repeat(np.arange(images), 3)), random.integers(1, 6, 3 * images)
    votes, decisions = _votes(image, level, random), _decisions(images, random)
    floor = _cpu(lambda: np.bincount(image * 5 + level - 1, minlength=5 * images))
    needed = _cpu(lambda: levels_of(votes, decisions, 3))
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(folder)
        write_table(workspace.votes, votes)
        write_table(workspace.decisions, decisions)
        whole = _cpu(lambda: decide_levels(workspace, 3))
    counts = vote_counts(votes)
    agree = _cpu(lambda: [alpha_interval(counts), kappa_interval(counts)])
    differ = _cpu(lambda: confusion(votes))
    show(
        [
            Figure(f"levels of {votes.num_rows:,} votes on {images:,} images, CPU", needed, "s", floor, 2),
            Figure("the same from file to file, CPU", whole, "s", floor),
            Figure("intervals of alpha and kappa over the images, CPU", agree, "s", floor),
            Figure(f"who differs from whom among {ANNOTATORS} annotators, CPU", differ, "s", floor),
            Figure("all of this, peak memory, made votes included", peak_mb(), "MB"),
        ]
    )


def _cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _votes(image: np.ndarray, level: np.ndarray, random: np.random.Generator) -> pa.Table:
    count = len(image)
    revised = np.flatnonzero(random.random(count) < REVISED)
    rows = np.concatenate([np.arange(count), revised])
    withdrawn = np.zeros(len(rows), bool)
    withdrawn[count::10] = True
    keys = pa.array([f"web/{n // 10_000:05d}/{n:09d}" for n in range(int(image.max()) + 1)])
    annotators = pa.array([f"annotator-{n}" for n in range(ANNOTATORS)])
    columns = {
        "key": keys.take(pa.array(image[rows])),
        "annotator": annotators.take(pa.array(rows % ANNOTATORS)),
        "level": pa.array(level[rows], pa.int8(), mask=withdrawn),
        "round": pa.array(np.ones(len(rows)), pa.int16()),
        "revision": pa.array(1 + (np.arange(len(rows)) >= count), pa.int32()),
    }
    return pa.table([columns.get(f.name, pa.nulls(len(rows), f.type)) for f in VOTES], schema=VOTES)


def _decisions(images: int, random: np.random.Generator) -> pa.Table:
    decided = np.flatnonzero(random.random(images) < UNDECIDED).tolist()
    rows = [{"key": f"web/{n // 10_000:05d}/{n:09d}", "level": 3, "kind": "adjudication"} for n in decided]
    return pa.Table.from_pylist(rows, schema=DECISIONS)


if __name__ == "__main__":
    main()
