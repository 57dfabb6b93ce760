"""What a signal is: a pure function of an image that gives columns. No signal knows a threshold.

A new signal is one file in this folder that defines one subclass of `Signal` whose `name` is the file's name.
The pass around it (`curation/score.py`) reads, decodes, batches, counts, rounds and stores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from curation.errors import UserError
from curation.images import Picture

Scores = dict[str, Any]
"""The values of one row, by column; a column left out is null."""


class SignalError(Exception):
    """One row could not be scored. `reason` is one word for counting."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class SignalParams(BaseModel):
    """A signal's parameters in the recipe. All of them are part of the fingerprint."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    backend: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One image as a signal sees it."""

    picture: Picture | None
    """None for a signal with `side = None`, which reads no pixels."""
    sample: Mapping[str, Any]
    """The samples columns named in the signal's `inputs`."""
    signals: Mapping[str, Any]
    """The columns of the signals named in `needs`."""


class Signal:
    """Base of all signals. Subclasses set the class variables and write `score`.

    Attributes:
        name: the file's name, the recipe's key, and the folder of its sidecars.
        version: an integer, raised when the output changes for the same input and parameters.
        columns: name and type of every column given.
        side: long side in pixels that the signal wants to see at least; None reads no pixels.
        cost: CPU milliseconds for a usual image; the cascade runs cheap signals first.
        needs: signals whose columns it reads.
        inputs: samples columns that it reads beside the pixels, such as `caption`.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    columns: ClassVar[dict[str, pa.DataType]]
    side: ClassVar[int | None] = None
    cost: ClassVar[float] = 1.0
    needs: ClassVar[tuple[str, ...]] = ()
    inputs: ClassVar[tuple[str, ...]] = ()
    Params: ClassVar[type[SignalParams]] = SignalParams

    def __init__(self, params: SignalParams) -> None:
        self.params = params

    @classmethod
    def models(cls, params: SignalParams) -> dict[str, str]:
        """sha256 of each model file that the parameters name, by file name; part of the fingerprint.

        Raises:
            UserError: a file is missing; said before any work starts.
        """
        return {}

    def score(self, rows: Sequence[Row]) -> list[Scores | SignalError]:
        """Scores a micro-batch; one result for each row, in order. A row that fails costs only itself."""
        raise UserError(f"signals.{self.name}: defines no score")


class PerImage(Signal):
    """A signal that looks at one image at a time: subclasses write `score_one`."""

    def score(self, rows: Sequence[Row]) -> list[Scores | SignalError]:
        """See Signal."""
        results: list[Scores | SignalError] = []
        for row in rows:
            try:
                results.append(self.score_one(row))
            except SignalError as error:
                results.append(error)
        return results

    def score_one(self, row: Row) -> Scores:
        """Scores one row. Raises SignalError, or ImageError from the picture (which the pass turns into one)."""
        raise UserError(f"signals.{self.name}: defines no score_one")
