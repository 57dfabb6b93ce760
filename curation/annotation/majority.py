"""The rule by which votes decide an image's level: a majority does, a tie stays one, and Level 1 is reviewed.

It needs NumPy alone, since the annotation server applies it at every image that has all its votes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

LOWEST, HIGHEST = 1, 5
"""The ends of every scale that people judge by: levels of images, and scores of captions and of generated images."""
UNSAFE_LEVEL = 1
"""The level of an image that must not be used."""
STATUSES = ("decided", "tie", "safety_review", "incomplete")
"""Values of the column `status` of LEVELS."""
DECIDED, TIE, REVIEW, INCOMPLETE = range(len(STATUSES))
UNDECIDED_LEVEL = 0
"""Stands for the level of an image that has none."""


def outcomes(counts: NDArray[Any], asked: int) -> tuple[Integers, Integers]:
    """Decides by votes alone.

    Any vote for Level 1 calls for a safety review, whatever the other votes are. Fewer votes than `asked` are
    incomplete. A level that more than half of the votes name becomes the image's; without one, there is a tie.

    Args:
        counts: integers (images, 5), the number of votes for each level of each image.
        asked: number of votes that each image needs.

    Returns:
        the level of each image (0 if it is not decided), and its status as an index into `STATUSES`, both int64
        (images,).
    """
    total, most = counts.sum(axis=1), counts.max(axis=1, initial=0)
    ways = [counts[:, UNSAFE_LEVEL - 1] > 0, total < max(asked, 1), 2 * most > total]
    status = np.select(ways, [REVIEW, INCOMPLETE, DECIDED], TIE)
    return np.where(status == DECIDED, counts.argmax(axis=1) + 1, UNDECIDED_LEVEL), status
