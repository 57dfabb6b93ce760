"""Similar embeddings: the exact star beside the bare product of all pairs, and by cells with what that misses.

Embeddings of 768 numbers, mean cosine 0.3, an effective dimension of about 100; one in ten is a copy of another, in any
place, at a cosine of 0.94 to 1, and differs along the axes along which all differ, which is harder than noise.

Where faiss is installed, the range_search of its IndexFlatIP and IndexIVFFlat stands beside ours. What was found stands
in `curation.cosine` and `curation.cells`.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from math import isqrt

import numpy as np

from curation.scoring.vectors import Vectors
from curation.selection.dedup import inverted_lists
from curation.selection.dedup.cosine import Cosine, between
from tests.benchmarks.report import Figure, peak_mb, show

WIDTH = 768
THRESHOLD = 0.95
POWER = 0.39
"""Of the axes' standard deviations, which makes the effective dimension 100: (sum of variances)² / sum of squares."""
CHUNK = 20_000
PROBED = {"exact": 0, "cells": 64}
"""Lists of IndexIVFFlat that are looked into: as many pairs of cells as ours of a row have."""
ASKED = {"exact": 2_000, "cells": 5_000}
"""Rows, taken evenly, that faiss looks for, of which the time of all is worked out."""


def make(rows: int) -> Vectors:
    """float16 (rows, 768), of length 1."""
    rng = np.random.default_rng(0)
    axes = np.arange(1, WIDTH + 1, dtype=np.float32) ** -POWER
    axes[-1] = 0
    places = rng.permutation(rows)
    vectors = np.empty((rows, WIDTH), np.float16)
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        made = _unit(rng.standard_normal((count, WIDTH), dtype=np.float32) * axes)
        made *= np.sqrt(0.7, dtype=np.float32)
        made[:, -1] = np.sqrt(0.3)
        copies = count // 10
        source = made[rng.integers(0, count - copies, copies)]
        away = rng.standard_normal((copies, WIDTH), dtype=np.float32) * axes
        away = _unit(away - (away * source).sum(1, keepdims=True) * source)
        cosine = rng.uniform(0.94, 1, (copies, 1)).astype(np.float32)
        made[count - copies :] = cosine * source + np.sqrt(1 - cosine**2) * away
        vectors[places[start : start + count]] = made
    return vectors


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def product_of_all_pairs(rows: int) -> float:
    """CPU seconds of nothing but the float32 product of each row with each before it, from a part of it."""
    import torch

    left, right = torch.randn(512, WIDTH), torch.randn(2048, WIDTH)
    room, times = torch.empty(512, 2048), []
    for _ in range(15):
        began = time.process_time()
        torch.mm(left, right.T, out=room)
        times.append(time.process_time() - began)
    return float(np.median(times)) / room.numel() * rows**2 / 2


def measure(kind: str, rows: int) -> dict[str, float]:
    """One case, in this process, on one thread."""
    import torch

    torch.set_num_threads(1)
    vectors, at = make(rows), np.arange(rows)
    before = time.process_time()
    with Cosine(THRESHOLD, vectors, at) as by:
        points = by.points(vectors)
        if kind == "exact":
            result = by.group(points, at)
            found = {"cpu": time.process_time() - before, "floor": product_of_all_pairs(rows)}
        else:
            result = inverted_lists.group(by, points, at, inverted_lists.InvertedLists(by, points, at))
            found = {"cpu": time.process_time() - before}
            inverted_lists.CHECKED = 20_000
            _, copies, missed = inverted_lists.missed(by, points, at, result)
            found |= {"recall": copies / max(1, copies + missed)}
    return found | {
        "copies": int((result >= 0).sum()),
        "peak": peak_mb(),
        "axes": 0 if by.rotation is None else by.rotation.shape[1],
    }


