"""Signals that models give, tried on a few drawn pictures: alone, and in the real stage."""

from pathlib import Path
from typing import Any

import pytest

from curation.errors import UserError
from curation.images import Picture
from curation.models.checkpoints import Models
from curation.recipe import Recipe
from curation.signals.base import Row, make_signal
from tests import bench

COUNT = 6
"""Pictures of a corpus."""


def rows(count: int) -> list[Row]:
    """Small pictures, as a signal is given them."""
    return [Row(Picture(bench.encoded(bench.picture(i, (120, 80)), "PNG")), {}, {}) for i in range(count)]


def corpus(folder: Path) -> Path:
    """Writes `COUNT` pictures in one tar; returns the folder."""
    bench.write_tar(folder / "raw" / "00000.tar", {f"{n}.jpg": bench.encoded(bench.picture(n)) for n in range(COUNT)})
    return folder


def recipe(folder: Path, models: Path, given: dict[str, Any]) -> Recipe:
    """The corpus with these signals."""
    return bench.recipe(folder, models=str(models), signals=given)


def scored(folder: Path, models: Path, given: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Runs both stages with these signals, and reads one of them back."""
    made = recipe(folder, models, given)
    bench.opened(made).cascade.check_models()
    bench.index(made)
    bench.score(made)
    return bench.rows(sidecar(folder, name))


def sidecar(folder: Path, name: str) -> Path:
    """The signal's scores of the corpus."""
    return folder / f"work/signals/{name}/c/00000.parquet"


def refusal(name: str, given: dict[str, Any], models: Path) -> str:
    """The one line by which a signal is refused before any work."""
    with pytest.raises(UserError) as caught:
        make_signal(name, given, Models(models)).check()
    assert "\n" not in str(caught.value)
    return str(caught.value)
