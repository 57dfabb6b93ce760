"""What the simulator of the annotation queue finds in many seeds, and how fast it is; tests/queue_simulator explains it."""

import argparse
import time

from tests.benchmarks.report import Figure, show
from tests.queue_simulator.runs import run_seeds, summary


def main() -> None:
    """Runs the seeds on all cores, prints the counts as Jepsen does, and every seed under which a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    seeds = range(parser.parse_args().seeds)
    began = time.monotonic()
    counts, broken = run_seeds(seeds)
    seconds = time.monotonic() - began
    print(f"# {summary(counts, broken)}", *broken, sep="\n")
    show(
        [
            Figure("queue simulator: seeds that broke a promise", len(broken), "seeds", reach=0),
            Figure("queue simulator: votes lost, doubled or never given", _wrong(counts), "votes", reach=0),
            Figure("queue simulator: seeds", len(seeds) / seconds, "seeds/s", reach=1000 / 60, more_is_better=True),
        ]
    )


def _wrong(counts: dict[str, int]) -> int:
    return sum(counts[name] for name in ("lost", "duplicated", "unexpected"))


if __name__ == "__main__":
    main()
