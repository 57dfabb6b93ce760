"""Finds rows whose embeddings have a cosine of at least a threshold: exactly, after a cheap upper bound.

The decision is exact: a float16 of magnitude one or less is an integer multiple of 2^-24, so the dot product of two
embeddings is a sum of multiples of 2^-48, which float64 holds without rounding in whatever order it is summed up. No
blocking, number of threads or device moves a pair over the threshold.

The bound finds the candidates: vectors are rotated so that their first k dimensions tell embeddings apart best (the
principal axes of a sample). Let the prefix of a vector be these k dimensions, and the remainder the others. By Cauchy
and Schwarz <x, y> <= <prefix x, prefix y> + |remainder x| |remainder y|: one product of k + 1 numbers instead of 768
shows nearly every pair to be below the threshold. The few pairs that are left are decided exactly, so none is missed.
The k that makes this cheapest is chosen on the sample.

Compared with faiss 1.15 on one thread, 100,000 x 768 (`python -m tests.benchmarks.cosine`): ours takes 6 CPU s, the
range_search of its IndexFlatIP 67 s, and both find all copies. In a trial with our reduced vectors in place of the
vectors faiss took 6.1 s where ours took 4.9: it would replace no more than one matrix product, and faiss-cpu runs on
no GPU.
"""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from curation.models.device import device
from curation.scoring.vectors import Vectors
from curation.selection.dedup.arrays import Index

if TYPE_CHECKING:
    import torch


T = TypeVar("T")
R = TypeVar("R")

TILES = {"cpu": (512, 2048), "cuda": (4096, 16384)}
"""Numbers of rows and kept rows that are compared at once, by device; on a CPU the bounds of a tile fit its cache."""
SAMPLE = 4096
"""Number of rows on which the bound is chosen; with fewer rows every pair is computed in full."""
AXES = (16, 32, 64, 128, 256)
"""Values of k that are tried."""
DENSE = 64
"""If more than one pair in this many passes the bound, the tile is decided as one matrix product (measured)."""
_STEP = 128  # rows that are made ready, and pairs that are decided, at once: in float64 they stay in the cache
_PAIR = 100_000.0  # cost of deciding a pair, relative to one dimension of a bound (measured)
_OVERHEAD = 8.0  # cost of looking at a bound, in the same unit


class Points:
    """Embeddings prepared for comparison; they take k + 1 float32 a row besides the vectors.

    Args:
        vectors: float16 (n, width), of length about 1; a row of zeros stands for no embedding, and is similar to
            nothing.
        rotation: float64 (width, k), orthonormal, from `choose_rotation`; None compares by all dimensions.
    """

    def __init__(self, vectors: Vectors, rotation: "torch.Tensor | None") -> None:
        import torch

        self.vectors = vectors
        self.lengths = np.empty(len(vectors))
        """float64 (n,): Euclidean length of each vector; 1 for rows of zeros."""
        self.device = device()
        self._reduced = (
            None if rotation is None else torch.empty((len(vectors), rotation.shape[1] + 1), device=self.device)
        )
        for start in range(0, len(vectors), _STEP):
            part = slice(start, start + _STEP)
            exact = torch.from_numpy(vectors[part]).double()
            lengths = exact.square().sum(1).sqrt()
            lengths[lengths == 0] = 1
            self.lengths[part] = lengths.numpy()
            if rotation is not None and self._reduced is not None:
                self._reduced[part] = _reduce(exact / lengths[:, None], rotation).to(self.device)

    def reduced(self, rows: Index) -> "torch.Tensor":
        """Returns the reduced vectors of some rows, from which the bounds are computed: float32 (m, k + 1)."""
        import torch

        if self._reduced is not None:
            return self._reduced[torch.from_numpy(rows).to(self.device)]
        unit = torch.from_numpy(self.vectors[rows]).float() / torch.from_numpy(self.lengths[rows]).float()[:, None]
        return unit.to(self.device)