def measure_faiss(kind: str, rows: int) -> dict[str, float]:
    """The same by faiss, on one thread: each of some rows against all; what it finds is decided as ours is.

    Of a pair either row would do, as ours looks only among the better ones: half of the time counts.
    """
    import faiss
    import torch

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    vectors, at = make(rows), np.arange(rows)
    index, before = faiss.IndexFlatIP(WIDTH), time.process_time()
    if PROBED[kind]:
        centres = np.linspace(0, rows - 1, 4 * isqrt(rows)).astype(np.int64)  # those of our cells
        index.add(vectors[centres].astype(np.float32))
        index = faiss.IndexIVFFlat(index, WIDTH, len(centres), faiss.METRIC_INNER_PRODUCT)
        index.is_trained, index.nprobe = True, PROBED[kind]
    for start in range(0, rows, CHUNK):
        index.add(vectors[start : start + CHUNK].astype(np.float32))
    adding = time.process_time() - before
    some = np.linspace(0, rows - 1, ASKED[kind]).astype(np.int64)
    before = time.process_time()
    ends, _, there = index.range_search(vectors[some].astype(np.float32), THRESHOLD - 1e-3)
    asking = time.process_time() - before
    own = np.repeat(some, np.diff(ends.astype(np.int64)))
    better = there < own
    own, there = own[better], there[better]
    alike = between(vectors, own, there) >= THRESHOLD
    result = np.full(rows, -1, np.int64)
    result[own[alike]] = there[alike]
    peak = peak_mb()
    with Cosine(THRESHOLD, vectors, at) as by:
        inverted_lists.CHECKED = ASKED[kind]
        _, copies, missed = inverted_lists.missed(by, by.points(vectors), at, result)
    cpu = adding + asking * rows / len(some) / 2
    return {"cpu": cpu, "recall": copies / max(1, copies + missed), "peak": peak}


def main() -> None:
    """Prints the table, each case from a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exact", type=int, nargs="*", default=[100_000, 300_000], metavar="ROWS")
    parser.add_argument("--cells", type=int, nargs="*", default=[300_000, 1_000_000], metavar="ROWS")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(json.dumps(CASES[given.case[0]](given.case[1], int(given.case[2]))))
        return
    last = None
    for rows in given.exact:
        last = rows, _in_fresh_process("ours", "exact", rows)
        found = last[1]
        what = f"similar, exact, {rows:,} x {WIDTH}"
        show([
            Figure(f"{what}, bound of {found['axes']} axes, {found['copies']:,} copies", found["cpu"], "CPU s", found["floor"], found["floor"]),
            Figure(f"{what}, peak memory (vectors {rows * WIDTH * 2 >> 20:,} MB)", found["peak"], "MB"),
        ])  # fmt: skip
        _show_faiss("exact", rows, found)
    for rows in given.cells:
        found, what = _in_fresh_process("ours", "cells", rows), f"similar, by cells, {rows:,} x {WIDTH}"
        exact = last[1]["cpu"] * (rows / last[0]) ** 2 if last else None  # as it grows with the square of the rows
        show([
            Figure(f"{what} (floor: exact, by {last[0]:,})" if last else what, found["cpu"], "CPU s", exact),
            Figure(f"{what}, peak memory (vectors {rows * WIDTH * 2 >> 20:,} MB)", found["peak"], "MB"),
            Figure(f"{what}, copies found, of 20,000 rows", found["recall"], "share", reach=0.99, more_is_better=True),
        ])  # fmt: skip
        _show_faiss("cells", rows, found)


def _show_faiss(kind: str, rows: int, ours: dict[str, float]) -> None:
    if not importlib.util.find_spec("faiss"):
        return
    found, what = _in_fresh_process("faiss", kind, rows), f"the same by faiss, of {ASKED[kind]:,} rows"
    show([
        Figure(f"{what} (floor: ours)", found["cpu"], "CPU s", ours["cpu"]),
        Figure(f"{what}, peak memory (floor: ours)", found["peak"], "MB", ours["peak"]),
        Figure(f"{what}, copies found", found["recall"], "share"),
    ])  # fmt: skip


CASES = {"ours": measure, "faiss": measure_faiss}


def _in_fresh_process(by: str, kind: str, rows: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.cosine", "--case", by, kind, str(rows)]
    found: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


if __name__ == "__main__":
    main()
