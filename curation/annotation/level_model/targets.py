"""Reads the votes and levels as arrays, from which the model of levels learns."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.annotation.votes import UNIQUE_BY
from curation.workspace import Workspace
from curation.workspace.files import read_table

LEVELS = 5
"""Number of levels."""
INCOMPLETE = "incomplete"
"""The status of an image that waits for further votes."""
Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Voted:
    """Images with votes, n of them, in the order of their keys.

    Attributes:
        keys: string (n,).
        counts: (n, 5), number of votes for each level; of several votes by one annotator in one round the last counts.
        levels: int64 (n,), the decided level, or 0 where none is.
        ended: (n,), whether the image has all its votes: it is decided, tied or under review.
    """

    keys: pa.Array
    counts: Numbers
    levels: NDArray[np.int64]
    ended: Mask

    def take(self, rows: NDArray[np.int64]) -> "Voted":
        """Returns some of the images, by their numbers."""
        keys = self.keys.take(pa.array(rows, pa.int64()))
        return Voted(keys, self.counts[rows], self.levels[rows], self.ended[rows])

    @property
    def decided(self) -> Mask:
        """Whether the level of each image is decided: (n,)."""
        return self.levels > 0

    @property
    def shares(self) -> Numbers:
        """Share of each image's votes that each level has: (n, 5), rows sum to 1."""
        return self.counts / self.counts.sum(axis=1, keepdims=True)

    @property
    def outcomes(self) -> Numbers:
        """The level that each image has or may get: (n, 5), 1 at the decided level, else the shares of the votes."""
        certain = np.eye(LEVELS + 1)[self.levels][:, 1:]
        return np.where(self.decided[:, None], certain, self.shares)


def read_voted(workspace: Workspace) -> Voted:
    """Reads all images with votes. Raises StageError if a file is damaged."""
    if not workspace.votes.exists():
        return Voted(pa.array([], pa.string()), np.zeros((0, LEVELS)), np.zeros(0, np.int64), np.zeros(0, np.bool_))
    votes = read_table(workspace.votes, [*UNIQUE_BY, "level"])
    latest = votes.group_by(list(UNIQUE_BY), use_threads=False).aggregate([("level", "last")])
    keys = pc.unique(latest["key"]).sort()
    numbers = pc.index_in(latest["key"], keys).to_numpy()
    counts = np.zeros((len(keys), LEVELS))
    np.add.at(counts, (numbers, latest["level_last"].to_numpy() - 1), 1)
    levels, ended = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.bool_)
    if workspace.levels.exists():
        table = read_table(workspace.levels, ["key", "level", "status"])
        places = pc.index_in(keys, table["key"].combine_chunks())
        levels = pc.fill_null(table["level"].take(places), 0).to_numpy().astype(np.int64)
        ended = pc.fill_null(pc.not_equal(table["status"].take(places), INCOMPLETE), False).to_numpy()
    return Voted(keys, counts, levels, ended)
