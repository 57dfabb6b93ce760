"""How long `curate --help` takes, beside an interpreter that does nothing."""

import resource
import statistics
import subprocess
import sys
import time

from tests.benchmarks.report import Figure, show

RUNS = 9


def main() -> None:
    """Prints the table."""
    wall, cpu = _median([sys.executable, "-c", "from curation.cli import main; main()", "--help"])
    floor_wall, floor_cpu = _median([sys.executable, "-c", "pass"])
    show(
        [
            Figure("curate --help, wall", wall, "s", floor_wall, 0.4),
            Figure("curate --help, CPU", cpu, "s", floor_cpu),
        ]
    )


def _median(command: list[str]) -> tuple[float, float]:
    """Median wall and CPU seconds of a process."""
    walls, cpus = [], []
    for _ in range(RUNS):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        walls.append(time.monotonic() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(walls), statistics.median(cpus)


if __name__ == "__main__":
    main()
