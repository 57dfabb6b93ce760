"""The whole job on Ray (two workers) against two processes of this machine, start-up apart.

Each engine does a small and a large corpus; what the large one takes more is the work without the start-up.
"""

import argparse
import tempfile
import time
from pathlib import Path

from curation.recipe import load_recipe
from curation.recipe.yaml_text import write_yaml
from pipelines import stages
from pipelines.placing import placing
from tests import bench
from tests.benchmarks.corpora import jpegs, write_webdataset
from tests.benchmarks.report import Figure, in_fresh_process, show

SIZES = {"small": 200, "large": 2600}
ENGINES = ("local", "ray")


def main() -> None:
    """Makes both corpora, then runs each engine on each of them in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", nargs=3, metavar=("ENGINE", "SIZE", "FOLDER"))
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    if given.run:
        engine, size, folder = given.run
        (Path(folder) / f"{engine}-{size}.txt").write_text(str(run(Path(folder), engine, size)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for size, images in SIZES.items():
            write_webdataset(folder / size, jpegs(images), shards=max(2, images // 100))
        marginal: dict[str, list[float]] = {engine: [] for engine in ENGINES}
        for _ in range(given.rounds):
            for engine in ENGINES:  # in turn, since the machine's speed changes
                walls = {size: timed(folder, engine, size) for size in SIZES}
                marginal[engine].append(walls["large"] - walls["small"])
        local, on_ray = min(marginal["local"]), min(marginal["ray"])
        images = SIZES["large"] - SIZES["small"]
        show([
            Figure("whole job on Ray, wall an image, start-up apart", on_ray * 1000 / images, "ms", local * 1000 / images),
            Figure("whole job on Ray against local", on_ray / local, "times", None, 1.15),
        ])  # fmt: skip


def timed(folder: Path, engine: str, size: str) -> float:
    """Seconds that one job took."""
    in_fresh_process("tests.benchmarks.ray_against_local", "--run", engine, size, str(folder))
    return float((folder / f"{engine}-{size}.txt").read_text())


def run(folder: Path, engine: str, size: str) -> float:
    """Runs all stages on a new workspace; wall seconds."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        path = Path(work) / "recipe.yaml"
        path.write_text(write_yaml({
            "workspace": "./work", "engine": engine, "workers": 2, "corpora": [{"name": "c", "path": str(folder / size)}],
            "signals": {"photo": {}, "caption": {}, "faces": {}, "aesthetic": {}},
            "select": {"where": {"sharp": "sharpness >= 0", "faces": "face_count <= 100"}}, "shards": {"samples_per_shard": 100},
        }))  # fmt: skip
        recipe = load_recipe(path)
        began = time.monotonic()
        with placing(bench.opened(recipe)) as used:
            for stage in stages.STAGES.values():
                assert stage(bench.opened(recipe), used).ok
            return time.monotonic() - began


if __name__ == "__main__":
    main()
