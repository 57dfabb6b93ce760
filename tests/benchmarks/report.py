"""Figures of one measurement, printed the same way everywhere."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    value: float
    unit: str
    floor: float | None = None
    """The physical floor in the same unit, measured in the same run."""
    reach: float | None = None
    """What is asked for; less is better unless `more_is_better`."""
    more_is_better: bool = False

    def line(self) -> str:
        """For the table."""
        floor = f"{self.floor:,.3g}" if self.floor is not None else ""
        ratio = f"{self.value / self.floor:.2f}x" if self.floor else ""
        sign = ">=" if self.more_is_better else "<="
        reach = f"{sign} {self.reach:g}" if self.reach is not None else ""
        met = self.reach is None or (self.value >= self.reach if self.more_is_better else self.value <= self.reach)
        verdict = "" if met else "NOT MET"
        return f"{self.what:58} {self.value:>10,.4g} {self.unit:14} {floor:>10} {ratio:>7} {reach:>10} {verdict}"


HEAD = f"{'':58} {'measured':>10} {'':14} {'floor':>10} {'':>7} {'reach':>10}"


def show(figures: list[Figure]) -> None:
    """Prints the lines as they come."""
    for figure in figures:
        print(figure.line(), flush=True)


def cpu_ms(work: Callable[[], object], rows: int) -> float:
    """CPU milliseconds a row, of this process."""
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000 / rows


def peak_mb() -> float:
    """Peak resident memory of this process. Not `ru_maxrss`, which a new process inherits from its parent."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def in_fresh_process(module: str, *arguments: str) -> None:
    """Runs a benchmark module in a process of its own, so that its peak memory is its own."""
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)