class Cosine:
    """Finds pairs of embeddings whose cosine is at least a threshold.

    It is a context manager, within which torch runs on one thread, and tiles are compared in parallel. Torch's own
    threads wait for each other after every small product, which on a busy machine was measured to take ten times as
    long as one thread alone.

    Args:
        threshold: minimum cosine of similar vectors, above 0.
        vectors: float16 (n, width), the embeddings to be compared.
        rows: int64 (m,), indices of the rows of `vectors` that take part.
    """

    def __init__(self, threshold: float, vectors: Vectors, rows: Index) -> None:
        self.threshold = threshold - 1e-12  # a vector's cosine with itself is 1, but for the rounding of two roots
        self.rotation = (
            choose_rotation(vectors[rows[:: -(-len(rows) // SAMPLE)]], threshold) if len(rows) > SAMPLE else None
        )
        axes = vectors.shape[1] if self.rotation is None else self.rotation.shape[1] + 1
        self.floor = threshold - _rounding(axes)
        self.tile = TILES[device()]
        self._local = threading.local()

    def __enter__(self) -> "Cosine":
        import torch

        self._before = torch.get_num_threads()
        self.threads = 1 if device() == "cuda" else self._before
        torch.set_num_threads(1)
        self._pool = ThreadPoolExecutor(self.threads)
        return self

    def __exit__(self, *error: object) -> None:
        import torch

        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._before)

    def points(self, vectors: Vectors) -> Points:
        """Prepares embeddings for comparison with this threshold and rotation."""
        return Points(vectors, self.rotation)

    def in_parallel(self, work: Callable[[T], R], over: Iterable[T]) -> list[R]:
        """Applies a function to each item on several threads; returns the results in order."""
        return list(self._pool.map(work, over))

    def first(self, kept: Points, of: Index, others: Points, rows: Index) -> Index:
        """Returns for each row the position in `of` of the first kept row that it is similar to, or -1: int64 (n,).

        Args:
            kept: the embeddings of the kept rows.
            of: int64 (m,), indices of the kept rows in `kept`.
            others: the embeddings of the rows to be looked up.
            rows: int64 (n,), indices of these rows in `others`.
        """
        parts = self.in_parallel(lambda part: self.first_of_few(kept, of, others, part), self.tiles(rows))
        return np.concatenate([np.empty(0, np.int64), *parts])

    def tiles(self, rows: Index) -> list[Index]:
        """Splits rows into tiles of the size that `first_of_few` takes."""
        return [rows[at : at + self.tile[0]] for at in range(0, len(rows), self.tile[0])]

    def first_of_few(self, kept: Points, of: Index, others: Points, rows: Index) -> Index:
        """Does the work of `first` on this thread alone, for at most a tile of rows: int64 (n,)."""
        result = np.full(len(rows), -1, np.int64)
        for start in range(0, len(of), self.tile[1]):
            left = np.flatnonzero(result < 0)
            if not len(left):
                break
            i, j = self._pairs(others, rows[left], kept, of[start : start + self.tile[1]])
            matched, where = np.unique(i, return_index=True)
            result[left[matched]] = start + j[where]
        return result

    def group(self, points: Points, rows: Index) -> Index:
        """Groups near-duplicates around kept images, greedily in rank order.

        Args:
            points: the embeddings.
            rows: int64 (n,), indices of the rows in `points`, best first.

        Returns:
            int64 (n,): for each row the position in `rows` of the kept row of its group; -1 for a kept row.
        """
        return self._star(points, rows, max(self.tile[1], 2 * self.threads * self.tile[0]))

    def _star(self, points: Points, rows: Index, at_once: int) -> Index:
        result, kept = np.full(len(rows), -1, np.int64), np.empty(len(rows), np.int64)
        count = 0
        for start in range(0, len(rows), at_once):
            block = np.arange(start, min(start + at_once, len(rows)))
            first = self.first(points, rows[kept[:count]], points, rows[block])
            result[block] = np.where(first < 0, -1, kept[first])
            left = block[first < 0]
            small = at_once <= self.tile[1]
            among = self._walk(points, rows[left]) if small else self._star(points, rows[left], self.tile[1])
            result[left] = np.where(among < 0, -1, left[among])
            new = left[among < 0]
            kept[count : count + len(new)] = new
            count += len(new)
        return result

    def _walk(self, points: Points, rows: Index) -> Index:
        """Returns the groups of few rows, as `group` does, from all their pairs."""
        of = [-1] * len(rows)
        for start in range(0, len(rows), self.tile[0]):
            i, j = self._pairs(points, rows[start : start + self.tile[0]], points, rows[start:])
            for better, worse in zip((start + i[j > i]).tolist(), (start + j[j > i]).tolist(), strict=True):
                if of[worse] < 0 and of[better] < 0:  # all that could make a duplicate of `better` came before
                    of[worse] = better
        return np.array(of, np.int64)

    def seconds(self, points: Points, rows: Index) -> float:
        """Measures on a tile of these rows how many seconds one comparison of two rows takes on this machine."""
        few, many = rows[: self.tile[0]], rows[-self.tile[1] :]
        times = []
        for _ in range(5):
            began = time.perf_counter()
            self._pairs(points, few, points, many)
            times.append(time.perf_counter() - began)
        return sorted(times)[2] / max(1, len(few) * len(many)) / self.threads

    def _room(self, of: Points, shape: tuple[int, int]) -> "torch.Tensor":
        """Returns this thread's buffer for the bounds of a tile, which is allocated only once."""
        import torch

        if not hasattr(self._local, "room"):
            self._local.room = torch.empty(self.tile[0] * self.tile[1], device=of.device)
        return self._local.room[: shape[0] * shape[1]].view(shape)

    def _pairs(self, a: Points, i: Index, b: Points, j: Index) -> tuple[Index, Index]:
        """Returns the positions in `i` and `j` of all similar pairs, in order, for at most a tile: int64 each."""
        import torch

        left, right = a.reduced(i), b.reduced(j)
        bounds = torch.mm(left, right.T, out=self._room(a, (len(i), len(j))))
        some = torch.nonzero(bounds.amax(1) >= self.floor)[:, 0]
        if not len(some):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        near = bounds[some] >= self.floor
        hit = some.cpu().numpy()
        if int(near.count_nonzero()) * DENSE > near.numel():
            return self._all(a, i, b, j, hit)
        at, to = (x.cpu().numpy() for x in torch.nonzero(near, as_tuple=True))
        at = hit[at]
        similar = self._decide(a, i[at], b, j[to])
        return at[similar], to[similar]

    def _decide(self, a: Points, i: Index, b: Points, j: Index) -> NDArray[np.bool_]:
        """Returns whether a[i] and b[j] are similar, pair by pair: bool (n,)."""
        return _products(a.vectors, i, b.vectors, j) >= a.lengths[i] * b.lengths[j] * self.threshold

    def _all(self, a: Points, i: Index, b: Points, j: Index, hit: Index) -> tuple[Index, Index]:
        """Returns all similar pairs of the rows `i[hit]` and `j`, computing each pair in full."""
        import torch

        left = torch.from_numpy(a.vectors[i[hit]]).to(a.device).double()
        right = torch.from_numpy(b.vectors[j]).to(a.device).double()
        lengths = torch.from_numpy(a.lengths[i[hit], None] * b.lengths[j]).to(a.device)
        at, to = torch.nonzero(left @ right.T >= lengths * self.threshold, as_tuple=True)
        return hit[at.cpu().numpy()], to.cpu().numpy()


def between(vectors: Vectors, i: Index, j: Index) -> NDArray[np.float32]:
    """Computes the cosines of pairs of rows: float32 (n,).

    Args:
        vectors: float16 (m, width); the rows of the pairs must not be zero.
        i, j: int64 (n,), the rows of each pair.
    """
    products, own, others = (_products(vectors, a, vectors, b) for a, b in ((i, j), (i, i), (j, j)))
    return (products / np.sqrt(own * others)).astype(np.float32)


def _products(a: Vectors, i: Index, b: Vectors, j: Index) -> NDArray[np.float64]:
    """Computes exact dot products of a[i] and b[j], pair by pair: float64 (n,)."""
    import torch

    result = np.empty(len(i))
    for start in range(0, len(i), _STEP):
        part = slice(start, start + _STEP)
        result[part] = (torch.from_numpy(a[i[part]]).double() * torch.from_numpy(b[j[part]]).double()).sum(1).numpy()
    return result


def choose_rotation(sample: Vectors, threshold: float) -> "torch.Tensor | None":
    """Chooses the rotation into the first k principal axes of a sample, with the k that makes comparing cheapest.

    Args:
        sample: float16 (n, width), evenly spaced rows.
        threshold: minimum cosine of similar vectors.

    Returns:
        float64 (width, k), orthonormal; None if comparing by all dimensions is cheapest.
    """
    import torch

    unit = torch.from_numpy(sample).double()
    unit = unit / unit.norm(dim=1, keepdim=True).clamp(min=1e-9)
    axes = torch.linalg.eigh(unit.T @ unit).eigenvectors.flip(1)
    best, least = None, float(sample.shape[1])
    for count in (k for k in AXES if k < sample.shape[1] / 2):
        reduced = _reduce(unit, axes[:, :count])
        floor = threshold - _rounding(count + 1)
        tiles = reduced.split(TILES["cpu"][0])
        near = sum(int((part @ reduced.T >= floor).count_nonzero()) for part in tiles) - len(reduced)
        cost = count + _PAIR * near / len(reduced) ** 2
        if cost + _OVERHEAD < least:
            best, least = axes[:, :count].contiguous(), cost
    return best


def _reduce(unit: "torch.Tensor", rotation: "torch.Tensor") -> "torch.Tensor":
    """Returns the prefix of each unit vector, then the length of its remainder, rounded up: float32 (n, k + 1)."""
    import torch

    prefix = unit @ rotation
    remainder_length = (1 - prefix.square().sum(1, keepdim=True)).clamp(min=0).add(1e-9).sqrt()
    remainder_length[(unit == 0).all(1)] = 0
    return torch.cat([prefix, remainder_length], 1).float()


def _rounding(axes: int) -> float:
    """Returns the largest error that rounding can cause in a bound of float32 numbers (Higham 2002, section 3.1)."""
    import torch

    exact = (
        torch.get_float32_matmul_precision() == "highest"
    )  # else numbers are cut to 8 bits before they are multiplied
    return (axes + 8) * 2.0**-23 + (0 if exact else 2.0**-6)
