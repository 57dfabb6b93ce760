"""Runs seeds of the queue's simulator over all cores, or tells the story of one.

python -m tests.queue_simulator --seeds 20000 [--first 0]
python -m tests.queue_simulator --seed 4711
"""

import argparse
import sys
import time

from tests.queue_simulator.runs import run_seeds, summary, told


def main() -> None:
    """Prints what happened, and ends with 1 if a promise of the queue was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.queue_simulator", description=__doc__)
    parser.add_argument("--seed", type=int, help="tell all that happens under this seed")
    parser.add_argument("--seeds", type=int, default=1000, help="number of seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    given = parser.parse_args()
    if given.seed is not None:
        sys.exit(not told(given.seed, print))
    began = time.monotonic()
    counts, broken = run_seeds(range(given.first, given.first + given.seeds))
    for line in broken[:20]:
        print(line)
    print(f"{summary(counts, broken)} in {time.monotonic() - began:.0f} s")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
