"""The report's section on human votes."""

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curation.annotation.levels import read_levels, read_votes
from curation.annotation.majority import UNSAFE_LEVEL
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
    """Number of votes, revisions and withdrawals included, by annotator; the busiest first."""
    sheets: list[Sheet]
    """Pictures of each level but the unsafe one; images that wait for a safety review are not shown either."""


def voting(fates: Fates, gallery: Gallery) -> Voting | None:
    """Counts the votes as last decided; returns None if there are none."""
    workspace = fates.selection.workspace
    levels = read_levels(workspace)
    if not levels.num_rows:
        return None
    best_first = sorted(pc.unique(levels["level"].drop_null()).to_pylist(), reverse=True)
    by_level = {level: levels["key"].filter(pc.equal(levels["level"], level)).to_pylist() for level in best_first}
    statuses = Counter(levels["status"].to_pylist())
    names = Counter(read_votes(workspace, columns=["annotator"])["annotator"].to_pylist())
    return Voting(
        levels.num_rows,
        pc.sum(levels["votes"]).as_py(),
        [(f"Level {level}", len(by_level[level])) for level in best_first]
        + [(s.replace("_", " "), n) for s, n in sorted(statuses.items()) if s != "decided"],
        pc.mean(levels["agreement"].cast(pa.float64())).as_py(),
        sorted(names.items(), key=lambda entry: (-entry[1], entry[0]))[:20],
        [_sheet(fates, gallery, level, by_level[level]) for level in best_first if level != UNSAFE_LEVEL],
    )


def _sheet(fates: Fates, gallery: Gallery, level: int, keys: list[str]) -> Sheet:
    chosen = sorted(keys, key=lambda key: (key_hash(key, SALT), key))[:SHOWN]
    indices = [index for key in chosen if (index := fates.find(key)) is not None]
    return gallery.sheet(f"Level {level}", indices, len(keys))
