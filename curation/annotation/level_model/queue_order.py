"""Orders the queue of images to vote on by what the model predicts."""

from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Order = Literal["level5", "uncertain", "random"]
TIERS = 10
"""Number of tiers. Within a tier the order is random."""
CHANCES = ("p1", "p2", "p3", "p4", "p5")
"""The columns of the predictions that hold the probability of each level."""


def tiers(predictions: pa.Table, order: Order) -> NDArray[np.int8]:
    """Returns the tier of each image: int8 (n,), 0 to 9, of which 0 is voted on first.

    Args:
        predictions: n rows with the columns p1 to p5.
        order: `level5` puts the tenth of the images that are most likely of Level 5 first; `uncertain` the tenth whose
            level is the least certain, by the entropy of its probabilities; `random` makes one tier of all.
    """
    if order == "random":
        return np.zeros(predictions.num_rows, np.int8)
    chances = np.stack([predictions[name].to_numpy().astype(np.float64) for name in CHANCES], axis=1)
    value = chances[:, -1] if order == "level5" else _entropy(chances)
    greater = len(value) - np.searchsorted(np.sort(value), value, "right")
    return (TIERS * greater // max(len(value), 1)).astype(np.int8)


def _entropy(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the entropy of each row in nats: (n,)."""
    return -(chances * np.log(np.where(chances > 0, chances, 1))).sum(axis=1)
