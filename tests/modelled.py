"""Tries signals that need models on a few drawn pictures: alone, and in the real stage."""

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
"""Number of pictures of a corpus."""


def rows(count: int) -> list[Row]:
    """Returns small pictures as rows for a signal."""
    return [Row(Picture(bench.encoded(bench.picture(i, (120, 80)), "PNG")), {}, {}) for i in range(count)]


def corpus(folder: Path) -> Path:
    """Writes `COUNT` pictures in one tar; returns the folder."""
    bench.write_tar(folder / "raw" / "00000.tar", {f"{n}.jpg": bench.encoded(bench.picture(n)) for n in range(COUNT)})
    return folder


def recipe(folder: Path, models: Path, signals: dict[str, Any]) -> Recipe:
    """Writes and reads a recipe over the corpus with these signals."""
    return bench.recipe(folder, models=str(models), signals=signals)


def scored(folder: Path, models: Path, signals: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Runs stages `index` and `score` with these signals, and reads the scores of one of them."""
    made = recipe(folder, models, signals)
    bench.opened(made).cascade.check_models()
    bench.index(made)
    bench.score(made)
    return bench.rows(sidecar(folder, name))


def sidecar(folder: Path, name: str) -> Path:
    """Returns the path of the signal's scores of the corpus."""
    return folder / f"work/signals/{name}/c/00000.parquet"


def refusal(name: str, params: dict[str, Any], models: Path) -> str:
    """Returns the error, of one line, by which a signal is refused before any work."""
    with pytest.raises(UserError) as caught:
        make_signal(name, params, Models(models)).check()
    assert "\n" not in str(caught.value)
    return str(caught.value)
