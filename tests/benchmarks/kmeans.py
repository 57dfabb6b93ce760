"""Clusters of stored embeddings: 1,000 over 1,000,000 × 768, told beforehand, beside the bare products of matrices.

Where faiss is installed, its k-means (spherical, as many iterations, from random rows and from k-means++) stands beside
ours on the same vectors in memory. What was found stands in `curation.kmeans`.

python -m tests.benchmarks.kmeans [--rows 1000000] [--clusters 1000] [--width 768]
python -m tests.benchmarks.kmeans --quality: what the sample, and the seeds, cost against Lloyd's iteration on all rows
"""

import argparse
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from curation.corpora.samples import samples_notes
from curation.recipe import Recipe, load_recipe
from curation.scoring.vectors import Vectors
from curation.selection.balance import clusters, kmeans
from curation.selection.balance.clusters import Clusters
from curation.selection.balance.kmeans import Centroids, Labels
from curation.workspace import Workspace
from curation.workspace.files import write_table
from tests import bench, checkpoints
from tests.benchmarks.report import Figure, in_fresh_process, peak_mb, show
from tests.benchmarks.select import samples_table

SHARD = 10_000
RECIPE = """
workspace: ./work
models: ./models
corpora: [{name: c, path: ./raw}]
signals: {embedding: {checkpoint: tiny}}
"""


def main() -> None:
    """Makes a workspace of drawn embeddings, and measures on it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--folder", type=Path, help="measure on the workspace below this folder")
    parser.add_argument("--case", nargs=2, metavar=("NAME", "THREADS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(json.dumps(case(given.case[0], int(given.case[1]), given.rows, given.clusters, given.width)))
        return
    if given.quality:
        quality(Drawn(128, 600), 100_000, 200)
        return
    if given.folder:
        measure(load_recipe(given.folder / "recipe.yaml"), given.rows, given.clusters, given.width)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "recipe.yaml").write_text(RECIPE)
        checkpoints.open_clip_folder(folder / "models" / "tiny", checkpoints.CLIP | {"embed_dim": given.width})
        make(load_recipe(folder / "recipe.yaml"), Drawn(given.width, 3 * given.clusters), given.rows)
        numbers = [str(n) for n in (given.rows, given.clusters, given.width)]
        arguments = ("--rows", numbers[0], "--clusters", numbers[1], "--width", numbers[2], "--folder", temporary)
        in_fresh_process("tests.benchmarks.kmeans", *arguments)
    if importlib.util.find_spec("faiss"):
        beside_faiss(given.rows, given.clusters, given.width)


def beside_faiss(rows: int, groups: int, width: int) -> None:
    """Prints what ours and faiss take for the same vectors, on one thread, and whether a second one changes bytes."""

    def found(name: str, threads: int, rows: int) -> dict[str, Any]:
        shape = ["--rows", str(rows), "--clusters", str(groups), "--width", str(width)]
        command = [sys.executable, "-m", "tests.benchmarks.kmeans", "--case", name, str(threads), *shape]
        given: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        return given

    ours = None
    for name in ("ours", "faiss", "faiss-k-means++"):
        one = found(name, 1, rows)
        ours = ours or one
        few, fewer = (found(name, threads, rows // 10)["digest"] for threads in (1, 2))
        what = f"k-means, {rows:,} × {width}, in memory, {name}"
        show(
            [
                Figure(f"{what} (floor: ours)", one["cpu"], "CPU s", ours["cpu"]),
                Figure("the same, 1 - cosine (floor: ours)", one["spread"], "", ours["spread"]),
                Figure("the same, peak memory (floor: ours)", one["peak"], "MB", ours["peak"]),
                Figure(f"{rows // 10:,} rows, same bytes by two threads as by one", float(few == fewer), "1: yes"),
            ]
        )


def case(name: str, threads: int, rows: int, groups: int, width: int) -> dict[str, Any]:
    """One k-means, in this process: of a sample as large as a workspace's, to which then all rows are put."""
    torch.set_num_threads(threads)
    vectors = Drawn(width, 3 * groups).vectors(rows)  # in no order, so that the first ones are a sample
    sample = vectors[: min(groups * clusters.PER_CLUSTER, clusters.SAMPLE)]
    before = time.process_time()
    if name == "ours":
        centroids = kmeans.fit(sample, groups)
        labels = kmeans.assign(vectors, centroids)
    else:
        centroids, labels = _by_faiss(vectors, sample, groups, threads, name.endswith("++"))
    cpu, peak = time.process_time() - before, peak_mb()
    digest = hashlib.sha256(centroids.tobytes() + labels.tobytes()).hexdigest()
    return {"cpu": cpu, "peak": peak, "digest": digest, "spread": _spread(vectors, centroids, labels)}


