"""One line of the accuracy table: what was measured, on what, and what was to be reached."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Measure:
    """One line of the table."""

    what: str
    value: float
    of: str
    reach: float | None = None
    """What is asked for; None: printed, not gated."""
    percent: bool = True
    at_most: bool = False
    """Whether less is better."""
    wrong: list[str] = field(default_factory=list)
    """The pictures that speak against it."""

    @property
    def met(self) -> bool:
        """Whether what is asked for is reached."""
        return self.reach is None or (self.value <= self.reach if self.at_most else self.value >= self.reach)

    def line(self) -> str:
        """For the table."""
        reach = "" if self.reach is None else f"{'<=' if self.at_most else '>='} {self._said(self.reach)}"
        verdict = "" if self.reach is None else "yes" if self.met else "NO"
        return f"{self.what:<62} {self._said(self.value):>9}  {self.of:<24} {reach:>10}  {verdict}".rstrip()

    def _said(self, value: float) -> str:
        return f"{100 * value:.1f} %" if self.percent else f"{value:.3f}"


HEAD = f"{'':<62} {'measured':>9}  {'of':<24} {'reach':>10}  met"


def share(
    what: str,
    of: Iterable[Any],
    right: Callable[[Any], bool],
    reach: float | None = None,
    at_most: bool = False,
    unit: str = "pictures",
    say: Callable[[Any], str] = str,
) -> Iterator[Measure]:
    """The share of which something is so; no line if there are none.

    Args:
        what: for the table.
        of: pictures, or pairs of them.
        right: what is asked of each.
        reach: see Measure.
        at_most: see Measure; those of which it is so are then the wrong ones.
        unit: what they are.
        say: names one, for the list below the table.
    """
    names = list(of)
    if names:
        so = {name: right(name) for name in names}
        wrong = [say(name) for name in names if so[name] == at_most]
        count = sum(so.values())
        yield Measure(
            what, count / len(names), f"{count} of {len(names):,} {unit}", reach, at_most=at_most, wrong=wrong
        )
