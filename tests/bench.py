"""A small bench for tests: corpora of drawn pictures, recipes, and stages run in this process."""

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
    """Coloured blocks with fine grain: sharp, colourful, and unlike any other seed's."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (blocks, blocks, 3), dtype=np.uint8))
    pixels = np.asarray(small.resize(size, Image.Resampling.NEAREST)).astype(np.int16)
    return Image.fromarray(np.clip(pixels + rng.integers(-25, 25, (*pixels.shape[:2], 1)), 0, 255).astype(np.uint8))


def encoded(image: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **({"quality": 90} | options if format == "JPEG" else options))
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """A tar of these members, in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def recipe(folder: Path, **values: Any) -> Recipe:
    """A recipe over the tars in `folder/raw`, written and read as a user's."""
    given = {"workspace": "./work", "corpora": [{"name": "c", "path": "./raw"}], "signals": {"photo": {}}} | values
    (folder / "recipe.yaml").write_text(write_yaml(given))
    return load_recipe(folder / "recipe.yaml")


def opened(made: Recipe, meta_known: bool = True) -> Opened:
    """The recipe, opened anew: what has changed in its workspace meanwhile is seen."""
    return open_recipe(made, meta_known)


def index(made: Recipe) -> None:
    """Runs stage `index` in this process."""
    _run("index", plan_index(made, Workspace(made.workspace)), made)


def score(made: Recipe) -> int:
    """Runs stage `score` in this process; returns the rows it looked at."""
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
    """The rows of a Parquet file."""
    return pq.read_table(path).to_pylist()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder that byte equality is promised for."""
    promised = ("samples", "signals", "selection", "captions", "shards", "levels.parquet")
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.relative_to(folder).parts[0] in promised and ".wide" not in p.parts
    }