def _by_faiss(
    vectors: Vectors, sample: Vectors, groups: int, threads: int, far_apart: bool
) -> tuple[Centroids, Labels]:
    import faiss

    faiss.omp_set_num_threads(threads)
    wanted = faiss.ClusteringParameters()
    wanted.niter, wanted.spherical, wanted.seed = kmeans.ITERATIONS, True, clusters.SEED
    wanted.max_points_per_centroid = clusters.PER_CLUSTER
    if far_apart:
        wanted.init_method = faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS
    clustering, index = faiss.Clustering(vectors.shape[1], groups, wanted), faiss.IndexFlatIP(vectors.shape[1])
    clustering.train(sample.astype(np.float32), index)
    parts = (vectors[start : start + SHARD].astype(np.float32) for start in range(0, len(vectors), SHARD))
    labels = np.concatenate([index.search(part, 1)[1][:, 0] for part in parts]).astype(np.int32)
    return faiss.vector_to_array(clustering.centroids).reshape(groups, -1), labels


def measure(recipe: Recipe, rows: int, groups: int, width: int) -> None:
    """Prints the table."""
    workspace, cascade = Workspace(recipe.workspace), bench.opened(recipe).cascade
    shards = [("c", shard) for shard in workspace.shards("c")]
    said: list[str] = []

    def run() -> tuple[float, float]:
        began, cpu = time.monotonic(), time.process_time()
        found = Clusters(workspace, cascade, shards, groups, rows, said.append).labels()
        assert sum(map(len, found)) == rows and all((labels >= 0).all() for labels in found)
        return time.monotonic() - began, time.process_time() - cpu

    wall, cpu = run()
    memory = peak_mb()
    again, _ = run()
    compared = rows + kmeans.ITERATIONS * min(rows, groups * clusters.PER_CLUSTER, clusters.SAMPLE)
    floor = 2.0 * compared * groups * width / _flops(groups, width)
    print(next(iter(said), "nothing was said beforehand"))
    what = f"k-means, {rows:,} × {width}, {groups:,} clusters"
    show(
        [
            Figure(f"{what}, wall", wall, "s", None, 600),
            Figure("the same, CPU, beside its bare products", cpu, "s", floor),
            Figure("told beforehand, wall", _told(said), "s", wall),
            Figure("the same, peak memory", memory, "MB", None, 4000),
            Figure("the same again, all of it stored, wall", again, "s", None, 10),
        ]
    )


def quality(drawn: "Drawn", rows: int, groups: int) -> None:
    """Prints the mean of 1 - cosine to the nearest centroid over all rows: by sample, by all, and by random seeds."""
    vectors = drawn.vectors(rows)
    whole = _spread(vectors, kmeans.fit(vectors, groups))
    figures = []
    for each in (64, 128, 256):
        found = kmeans.fit(vectors[: each * groups], groups)
        figures.append(Figure(f"1 - cosine, {each} vectors a cluster", _spread(vectors, found), "", whole))
    seeds = kmeans.choose_seeds
    kmeans.choose_seeds = lambda some, wanted, seed, device: some[: int(wanted)].float()  # rows lie in no order
    figures.append(
        Figure("1 - cosine, all rows, random seeds", _spread(vectors, kmeans.fit(vectors, groups)), "", whole)
    )
    kmeans.choose_seeds = seeds
    show(figures)


