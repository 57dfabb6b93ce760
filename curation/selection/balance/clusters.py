"""Computes clusters of the stored embeddings: the k-means group of each row of each shard.

Centroids are found on a sample of all stored embeddings, regardless of the predicates, so that moving a threshold moves
no cluster. They are stored in `signals/.clusters/GROUPS/`, and each shard's clusters beside them. Both may be deleted,
and are then computed again from the embeddings stored at that time.

The sample has up to 256 vectors for each cluster, as in faiss (Johnson et al. 2017). Measured on random embeddings, the
mean of 1 - cosine to the nearest centroid is then the same as with all rows; with 128 it is 1 % larger, with 64 4 %,
and with seeds taken at random, of all rows, 2 to 9 % (`python -m tests.benchmarks.kmeans --quality`).
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from curation.corpora.samples import samples_notes
from curation.counts import counted
from curation.durations import in_words
from curation.errors import StageError
from curation.keys import key_hash
from curation.models.device import device
from curation.scoring.cascade import Cascade
from curation.scoring.vectors import Vectors, matrix, read_vectors
from curation.selection.balance import kmeans
from curation.selection.balance.kmeans import Centroids, Labels
from curation.workspace import Workspace
from curation.workspace.digests import digest
from curation.workspace.files import ROWS, fingerprint, footer, read_table, stamps, write_table
from curation.workspace.schemas import SCORED

ShardId = tuple[str, str]
"""A shard, by the names of its corpus and of itself."""
Say = Callable[[str], None]
"""A function that takes a line of text about the work in progress."""

VERSION = 1
SEED = 0
SALT = "clusters"
"""Salt of the hash by which embeddings are chosen for the sample."""
PER_CLUSTER = 256
"""Maximum number of vectors in the sample for each cluster."""
SAMPLE = 1_000_000
"""Maximum number of vectors in the sample: 1.5 GB at a width of 768."""
GROWN = 2
"""Centroids are computed anew once scoring has made a sample possible that is this many times as large."""
NONE = -1
"""The cluster of a row without an embedding."""
QUICK = 2e10
"""Number of operations below which no forecast of the time is given."""


class Clusters:
    """The clusters of a workspace's rows.

    Args:
        workspace: the workspace that holds the embeddings.
        cascade: the recipe's cascade, with the signal `embedding`.
        shards: the shards whose rows are to be clustered.
        groups: number of clusters.
        scored: number of rows of these shards that have an embedding, or failed to get one.
        say: a function that takes lines of text about the work in progress.
    """

    def __init__(
        self, workspace: Workspace, cascade: Cascade, shards: Sequence[ShardId], groups: int, scored: int, say: Say
    ) -> None:
        self.workspace, self.shards, self.groups, self.scored, self.say = workspace, shards, groups, scored, say
        self.folder = workspace.root / "signals" / ".clusters" / str(groups)
        self.width = cascade.signals["embedding"].columns["embedding"].list_size
        self.device = device()
        fingerprints = {s: cascade.fingerprint("embedding", samples_notes(workspace, *s)) for s in shards}
        self.identity = digest([VERSION, SEED, groups, sorted([*shard, made] for shard, made in fingerprints.items())])
        paths = {shard: workspace.signal("embedding", *shard) for shard in shards}
        self.sidecars = {s: path for s, path in paths.items() if fingerprint(path) == fingerprints[s]}
        """Paths of the embedding sidecars that match the recipe, by shard; other shards have no embeddings yet."""

    def labels(self) -> list[Labels]:
        """Returns the cluster of every row, by shard: int32 (rows,), `NONE` where a row has no embedding.

        Stored clusters are read; missing ones are computed and stored.

        Raises:
            StageError: a sidecar is damaged, or holds vectors that are not of length 1.
        """
        known: dict[ShardId, Labels] = {}
        centroids = self._stored()
        if centroids is not None:
            known = {shard: labels for shard in self.sidecars if (labels := self._known(shard, centroids)) is not None}
        left = [shard for shard in self.sidecars if shard not in known]
        if left and self.scored:
            sample = min(self.scored, self.groups * PER_CLUSTER, SAMPLE) if centroids is None else 0
            pace = self._announce(left, sample)
            if centroids is None:
                centroids = self._fit(pace)
            for shard in left if len(centroids) else ():
                known[shard] = self._assign(shard, centroids, pace)
        rows = {s: int(samples_notes(self.workspace, *s)[ROWS]) for s in self.shards if s not in known}
        return [known[s] if s in known else np.full(rows[s], NONE, np.int32) for s in self.shards]

    def _path(self, shard: ShardId) -> Path:
        return self.folder / shard[0] / f"{shard[1]}.parquet"

    def _mark(self, shard: ShardId, centroids: Centroids) -> str:
        """Returns the fingerprint of all that a shard's clusters are computed from."""
        return digest([hashlib.sha256(centroids.tobytes()).hexdigest(), stamps([str(self.sidecars[shard])])])

    def _stored(self) -> Centroids | None:
        """Reads the stored centroids: float32 (groups, width); returns None if they are missing or out of date."""
        path = self.folder / "centroids.parquet"
        notes = footer(path) or {}
        wanted = min(self.scored, self.groups * PER_CLUSTER, SAMPLE)
        if notes.get("fingerprint") != self.identity or wanted >= GROWN * int(notes["sample"]):
            return None
        try:
            column = read_table(path)["centroid"].combine_chunks()
        except StageError:
            return None
        return column.flatten().to_numpy().reshape(-1, self.width).copy()  # torch needs it writable

    def _known(self, shard: ShardId, centroids: Centroids) -> Labels | None:
        """Reads a shard's clusters; returns None if they are missing or out of date."""
        path = self._path(shard)
        if fingerprint(path) != self._mark(shard, centroids):
            return None
        try:
            return read_table(path)["cluster"].to_numpy()
        except StageError:
            return None

    def _fit(self, pace: "_Pace") -> Centroids:
        """Computes centroids on the sample, stores and returns them; none if every embedding has failed."""
        sample = self._sample()
        if not len(sample):
            return np.empty((0, self.width), np.float32)
        centroids = kmeans.fit(sample, self.groups, SEED, self.device, pace)
        flat = pa.FixedSizeListArray.from_arrays(pa.array(centroids.ravel()), self.width)
        path = self.folder / "centroids.parquet"
        write_table(path, pa.table({"centroid": flat}), self.identity, sample=str(len(sample)))
        pace.reached(kmeans.ITERATIONS * len(sample))
        return centroids

    def _sample(self) -> Vectors:
        """Reads the embeddings of the rows whose keys have the smallest hashes, in that order: float16 (n, width)."""
        wanted = min(self.groups * PER_CLUSTER, SAMPLE)
        hashes, files, rows = np.empty(0, np.uint64), np.empty(0, np.int32), np.empty(0, np.int64)
        paths = list(self.sidecars.values())
        for number, path in enumerate(paths):
            table = read_table(path, ["key", "embedding_state"])
            present = np.flatnonzero([state == SCORED for state in table["embedding_state"].to_pylist()])
            own = [key_hash(key, SALT) for key in table["key"].take(present).to_pylist()]
            hashes = np.concatenate([hashes, np.array(own, np.uint64)])
            files = np.concatenate([files, np.full(len(present), number, np.int32)])
            rows = np.concatenate([rows, present])
            if len(hashes) > 2 * wanted or number == len(paths) - 1:
                least = np.argsort(hashes, kind="stable")[:wanted]
                hashes, files, rows = hashes[least], files[least], rows[least]
        if not len(rows):
            return np.empty((0, self.width), np.float16)
        return read_vectors(paths, files, rows, "embedding", self.width)

    def _assign(self, shard: ShardId, centroids: Centroids, pace: "_Pace") -> Labels:
        """Computes a shard's clusters, stores and returns them: int32 (rows,)."""
        path = self.sidecars[shard]
        vectors = matrix(read_table(path, ["embedding"])["embedding"])
        present = vectors.any(1)
        squares = np.square(vectors, dtype=np.float32).sum(1)
        odd = np.flatnonzero(present & ~(np.abs(squares - 1) < 0.02))
        if len(odd):
            length = float(np.sqrt(squares[odd[0]]))
            raise StageError(f"{path}: row {odd[0]} is an embedding of length {length:.3g}; expected length 1")
        labels = np.full(len(vectors), NONE, np.int32)
        labels[present] = kmeans.assign(vectors[present], centroids, self.device, pace)
        write_table(self._path(shard), pa.table({"cluster": labels}), self._mark(shard, centroids))
        return labels

    def _announce(self, left: list[ShardId], sample: int) -> "_Pace":
        """Announces how long the work will take, if it takes long; returns the object that reports its progress."""
        rows = self.scored * len(left) // len(self.sidecars)
        work = kmeans.ITERATIONS * sample + rows
        if 2.0 * work * self.width * self.groups < QUICK:
            return _Pace(work, lambda text: None)
        first = self.sidecars[left[0]]
        read_table(first, ["embedding"])  # reads the file into the cache, so that the timing is not too slow
        began = time.monotonic()
        count = read_table(first, ["embedding"]).num_rows
        each = (time.monotonic() - began) / max(1, count)
        all_rows = rows if not sample else 2 * rows  # read once for the sample, once for assignment
        seconds = work / kmeans.rate(self.groups, self.width, self.device) + each * all_rows
        task = (
            f"{counted(self.groups, 'clusters')} over {counted(self.scored, 'embeddings')}"
            if sample
            else (f"{counted(rows, 'more embeddings')} to be put into {counted(self.groups, 'clusters')}")
        )
        self.say(f"k-means: {task}, about {in_words(seconds)}")
        return _Pace(work, self.say)


class _Pace:
    """Reports every few seconds how much of the work is done."""

    INTERVAL = 10.0
    """Seconds between two reports."""

    def __init__(self, total: int, say: Say) -> None:
        self.total, self.say, self.done = total, say, 0
        self.begun = self.reported = time.monotonic()

    def __call__(self, rows: int) -> None:
        """Adds a number of rows that were compared with all centroids."""
        self.reached(self.done + rows)

    def reached(self, done: int) -> None:
        """Sets the number of rows done so far, and reports it if the last report is INTERVAL seconds old."""
        self.done, now = done, time.monotonic()
        if now - self.reported >= self.INTERVAL:
            self.reported, speed = now, done / (now - self.begun)
            left = in_words(max(0, self.total - done) / speed)
            self.say(
                f"k-means: {done / self.total:.0%} done, {speed:,.0f} comparisons with all clusters/s, {left} left"
            )
