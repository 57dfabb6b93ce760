"""The report's section on balancing: the size of each group before and after it."""

from dataclasses import dataclass

import numpy as np

from curation.scoring.cascade import NO_GROUP
from curation.selection.balance.quotas import Counts, described
from curation.views.report.fates import Fates
from curation.views.report.pictures import Gallery, ShownPicture
from curation.views.report.wording import display_text

LARGEST = 30
"""Number of groups shown, the largest first."""
PICTURED = 12
"""Number of groups shown with pictures."""
PICTURES = 6
"""Number of pictures shown of one group."""


@dataclass
class BalancedGroup:
    """One group of images, and how many of them balancing keeps."""

    name: str
    before: int
    after: int
    pictures: list[ShownPicture]
    """Some of the images that stay."""


@dataclass
class BalanceSection:
    """The effect of balancing on the selection."""

    rules: str
    groups: list[BalancedGroup]
    """The groups shown, the largest before balancing first."""
    total: int
    """Number of all groups."""
    further: tuple[int, int]
    """Numbers of images before and after balancing in the groups that are not shown."""
    spread: list[tuple[str, int, int, int]]
    """Sizes of the smallest, the median and the largest group, for "before" and for "after"."""
    waiting: int
    """Number of images whose group is not known yet; nothing is balanced until it is 0."""


def balance_of(fates: Fates, gallery: Gallery) -> BalanceSection | None:
    """Counts the groups before and after balancing; returns None if the recipe does not balance."""
    rules = fates.selection.recipe.select.balance
    if rules is None:
        return None
    balance = fates.selection.balance
    before, after = balance.before, balance.after
    order = np.argsort(-before, kind="stable")
    indices = fates.starts[balance.files.astype(np.int64)] + balance.rows.astype(np.int64)
    groups: list[BalancedGroup] = []
    for number in order[:LARGEST].tolist():
        chosen: list[int] = []
        if len(groups) < PICTURED:
            stay = np.zeros(fates.rows, bool)
            stay[indices[(balance.groups == number) & ~balance.away]] = True
            chosen = fates.sample(stay, PICTURES)
        pictures = [gallery.picture(index) for index in chosen]
        name = _shown(balance.names[number], rules.clusters is not None)
        groups.append(BalancedGroup(name, int(before[number]), int(after[number]), pictures))
    rest = order[LARGEST:]
    return BalanceSection(
        described(rules),
        groups,
        len(balance.names),
        (int(before[rest].sum()), int(after[rest].sum())),
        [(name, *_spread(counts)) for name, counts in (("before", before), ("after", after))] if len(before) else [],
        balance.waiting,
    )


def _shown(name: str, of_clusters: bool) -> str:
    """Returns a group's name as shown in a chart."""
    if name == NO_GROUP:
        return "(none)"
    return f"cluster {name}" if of_clusters else display_text(name, 40)


def _spread(counts: Counts) -> tuple[int, int, int]:
    return int(counts.min()), int(np.sort(counts)[len(counts) // 2]), int(counts.max())
