"""Makes corpora of drawn pictures and recipes for tests, and runs stages in this process."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from curation.corpora.index import plan as plan_index
from curation.recipe import Recipe, load_recipe
from curation.recipe.yaml_text import write_yaml
from curation.scoring.opened import Opened, open_recipe
from curation.scoring.stage import plan as plan_score
from curation.tasks import Plan, Watch
from curation.workspace import Workspace
from curation.workspace.ledger import Ledger


def picture(seed: int, size: tuple[int, int] = (320, 240), blocks: int = 8) -> Image.Image:
    """Draws coloured blocks with fine grain: sharp, colourful, and unlike the picture of any other seed."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (blocks, blocks, 3), dtype=np.uint8))
    pixels = np.asarray(small.resize(size, Image.Resampling.NEAREST)).astype(np.int16)
    return Image.fromarray(np.clip(pixels + rng.integers(-25, 25, (*pixels.shape[:2], 1)), 0, 255).astype(np.uint8))


def encoded(image: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    """Returns the picture as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **({"quality": 90} | options if format == "JPEG" else options))
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """Writes a tar of these members, in this order, and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def recipe(folder: Path, **values: Any) -> Recipe:
    """Writes a recipe over the tars in `folder/raw` as a user would, and reads it."""
    sections = {"workspace": "./work", "corpora": [{"name": "c", "path": "./raw"}], "signals": {"photo": {}}} | values
    (folder / "recipe.yaml").write_text(write_yaml(sections))
    return load_recipe(folder / "recipe.yaml")


def opened(made: Recipe, meta_known: bool = True) -> Opened:
    """Opens the recipe anew, so that changes in its workspace are seen."""
    return open_recipe(made, meta_known)


def index(made: Recipe) -> None:
    """Runs stage `index` in this process."""
    _run("index", plan_index(made, Workspace(made.workspace)), made)


def score(made: Recipe) -> int:
    """Runs stage `score` in this process; returns the number of rows that it processed."""
    return _run("score", plan_score(opened(made)), made)


def _run(stage: str, plan: Plan, made: Recipe) -> int:
    ledger = Ledger(Workspace(made.workspace), stage, writable=True)
    rows = 0
    for task in plan.tasks:
        outcome = task.run(Watch())
        rows += outcome.rows
        ledger.add(task.corpus, task.shard, outcome.line)
    return rows


def rows(path: Path) -> list[dict[str, Any]]:
    """Reads the rows of a Parquet file."""
    return pq.read_table(path).to_pylist()


def tree(folder: Path) -> dict[str, bytes]:
    """Reads every file below a workspace for which byte equality is promised; returns the bytes by relative path."""
    promised = ("samples", "signals", "selection", "captions", "shards", "levels.parquet")
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.relative_to(folder).parts[0] in promised and ".wide" not in p.parts
    }
