"""Keeps pyarrow from importing pandas, which takes longer than all other imports of a command together."""

import sys
from functools import cache

import pyarrow as pa


@cache
def without_pandas() -> None:
    """Makes pyarrow decide now that pandas is not installed; everything else in this process may still import it.

    When pyarrow first converts a list to an array, it imports pandas to see whether the list is a pandas column. Only
    entry points may call this function: in a user's own program, pyarrow must go on converting to and from pandas.
    """
    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([None])  # pyarrow looks once and remembers what it found
    finally:
        sys.meta_path.remove(_NoPandas)


class _NoPandas:
    """A module finder that refuses pandas and leaves every other module to the next finder."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)
