"""What a signal is: a pure function of an image that gives columns. No signal knows a threshold.

A new signal is one file in this folder that defines a subclass of `Signal` whose `name` is the file's name; another
way to compute the same columns, a backend, is one more such class in the file.
The pass around it (`curation/scoring/stage.py`) reads, decodes, batches, counts, rounds and stores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.errors import RowError, UserError
from curation.images import Picture
from curation.models.plugin import Plugin

Scores = dict[str, Any]
"""The values of one row, by column; a column left out is null."""

SignalError = RowError
"""What a plug-in raises, or gives in place of a row's scores, for a row that it cannot score."""


@dataclass(frozen=True, slots=True)
class Row:
    """One image as a signal sees it."""

    picture: Picture | None
    """None for a signal with `side = None`, which reads no pixels."""
    sample: Mapping[str, Any]
    """The samples columns named in the signal's `inputs`."""
    signals: Mapping[str, Any]
    """The columns of the signals named in `needs`."""


class Signal(Plugin):
    """Base of all signals. A subclass is one backend of one signal; it sets the class's variables and writes `score`.

    Attributes:
        name: the file's name, the recipe's key, and the folder of its sidecars.
        backend: the value of `backend` in the recipe; "" where there is but one. The first class of a file is what a
            recipe without `backend` means.
        columns: name and type of every column given.
        side: long side in pixels that the signal wants to see at least; None reads no pixels.
        cost: CPU milliseconds for a usual image; the cascade runs cheap signals first.
        needs: signals whose columns it reads.
        inputs: samples columns that it reads beside the pixels, such as `caption`.
        needed: the signals named in `needs`, once the cascade has put them together.
    """

    backend: str = ""
    columns: Mapping[str, pa.DataType] = {}
    side: int | None = None
    cost: float = 1.0
    needs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    needed: Mapping[str, "Signal"] = {}

    def score(self, rows: Sequence[Row]) -> list[Scores | RowError]:
        """Scores a micro-batch; one result for each row, in order. A row that fails costs only itself."""
        raise UserError("defines no score", f"signals.{self.name}")


class PerImage(Signal):
    """A signal that looks at one image at a time: subclasses write `score_one`."""

    def score(self, rows: Sequence[Row]) -> list[Scores | RowError]:
        """See Signal."""
        results: list[Scores | RowError] = []
        for row in rows:
            try:
                results.append(self.score_one(row))
            except RowError as error:
                results.append(error)
        return results

    def score_one(self, row: Row) -> Scores:
        """Scores one row. Raises RowError, such as the picture's ImageError."""
        raise UserError("defines no score_one", f"signals.{self.name}")


def sidecar_fields(signal: Signal) -> list[pa.Field]:
    """Columns of a signal's sidecar beside the key."""
    return [
        pa.field(f"{signal.name}_state", pa.string()),
        pa.field(f"{signal.name}_error", pa.string()),
        *(pa.field(n, t) for n, t in signal.columns.items()),
    ]
