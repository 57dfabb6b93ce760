"""What is left in a workspace of 10⁵ shards with six signals: 700,000 files, of which a few have changed."""

import argparse
import json
import os
import tempfile
import time
from functools import partial
from pathlib import Path

from curation.corpora.samples import meta_schema
from curation.recipe import Recipe, load_recipe
from curation.recipe.yaml_text import write_yaml
from curation.scoring.stage import mark, plan, score_files
from curation.views.status import status
from curation.workspace import Workspace
from curation.workspace.files import stamps
from curation.workspace.ledger import Ledger
from tests import bench
from tests.benchmarks.report import Figure, in_fresh_process, peak_mb, show

SIX = "six"
SIGNAL = '''
from typing import ClassVar
import pyarrow as pa
from curation.signals.base import PerImage

class Six(PerImage):
    """A sixth signal."""
    name: ClassVar[str] = "six"
    version: ClassVar[int] = 1
    columns: ClassVar[dict[str, pa.DataType]] = {"sixth": pa.float32()}
'''
WHERE = {"size": "min_side >= 256", "sharp": "sharpness >= 8", "faces": "face_count <= 6", "sixth": "sixth >= 1"}


def main() -> None:
    """Makes the workspace, then measures in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="measure on the workspace below this folder")
    given = parser.parse_args()
    if given.folder:
        measure(given.folder, given.shards)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "own").mkdir()
        (folder / "own" / f"{SIX}.py").write_text(SIGNAL)
        signals = dict.fromkeys(["photo", "caption", "faces", "ocr", "aesthetic", SIX], {})
        values = {"workspace": "./work", "corpora": [{"name": "c", "path": "./raw"}], "signals": signals}
        (folder / "recipe.yaml").write_text(write_yaml(values | {"select": {"where": WHERE}}))
        os.environ["CURATE_SIGNALS"] = str(folder / "own")
        in_fresh_process("tests.benchmarks.listing", "--folder", temporary, "--shards", str(given.shards))


def measure(folder: Path, shards: int) -> None:
    """Prints the table."""
    recipe = load_recipe(folder / "recipe.yaml")
    changed = make(recipe, shards)
    paths = [str(path) for path in (folder / "work").rglob("*.parquet")]
    began = time.process_time()
    stamps(paths)
    floor = time.process_time() - began
    began, wall = time.process_time(), time.monotonic()
    found = plan(bench.opened(recipe))
    cpu, wall = time.process_time() - began, time.monotonic() - wall
    assert {task.shard for task in found.tasks} == changed and found.total == shards, found.reasons
    what = f"what is left of {shards:,} shards, 6 signals"
    show([Figure(f"{what}: wall", wall, "s", floor, 5), Figure(f"{what}: CPU", cpu, "s", floor)])
    began, wall = time.process_time(), time.monotonic()
    status(bench.opened(recipe))
    show([Figure("curate status of the same", time.monotonic() - wall, "s", floor)])
    show([Figure("peak memory", peak_mb(), "MB")])


def make(recipe: Recipe, shards: int) -> set[str]:
    """Files of the right names, and the ledgers that a run would have left; the shards that were changed since."""
    workspace, cascade = Workspace(recipe.workspace), bench.opened(recipe).cascade
    files_of = partial(score_files(workspace, cascade), "c")
    for path in files_of("x"):
        Path(path).parent.mkdir(parents=True)
    indexed, scored = Ledger(workspace, "index", writable=True), Ledger(workspace, "score", writable=True)
    footer = {
        "fingerprint": "1",
        "source": "00000.tar",
        "rows": "1000",
        "rows_digest": "a" * 64,
        "caption_digest": "b" * 64,
    }
    lines: dict[str, list[str]] = {"index": [], "score": []}
    names = scored.define_mark(mark(cascade))
    for number in range(shards):
        shard = f"{number:06d}"
        paths = files_of(shard)
        for path in paths:
            with open(path, "w") as file:
                file.write("x")
        found = stamps(paths)
        index_line = {"shard": f"c/{shard}", "files": found[:1], "source": "c" * 64, "rows": 1000, "failed": 3, "gone": 0,
                      "without_image": 5, "damage": None, "reasons": {"truncated": 3}, "footer": footer, "meta": None}  # fmt: skip
        lines["index"].append(json.dumps(index_line))
        lines["score"].append(json.dumps({"shard": f"c/{shard}", "files": found, "mark": names, "rows": 1000,
                                          "failed": {"photo truncated": 2}, "passed": 400}))  # fmt: skip
    for ledger, stage in ((indexed, "index"), (scored, "score")):
        with open(ledger.path, "a") as file:
            file.write("\n" + "\n".join(lines[stage]))
    meta_schema(workspace, ["c"], keep=True)
    changed = {f"{number:06d}" for number in (7, shards // 2, shards - 1)}
    for shard in changed:
        Path(files_of(shard)[2]).write_text("changed")
    return changed


if __name__ == "__main__":
    main()
