"""Starting Arrow without what the product does not use of it."""

import sys
from functools import cache

import pyarrow as pa


@cache
def without_pandas() -> None:
    """Has pyarrow decide now that pandas is not installed; everything else in this process may still import it.

    At the first list that it makes an array of, pyarrow imports pandas to see whether the list is one of its columns.
    That takes longer than all other imports of a command together. To be called by the entry points alone: in a
    program of its user's own, pyarrow must go on converting to and from pandas.
    """
    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([None])  # pyarrow looks once and remembers what it found
    finally:
        sys.meta_path.remove(_NoPandas)


class _NoPandas:
    """A finder of modules that knows of pandas only that it cannot be imported."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)
