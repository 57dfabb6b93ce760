"""Makes workspaces whose images have signals, embeddings and votes of a known relation to each other."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curation.annotation.votes import import_votes
from curation.corpora.samples import samples_notes
from curation.recipe import Recipe
from curation.selection.stage import Selection
from curation.signals.base import sidecar_fields
from curation.workspace.files import write_table
from tests import bench, embedded

CUTS = (-1.8, -1.1, -0.4, 0.7)
"""The worth of an image at which the levels 1 to 5 part, for images whose worth is normally distributed."""


def worth(count: int, seed: int = 0) -> np.ndarray:
    """Returns the worth of images: float64 (count,), mean 0 and variance 1."""
    return np.random.default_rng(seed).normal(size=count)


def votes(worths: np.ndarray, seed: int = 0, noise: float = 0.35) -> np.ndarray:
    """Returns what three people vote on each image, who see its worth with errors of their own: int64 (n, 3)."""
    seen = worths[:, None] + np.random.default_rng(seed + 1000).normal(size=(len(worths), 3)) * noise
    return 1 + np.digitize(seen, CUTS)


def photo_scores(worths: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns columns of the signal `photo`, three of which tell the worth with errors, one of them with a long tail."""
    rng = np.random.default_rng(seed + 2000)
    noisy = worths[:, None] + rng.normal(size=(len(worths), 3)) * 0.5
    return {
        "sharpness": np.exp(1 + noisy[:, 0]),
        "contrast": 50 + 10 * noisy[:, 1],
        "entropy": 4 + noisy[:, 2],
        "saturation": rng.random(len(worths)),
        "phash": rng.integers(0, 2**62, len(worths)),
    }


def write_scores(made: Recipe, shard: str, columns: dict[str, Any], count: int) -> None:
    """Writes a shard's scores of the signal `photo`; values of columns that are not given, and NaN, are null."""
    opened = bench.opened(made)
    values = {"photo_state": np.full(count, "scored")} | columns
    arrays: dict[str, Any] = {"key": pa.array([f"c/{shard}/{n:06d}" for n in range(count)])}
    for field in sidecar_fields(opened.cascade.signals["photo"]):
        given = values.get(field.name)
        arrays[field.name] = pa.nulls(count, field.type) if given is None else _column(given, field.type)
    path = opened.workspace.signal("photo", "c", shard)
    fingerprint = opened.cascade.fingerprint("photo", samples_notes(opened.workspace, "c", shard))
    write_table(path, pa.table(arrays), fingerprint)


def _column(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    return pa.array(values, from_pandas=True).cast(kind)  # NaN becomes null


def select(made: Recipe) -> None:
    """Selects in this process."""
    Selection(bench.opened(made)).write()


def vote(made: Recipe, folder: Path, cast: dict[str, list[int]]) -> None:
    """Imports votes: by key, the levels that the annotators a, b, c … give."""
    lines = (f"{key},{'abcdefgh'[n]},{level}\n" for key, levels in cast.items() for n, level in enumerate(levels))
    (folder / "votes.csv").write_text("key,annotator,level\n" + "".join(lines))
    import_votes(bench.opened(made), folder / "votes.csv")


def workspace(folder: Path, worths: list[np.ndarray], **values: Any) -> Recipe:
    """Makes a workspace of one shard for each array of worths, with scores of `photo`, and selects all images."""
    made = bench.recipe(folder, **({"select": {"dedup": {"exact": False}}} | values))
    for number, own in enumerate(worths):
        embedded.write_samples(made, f"{number:05d}", len(own))
        write_scores(made, f"{number:05d}", photo_scores(own, number), len(own))
    select(made)
    return made
