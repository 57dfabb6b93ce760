"""Time and memory of near-duplicate search, each case in a fresh process, beside its floor.

python -m tests.benchmarks.dedup [--rows 1000000 10000000] [--threads 2]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

import duckdb
import numpy as np
import pyarrow as pa

from curation.selection.dedup import search

KINDS = ("uniform", "skewed", "alike")
COLUMNS = ("n", "case", "r", "wall s", "CPU s", "peak MB", "pairs", "duplicates", "target")


def flipped(rng, hashes, most):
    """Each hash with up to `most` of its bits changed."""
    out = hashes.copy()
    for _ in range(most):
        out ^= np.uint64(1) << rng.integers(0, 64, len(out), dtype=np.uint64)
    return out


def make(kind, n):
    """n hashes in any order.

    uniform: noise, and one in twenty a near copy of another. skewed: three in ten in 1,000 clusters
    with 3 bits around a centre, the others with 16 bits constant. alike: one in ten share 40 bits.
    """
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, n, dtype=np.uint64)
    if kind == "uniform":
        hashes[-n // 20 :] = flipped(rng, hashes[: -(-n // 20)], 3)
    elif kind == "skewed":
        centres = rng.integers(0, 2**64, 1000, dtype=np.uint64)
        cut = 3 * n // 10
        hashes[:cut] = flipped(rng, centres[rng.integers(0, 1000, cut)], 3)
        hashes[cut:] &= np.uint64(0xFFFF_FFFF_FFF0_000F)
    elif kind == "alike":
        hashes[: n // 10] &= np.uint64(0xFF_FFFF)
    rng.shuffle(hashes)
    return hashes


def one_join(hashes, radius, threads):
    """What one of the 15 joins of `any 2 of 6 bands` costs in DuckDB; the number of pairs."""
    table = pa.table({"h": hashes, "i": np.arange(len(hashes), dtype=np.uint32)})
    connection = duckdb.connect(config={"threads": threads, "memory_limit": "1GB"})
    connection.register("hashes", table)
    joined = connection.execute(
        "SELECT count(*) FROM hashes a JOIN hashes b ON a.h >> 42 = b.h >> 42 AND a.i < b.i"
        f" AND bit_count(xor(a.h, b.h)) <= {radius}"
    )
    return joined.fetchall()[0][0]


def measure(case, n, radius, threads):
    """Runs one case in this process."""
    hashes = make(case if case in KINDS else "uniform", n)
    valid = np.ones(n, np.bool_)
    pairs: int | None = 0
    walk = search._walk

    def counted(found, count):
        nonlocal pairs
        pairs += len(found)
        return walk(found, count)

    search._walk = counted
    wall, cpu, result = time.perf_counter(), time.process_time(), None
    if case == "floor: read once":
        pairs = None
        np.bitwise_xor.reduce(hashes)
    elif case == "floor: 1 DuckDB join":
        pairs = one_join(hashes, radius, threads)
    elif case.startswith("listed"):
        pairs = None
        listed = hashes[: int(case.split()[1])] ^ np.uint64(5)
        result = search.near_listed(hashes, valid, listed, radius, threads=threads)
    elif case == "exact":
        pairs = None
        result = search.exact(hashes, hashes)
    else:
        result = search.near(hashes, valid, radius, threads=threads)
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "pairs": pairs,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "duplicates": None if result is None else int((result >= 0).sum()),
    }


def cases(n):
    """(case, radius, target) for a number of rows."""
    goal = "<= 3 s" if n <= 1_000_000 else "<= 60 s, 2 GB" if n <= 10_000_000 else ""
    yield "floor: read once", 4, ""
    yield "floor: 1 DuckDB join", 4, ""
    yield from ((kind, 4, goal) for kind in KINDS)
    yield from (("listed 1000", 4, ""), (f"listed {n // 10}", 4, ""), ("exact", 0, ""))
    if n <= 1_000_000:
        yield "uniform", 6, ""


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        case, n, radius = options.case
        print(json.dumps(measure(case, int(n), int(radius), options.threads)))
        return
    print(f"{os.cpu_count()} cores, {options.threads} threads, load {os.getloadavg()[0]:.1f}")
    line = "{:>10}  {:<20} {:>2} {:>7} {:>7} {:>8} {:>10} {:>10}  {}".format
    print(line(*COLUMNS))
    for n in options.rows:
        for case, radius, goal in cases(n):
            command = [
                sys.executable,
                "-m",
                "tests.benchmarks.dedup",
                "--case",
                case,
                str(n),
                str(radius),
                "--threads",
                str(options.threads),
            ]
            got = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            pairs, duplicates = ("-" if got[k] is None else got[k] for k in ("pairs", "duplicates"))
            print(
                line(n, case, radius, f"{got['wall']:.2f}", f"{got['cpu']:.2f}", got["peak"], pairs, duplicates, goal),
                flush=True,
            )


if __name__ == "__main__":
    main()