def _spread(vectors: Vectors, centroids: Centroids, labels: Labels | None = None) -> float:
    labels = kmeans.assign(vectors, centroids) if labels is None else labels
    parts = (slice(start, start + SHARD) for start in range(0, len(vectors), SHARD))
    cosines = (np.einsum("nd,nd->n", vectors[part].astype(np.float32), centroids[labels[part]]) for part in parts)
    return 1 - float(np.concatenate(list(cosines)).mean())


def _flops(groups: int, width: int) -> float:
    """Floating-point operations in a second of one core's time that a product of this shape reaches here."""
    rows, centroids = torch.randn(4096, width), torch.randn(groups, width)
    _ = rows @ centroids.T
    rates = []
    for _ in range(5):
        cpu = time.process_time()
        for _ in range(4):
            _ = rows @ centroids.T
        rates.append(4 * 2.0 * 4096 * groups * width / (time.process_time() - cpu))
    return float(np.median(rates))


def _told(said: list[str]) -> float:
    """The seconds of the estimate."""
    found = re.search(r"about ([0-9.]+) (s|min)", said[0]) if said else None
    return float(found[1]) * (60 if found[2] == "min" else 1) if found else 0.0


class Drawn:
    """Embeddings as a model gives them, but drawn: clumps of uneven size around a common direction, in few axes."""

    def __init__(self, width: int, clumps: int) -> None:
        self.rng = np.random.default_rng(0)
        axes = (1.0 + np.arange(width)) ** -0.5
        self.axes = (axes / np.linalg.norm(axes)).astype(np.float32)
        self.turn = np.linalg.qr(self.rng.normal(size=(width, width)))[0].astype(np.float32)
        self.centres = self._noise(clumps)
        self.common = self._noise(1)
        sizes = self.rng.zipf(1.5, clumps).clip(max=3000).astype(float)
        self.shares = sizes / sizes.sum()

    def vectors(self, rows: int) -> Vectors:
        """float16 (rows, width), of length 1."""
        found = np.empty((rows, len(self.axes)), np.float16)
        for start in range(0, rows, SHARD):
            of = self.rng.choice(len(self.shares), min(SHARD, rows - start), p=self.shares)
            own = self.centres[of] + 0.6 * self._noise(len(of))
            own = (0.8 * own / np.linalg.norm(own, axis=1, keepdims=True) + 0.6 * self.common) @ self.turn
            found[start : start + SHARD] = own / np.linalg.norm(own, axis=1, keepdims=True)
        return found

    def _noise(self, count: int) -> np.ndarray:
        return self.rng.standard_normal((count, len(self.axes)), np.float32) * self.axes


def make(recipe: Recipe, drawn: Drawn, rows: int) -> None:
    """Samples and embeddings as the stages write them, without images."""
    workspace, cascade = Workspace(recipe.workspace), bench.opened(recipe).cascade
    for number, start in enumerate(range(0, rows, SHARD)):
        shard, count = f"{number:05d}", min(SHARD, rows - start)
        samples = samples_table(shard, count, drawn.rng)
        write_table(workspace.samples("c", shard), samples, "1", source="", rows_digest=shard, caption_digest=shard)
        kind = cascade.signals["embedding"].columns["embedding"]
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(drawn.vectors(count).ravel()), type=kind)
        states = {"embedding_state": ["scored"] * count, "embedding_error": pa.nulls(count, pa.string())}
        table = pa.table({"key": samples["key"]} | states | {"embedding": vectors})
        print_of = cascade.fingerprint("embedding", samples_notes(workspace, "c", shard))
        write_table(workspace.signal("embedding", "c", shard), table, print_of)


if __name__ == "__main__":
    main()
