"""The report's section on human votes."""

from collections import Counter
from dataclasses import dataclass

import pyarrow.parquet as pq

from curation.annotation.votes import read_levels
from curation.keys import key_hash
from curation.views.report.fates import SALT, Fates
from curation.views.report.pictures import Gallery, Sheet

SHOWN = 8
"""Number of pictures shown for each level."""


@dataclass
class Voting:
    """The levels, and how far the annotators agree."""

    images: int
    votes: int
    outcomes: list[tuple[str, int]]
    """Number of images by level, best first, then by the states that are not decided."""
    agreement: float | None
    """Mean over images of the share of pairs of votes that agree (0 to 1); None if no image has two votes."""
    annotators: list[tuple[str, int]]
    """Number of votes, revisions included, by annotator; the busiest first."""
    sheets: list[Sheet]
    """Pictures of each level; images that wait for a safety review are not shown."""


def voting(fates: Fates, gallery: Gallery) -> Voting | None:
    """Counts the votes as last decided; returns None if there are none."""
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
