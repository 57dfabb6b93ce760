"""Says what votes are lacking for a model of levels."""

import numpy as np

from curation.annotation.level_model.targets import Voted
from curation.counts import counted

LEAST_DECIDED = 30
"""Number of decided images below which no model is made: a share of 50 % would be known to ±18 points at best."""


def lacking(voted: Voted, asked: int) -> str | None:
    """Returns one line that says what is lacking for a model; None if nothing is.

    Args:
        voted: the kept images with votes.
        asked: number of votes that each image needs.
    """
    missing = LEAST_DECIDED - int(voted.decided.sum())
    if missing > 0:
        begun = np.sort(np.maximum(asked - voted.counts.sum(axis=1)[~voted.ended], 1))[:missing]
        votes = int(begun.sum()) + asked * (missing - len(begun))
        have = counted(LEAST_DECIDED - missing, "decided images")
        return (
            f"no model yet: it learns from {LEAST_DECIDED} decided images that the selection keeps, and there are "
            f"{have}; at least {counted(votes, 'more votes')} are needed, and until then the queue is in random order"
        )
    levels = np.unique(voted.levels[voted.decided])
    if len(levels) == 1:
        return (
            f"no model yet: all {counted(int(voted.decided.sum()), 'decided images')} are of Level {levels[0]}; "
            "votes for another level are needed, and until then the queue is in random order"
        )
    return None
