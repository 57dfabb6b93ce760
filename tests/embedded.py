"""Writes workspaces of many rows without images: samples and embeddings, as the stages write them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curation.corpora.samples import samples_notes
from curation.recipe import Recipe
from curation.signals.base import sidecar_fields
from curation.workspace import Workspace
from curation.workspace.files import write_table
from curation.workspace.schemas import SAMPLES
from tests import bench, checkpoints

SIGNAL = {"embedding": {"checkpoint": "tiny"}}
WIDTH = checkpoints.CLIP["embed_dim"]


def recipe(folder: Path, models: Path, **values: Any) -> Recipe:
    """Writes and reads a recipe with the signal `embedding` of a tiny checkpoint in `models`."""
    return bench.recipe(folder, **({"models": str(models), "signals": SIGNAL} | values))


def write_samples(made: Recipe, shard: str, count: int, **columns: Any) -> None:
    """Writes a shard's samples: all readable and different, the largest first, with further columns."""
    sizes = np.arange(1000 + count, 1000, -1)
    values = {
        "key": [f"c/{shard}/{n:06d}" for n in range(count)],
        "member": [f"{n:06d}" for n in range(count)],
        "width": sizes, "height": sizes, "min_side": sizes, "aspect_ratio": np.ones(count),
        "sha256": [f"{int(shard) * 10**9 + n:016x}" * 4 for n in range(count)],
        "status": ["ok"] * count, "length": np.full(count, 1000),
    }  # fmt: skip
    table = pa.table([pa.array(values.get(f.name, [None] * count)).cast(f.type) for f in SAMPLES], schema=SAMPLES)
    for name, column in columns.items():
        table = table.append_column(name, pa.array(column))
    path = Workspace(made.workspace).samples("c", shard)
    write_table(path, table, "1", source="", rows_digest=f"{shard} {count}", caption_digest=shard)


def write_embeddings(made: Recipe, shard: str, vectors: np.ndarray, states: list[str] | None = None) -> None:
    """Writes a shard's embeddings.

    Args:
        made: the recipe.
        shard: name of the shard.
        vectors: float16 (rows, WIDTH).
        states: state of each row, which has an embedding only if it is `scored`; None scores all rows.
    """
    opened = bench.opened(made)
    workspace, cascade = opened.workspace, opened.cascade
    signal = cascade.signals["embedding"]
    states = states or ["scored"] * len(vectors)
    missing = np.array([state != "scored" for state in states])
    kind = signal.columns["embedding"]
    columns: dict[str, Any] = {
        "embedding_state": states,
        "embedding_error": [None if state != "failed" else "odd: asked for" for state in states],
        "embedding": pa.FixedSizeListArray.from_arrays(
            pa.array(vectors.astype(np.float16).ravel()), type=kind, mask=pa.array(missing)
        ),
    }
    keys = [f"c/{shard}/{n:06d}" for n in range(len(vectors))]
    arrays = {"key": pa.array(keys)} | {f.name: pa.array(columns[f.name], f.type) for f in sidecar_fields(signal)}
    notes = samples_notes(workspace, "c", shard)
    write_table(workspace.signal("embedding", "c", shard), pa.table(arrays), cascade.fingerprint("embedding", notes))


def clustered_vectors(count: int, groups: int, seed: int = 0, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Returns unit vectors around directions that are the same for every seed.

    Returns:
        float16 (count, WIDTH): the vectors; int64 (count,): number of the direction of each.
    """
    centres = np.random.default_rng(99).normal(size=(groups, WIDTH))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    directions = rng.integers(0, groups, count)
    vectors = centres[directions] + rng.normal(size=(count, WIDTH)) * spread / np.sqrt(WIDTH)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16), directions
