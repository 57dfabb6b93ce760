"""The base class of signals. A signal is a pure function of an image that gives columns; it knows no threshold.

A new signal is one file in this folder that defines a subclass of `Signal` whose `name` is the file's name. A further
backend, which computes the same columns in another way, is one more such class in the file.

The scoring pass (`curation/scoring/stage.py`) reads, decodes, batches, counts, rounds and stores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.errors import RowError, UserError
from curation.images import Picture
from curation.models.plugin import Plugin

Scores = dict[str, Any]
"""The values of one row by column; a column that is left out is null."""

SignalError = RowError
"""What a plug-in raises, or gives in place of a row's scores, for a row that it cannot score."""


@dataclass(frozen=True, slots=True)
class Row:
    """One image as passed to a signal."""

    picture: Picture | None
    """The image; None for a signal with `side = None`, which reads no pixels."""
    sample: Mapping[str, Any]
    """The row's values in the samples columns named in the signal's `inputs`."""
    signals: Mapping[str, Any]
    """The row's values in the columns of the signals named in `needs`."""


class Signal(Plugin):
    """Base of all signals. A subclass is one backend of one signal; it sets the class variables and defines `score`.

    Attributes:
        name: the signal's name: that of its file, its key in the recipe, and the folder of its sidecars.
        backend: the value of `backend` in the recipe; "" if there is only one. The first class of a file is the
            default.
        columns: name and type of every column that the signal gives.
        side: smallest long side in pixels of the decoded image that the signal gets; None if it reads no pixels.
        cost: CPU milliseconds for a typical image; the cascade runs cheap signals first.
        needs: names of the signals whose columns it reads.
        inputs: samples columns that it reads besides the pixels, such as `caption`.
        needed: the signals named in `needs`, set when the cascade is built.
    """

    backend: str = ""
    columns: Mapping[str, pa.DataType] = {}
    side: int | None = None
    cost: float = 1.0
    needs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    needed: Mapping[str, "Signal"] = {}

    def score(self, rows: Sequence[Row]) -> list[Scores | RowError]:
        """Scores a micro-batch and returns one result for each row, in order; a row that fails gives a SignalError."""
        raise UserError("defines no score", f"signals.{self.name}")


class PerImage(Signal):
    """A signal that scores one image at a time: subclasses define `score_one`."""

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
    """Returns the fields of a signal's sidecar, except the key."""
    return [
        pa.field(f"{signal.name}_state", pa.string()),
        pa.field(f"{signal.name}_error", pa.string()),
        *(pa.field(n, t) for n, t in signal.columns.items()),
    ]
