"""Defines the base class of signals, and finds a signal by its name.

A signal is a pure function of an image that gives columns; it knows no threshold.

A new signal is one file in this folder that defines a subclass of `Signal` whose `name` is the file's name. A further
backend, which computes the same columns in another way, is one more such class in the file.

The scoring pass (`curation/scoring/stage.py`) reads, decodes, batches, counts, rounds and stores.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from curation import extensions
from curation.errors import RowError, UserError, nearest
from curation.images import DECODING_VERSION, Picture
from curation.models.checkpoints import Models
from curation.models.plugin import Plugin
from curation.recipe.load import wrong_value

PACKAGE = "curation.signals"
GROUP = "curate.signals"
"""Group of the entry points of packages that bring signals."""

Scores = dict[str, Any]
"""The values of one row by column; a column that is left out is null."""


@dataclass(frozen=True, slots=True)
class Row:
    """One image as passed to a signal."""

    picture: Picture | None
    """The image; None for a signal with `side = None`, which reads neither pixels nor the file."""
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
        side: smallest long side in pixels of the decoded image that the signal gets; 0 if it reads the file's bytes
            (`row.picture.data`) but no pixels, so that nothing is decoded for it; None if it reads neither.
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

    @property
    def full_identity(self) -> dict[str, Any]:
        """See Plugin; of a signal that reads pixels, also the version of how they are decoded."""
        decodes = bool(type(self).side)  # of the class: an instance may need its model to know its side
        return super().full_identity | ({"decoding": DECODING_VERSION} if decodes else {})

    def score(self, rows: Sequence[Row]) -> list[Scores | RowError]:
        """Scores a micro-batch and returns one result for each row, in order; a row that fails gives a RowError."""
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


@cache
def signal_names() -> tuple[str, ...]:
    """Returns the names of all signals, without importing them; a file with a leading _ is shared by several."""
    folders = importlib.import_module(PACKAGE).__path__
    return tuple(name for name in extensions.names(folders, GROUP) if name != "base")


@cache
def signal_backends(name: str) -> dict[str, type[Signal]]:
    """Returns the classes of a signal by backend, the default first.

    A class with a leading _ is a base of several backends and none itself.

    Raises:
        UserError: there is no such signal (the message gives the nearest name), or an installed one cannot be imported.
    """
    if name not in signal_names():
        raise UserError(f'there is no signal "{name}"{nearest(name, signal_names())}', f"signals.{name}")
    classes = extensions.classes(PACKAGE, GROUP, name, Signal)
    if not classes:
        raise UserError(f'its file defines no Signal named "{name}"', f"signals.{name}")
    return {cls.backend: cls for cls in classes}


def make_signal(name: str, section: Mapping[str, Any], models: Models | None = None) -> Signal:
    """Creates the signal that the recipe's section `signals.NAME` describes. Raises UserError naming the key."""
    known = signal_backends(name)
    backend = section.get("backend") or next(iter(known))
    if backend not in known:
        raise UserError(f'there is no "{backend}"{nearest(str(backend), known)}', f"signals.{name}.backend")
    try:
        params = known[backend].Params.model_validate({**section, "backend": backend})
    except ValidationError as error:
        wrong = wrong_value(error, known[backend].Params, f"signals.{name}")
        raise _of_another_backend(error, known, wrong.key, backend) or wrong from None
    return known[backend](params, models)


def _of_another_backend(
    error: ValidationError, known: Mapping[str, type[Signal]], key: str, backend: str
) -> UserError | None:
    """Returns the error of a parameter that only other backends have, naming them; None if none of them has it.

    Recipes written for another default, or without the line `backend`, fail in this way.
    """
    first = error.errors()[0]
    if first["type"] != "extra_forbidden" or len(first["loc"]) != 1:
        return None
    others = [other for other, cls in known.items() if first["loc"][0] in cls.Params.model_fields]
    if not others:
        return None
    lines = " or ".join(f"`backend: {other}`" for other in others)
    return UserError(f"the backend {backend} has no such parameter; add {lines}", key)


def example_entry(name: str) -> str:
    """Returns a recipe entry for the signal with its default backend; required values are shown as three dots."""
    cls = next(iter(signal_backends(name).values()))
    required = [field for field, info in cls.Params.model_fields.items() if info.is_required()]
    return f"{name}: {{{', '.join(f'{field}: …' for field in required)}}}"


def owner_of_column(column: str) -> str | None:
    """Returns the signal that a column belongs to, also `NAME_state` and `NAME_error`; None if no signal has it."""
    for name in signal_names():
        if column in (f"{name}_state", f"{name}_error") or any(
            column in cls.columns for cls in signal_backends(name).values()
        ):
            return name
    return None
