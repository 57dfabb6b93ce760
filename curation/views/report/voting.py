"""What people voted."""

from collections import Counter
from dataclasses import dataclass

import pyarrow.parquet as pq

from curation.annotation.votes import read_levels
from curation.keys import key_hash
from curation.views.report.fates import SALT, Fates
from curation.views.report.pictures import Gallery, Sheet

SHOWN = 8
"""Pictures of each level."""


@dataclass
class Voting:
    """The levels and how much the annotators agree."""

    images: int
    votes: int
    outcomes: list[tuple[str, int]]
    """Levels from the best, then what is not decided."""
    agreement: float | None
    """Mean over images of the share of pairs of votes that name one level; None where no image has two votes."""
    annotators: list[tuple[str, int]]
    """Votes of each, revisions among them, the busiest first."""
    sheets: list[Sheet]
    """Pictures of each level. What waits for a safety review is not shown."""


def voting(fates: Fates, gallery: Gallery) -> Voting | None:
    """The votes as they were last decided; None if there are none."""
    workspace = fates.selection.workspace
    levels = read_levels(workspace)
    if not levels:
        return None
    by_level: dict[int, list[str]] = {}
    for key, row in levels.items():
        if row["status"] == "decided":
            by_level.setdefault(row["level"], []).append(key)
    statuses = Counter(row["status"] for row in levels.values())
    agreements = [row["agreement"] for row in levels.values() if row["agreement"] is not None]
    names = Counter(pq.read_table(workspace.votes, columns=["annotator"])["annotator"].to_pylist())
    best_first = sorted(by_level, reverse=True)
    return Voting(
        len(levels),
        sum(row["votes"] for row in levels.values()),
        [(f"Level {level}", len(by_level[level])) for level in best_first]
        + [(s.replace("_", " "), n) for s, n in sorted(statuses.items()) if s != "decided"],
        sum(agreements) / len(agreements) if agreements else None,
        sorted(names.items(), key=lambda entry: (-entry[1], entry[0]))[:20],
        [_sheet(fates, gallery, level, by_level[level]) for level in best_first],
    )


def _sheet(fates: Fates, gallery: Gallery, level: int, keys: list[str]) -> Sheet:
    chosen = sorted(keys, key=lambda key: (key_hash(key, SALT), key))[:SHOWN]
    indices = [index for key in chosen if (index := fates.find(key)) is not None]
    return gallery.sheet(f"Level {level}", indices, len(keys))
