"""Defines the types of the arrays that the searches for duplicates have in common."""

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
"""Hashes, or halves of hashes: uint64 (n,)."""
Index = NDArray[np.int64]
"""Indices of rows: int64 (n,)."""
