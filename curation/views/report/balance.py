"""The balance: how many images of each group there were before it, and how many after."""

from dataclasses import dataclass

import numpy as np

from curation.scoring.cascade import NO_GROUP
from curation.selection.balance.quotas import Counts, described
from curation.views.report.fates import Fates
from curation.views.report.pictures import Gallery, Picture
from curation.views.report.wording import said

LARGEST = 30
"""Groups that are shown, the largest first."""
PICTURED = 12
"""Groups of which pictures are shown."""
PICTURES = 6
"""Pictures of one group."""


@dataclass
class Group:
    """One group of images."""

    name: str
    before: int
    after: int
    pictures: list[Picture]
    """Some that stay."""


@dataclass
class Balance:
    """What the balance does."""

    rules: str
    groups: list[Group]
    """The largest before."""
    total: int
    """Groups that there are."""
    further: tuple[int, int]
    """Images before and after in the groups that are not shown."""
    spread: list[tuple[str, int, int, int]]
    """Images of the smallest, the middle and the largest group: before, and after."""
    waiting: int
    """Images whose group is not known yet; while there are such, nothing is balanced."""


def balance_of(fates: Fates, gallery: Gallery) -> Balance | None:
    """The groups, before and after; None if the recipe asks for no balance."""
    rules = fates.selection.recipe.select.balance
    if rules is None:
        return None
    found = fates.selection.balance
    before, after = found.before, found.after
    order = np.argsort(-before, kind="stable")
    indices = fates.starts[found.files.astype(np.int64)] + found.rows.astype(np.int64)
    groups: list[Group] = []
    for number in order[:LARGEST].tolist():
        chosen: list[int] = []
        if len(groups) < PICTURED:
            stay = np.zeros(fates.rows, bool)
            stay[indices[(found.groups == number) & ~found.away]] = True
            chosen = fates.sample(stay, PICTURES)
        pictures = [gallery.picture(index) for index in chosen]
        name = _shown(found.names[number], rules.clusters is not None)
        groups.append(Group(name, int(before[number]), int(after[number]), pictures))
    rest = order[LARGEST:]
    return Balance(
        described(rules),
        groups,
        len(found.names),
        (int(before[rest].sum()), int(after[rest].sum())),
        [(name, *_spread(counts)) for name, counts in (("before", before), ("after", after))] if len(before) else [],
        found.waiting,
    )


def _shown(name: str, of_clusters: bool) -> str:
    """A group's name as it may be shown in a chart."""
    if name == NO_GROUP:
        return "(none)"
    return f"cluster {name}" if of_clusters else said(name, 40)


def _spread(counts: Counts) -> tuple[int, int, int]:
    return int(counts.min()), int(np.sort(counts)[len(counts) // 2]), int(counts.max())
