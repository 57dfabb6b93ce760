"""Groups unit vectors by spherical k-means, around the directions of the groups' means (Dhillon & Modha 2001).

The groups are the same for any number of threads, block size and device, although matrix products are not:
- A float16 of magnitude one or less is an integer multiple of 2^-24. So float64 adds as many as 2^29 of them without
rounding, in any order, and subtracts again those that have moved to another group.
- float32 decides which centroid is nearest if the nearest two are farther apart than its possible error. Otherwise
(about one row in a hundred) float64 decides: centroids within 1e-12 count as equally near, and the first one is taken.
- Seeds are rows, and the product of two rows is a sum of multiples of 2^-48, which float64 holds without rounding too.

Compared with faiss 1.15 on one thread, 1,000 clusters of 1,000,000 x 768 (`python -m tests.benchmarks.kmeans`): ours
takes 103 CPU s, and faiss 105 s from k-means++ and 82 s from random rows, its mean of 1 - cosine being 0.2 % smaller
and 2.8 % larger; ours needs 0.5 GB less. Of 100,000 rows, two threads in place of one changed centroids and 17 labels
of faiss from random rows; from k-means++ they changed nothing, but float32 products promise no such thing. Ours gave
the same bytes, and runs on a GPU too, where faiss-cpu does not.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curation.scoring.vectors import Vectors

if TYPE_CHECKING:
    import torch


Centroids = NDArray[np.float32]
Labels = NDArray[np.int32]
Tick = Callable[[int], None]
"""A function that takes the number of further rows that were compared with all centroids."""

ITERATIONS = 20
"""Maximum number of iterations."""
SETTLED = 1000
"""Iteration stops when at most one row in this many has moved to another group."""
SEED_ROWS = 16
"""Number of rows for each group from which the seeds are chosen."""
_DRAWN = 1024  # seeds that are drawn at once
_TIE = 1e-12
_PRODUCTS = {"cpu": 1 << 21, "cuda": 1 << 26}  # of rows and centroids, worked out at once


def fit(vectors: Vectors, groups: int, seed: int = 0, device: str = "cpu", tick: Tick = lambda rows: None) -> Centroids:
    """Finds centroids by Lloyd's iteration, from seeds chosen by k-means++.

    Args:
        vectors: float16 (n, width), of length about 1.
        groups: number of groups wanted; fewer are found if there are fewer vectors.
        seed: random seed for choosing the seeds of the groups.
        device: `cpu` or `cuda`, on which the products are computed.
        tick: a function that is called after each block of rows with the number of its rows.

    Returns:
        float32 (groups, width), of length 1.

    Raises:
        ValueError: there are no vectors.
    """
    import torch

    if not len(vectors):
        raise ValueError("no vectors to find groups of")
    rows = torch.from_numpy(vectors)
    centroids = choose_seeds(rows, min(groups, len(rows)), seed, device)
    shape = len(centroids), rows.shape[1]
    sums = torch.zeros(shape, dtype=torch.float64, device=device)
    labels = torch.full((len(rows),), -1, dtype=torch.int64)
    for _ in range(ITERATIONS):
        moved = 0
        with closing(_all_nearest(rows, centroids, device)) as blocks:
            for part, nearest in blocks:
                moved += _move(rows[part].to(device), labels[part], nearest, sums)
                tick(len(nearest))
        centroids = mean_directions(sums, labels, rows)
        if moved * SETTLED <= len(rows):
            break
    return centroids.numpy()


def assign(vectors: Vectors, centroids: Centroids, device: str = "cpu", tick: Tick = lambda rows: None) -> Labels:
    """Returns the number of the nearest centroid of each vector: int32 (n,).

    Args:
        vectors: float16 (n, width), of length about 1.
        centroids: float32 (groups, width), of length 1.
        device, tick: the same as for `fit`.
    """
    import torch

    labels = np.empty(len(vectors), np.int32)
    with closing(_all_nearest(torch.from_numpy(vectors), torch.from_numpy(centroids), device)) as blocks:
        for part, nearest in blocks:
            labels[part] = nearest.numpy()
            tick(len(nearest))
    return labels


def rate(groups: int, width: int, device: str = "cpu", seconds: float = 2.0) -> float:
    """Measures how many rows a second this machine compares with all centroids, on noise.

    Args:
        groups: number of centroids.
        width: number of values of a vector.
        device: `cpu` or `cuda`.
        seconds: approximate duration of the measurement.
    """
    import torch

    noise = torch.Generator().manual_seed(0)
    count = 2 * _workers(device) * next(_blocks(1 << 30, groups, device)).stop
    rows, centroids = (
        torch.nn.functional.normalize(torch.randn(n, width, generator=noise)).numpy() for n in (count, groups)
    )
    halves, done = rows.astype(np.float16), 0
    assign(halves[: count // 2], centroids, device)  # warms up
    began = time.monotonic()
    while not done or time.monotonic() - began < seconds:
        assign(halves, centroids, device)
        done += count
    return done / (time.monotonic() - began)


def _workers(device: str) -> int:
    """Returns the number of blocks that are processed in parallel."""
    import torch

    return torch.get_num_threads() if device == "cpu" else 1


def _blocks(rows: int, groups: int, device: str) -> Iterator[slice]:
    step = max(64, _PRODUCTS[device] // groups)
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def _all_nearest(
    rows: "torch.Tensor", centroids: "torch.Tensor", device: str
) -> "Generator[tuple[slice, torch.Tensor]]":
    """Yields, block after block, a slice of the rows and the nearest centroid of each: int64 (n,), on the CPU.

    Each core has a block of its own, and takes the next one when it is done. If all cores shared a block, they would
    wait for each other at every step, and for any core that something else keeps busy.
    """
    import torch

    on_device = centroids.to(device)
    finer = on_device.double()

    def work(part: slice) -> "torch.Tensor":
        return _nearest(rows[part].to(device).float(), on_device, finer).cpu()

    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(_workers(device))
    torch.set_num_threads(1)
    try:
        parts = list(_blocks(len(rows), len(centroids), device))
        yield from zip(parts, pool.map(work, parts), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _nearest(rows: "torch.Tensor", centroids: "torch.Tensor", finer: "torch.Tensor") -> "torch.Tensor":
    """Returns the nearest centroid of each row: int64 (n,).

    Args:
        rows: float32 (n, width).
        centroids: float32 (groups, width).
        finer: the same centroids in float64.
    """
    import torch

    products = rows @ centroids.T
    nearest = _argmax(products)[:, None]
    best = products.gather(1, nearest)
    second = products.scatter_(1, nearest, -math.inf).amax(1, keepdim=True)
    # A product of float32 vectors of length 1 is wrong by width * 2^-24 at most, in whatever order it is summed up
    # (Higham 2002, section 3.1); the lengths, which float16 has rounded, are within one in a hundred.
    unsure = (best - second <= 2.02 * rows.shape[1] * 2**-24)[:, 0].nonzero()[:, 0]
    if len(unsure):
        exact = rows[unsure].double() @ finer.T
        as_near = exact >= exact.amax(1, keepdim=True) - _TIE
        first = torch.arange(len(finer), 0, -1, device=exact.device)
        nearest[unsure, 0] = (as_near * first).argmax(1)
    return nearest[:, 0]


def _argmax(products: "torch.Tensor") -> "torch.Tensor":
    """Returns the position of each row's largest value; on a CPU by numpy, which takes an eighth of torch's time."""
    import torch

    return products.argmax(1) if products.is_cuda else torch.from_numpy(products.numpy().argmax(1))


def _move(rows: "torch.Tensor", labels: "torch.Tensor", nearest: "torch.Tensor", sums: "torch.Tensor") -> int:
    """Replaces the labels of a block by the new ones and updates the groups' sums; returns how many rows have moved."""
    now = nearest.to(labels.device)
    moved = (now != labels).nonzero()[:, 0]
    left = moved[labels[moved] >= 0]  # in the first round no row was in any group
    sums.index_add_(0, now[moved].to(sums.device), rows[moved.to(rows.device)].double())
    sums.index_add_(0, labels[left].to(sums.device), rows[left.to(rows.device)].double(), alpha=-1)
    labels.copy_(now)
    return len(moved)


def mean_directions(sums: "torch.Tensor", labels: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
    """Returns the direction of each sum, or that of a member of a large group if a sum is 0: float32 (groups, width).

    It is computed by numpy on one thread, since the sums that torch computes may depend on the number of threads.

    Args:
        sums: float64 (groups, width), the sum of the members of each group.
        labels: int64 (n,), the group of each row.
        rows: float16 (n, width).
    """
    import torch

    whole = sums.cpu().numpy().copy()
    nowhere = np.flatnonzero(~whole.any(1))  # sums are exact: a group that has lost its last row is at 0
    if len(nowhere):
        _, first, counts = np.unique(labels.numpy(), return_index=True, return_counts=True)
        largest = first[np.argsort(-counts, kind="stable")]
        whole[nowhere] = rows.numpy()[largest[np.arange(len(nowhere)) % len(largest)]]
    whole /= np.sqrt(np.square(whole).sum(1, keepdims=True))
    return torch.from_numpy(whole.astype(np.float32))


def choose_seeds(rows: "torch.Tensor", groups: int, seed: int, device: str) -> "torch.Tensor":
    """Returns rows that lie far apart: float32 (groups, width), of length 1, or fewer if fewer rows are distinct.

    Each of some evenly spaced rows is chosen with a probability proportional to the square of its distance from the
    nearest row that is chosen already (k-means++, Arthur & Vassilvitskii 2007). Many rows are drawn at a time; a row
    that is nearer to one drawn before it is rejected with a probability that makes up for the smaller square.

    Args:
        rows: float16 (n, width), of length about 1.
        groups: number of seeds wanted.
        seed: random seed.
        device: `cpu` or `cuda`, on which the products are computed.
    """
    import torch

    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), SEED_ROWS * groups)).astype(np.int64)]
    squares = torch.cat([some[part].double().square().sum(1) for part in _blocks(len(some), groups, device)]).numpy()
    random = np.random.default_rng(seed)
    new = chosen = random.integers(len(some), size=1)
    distance = np.full(len(some), math.inf)
    while True:
        finer = some[new].to(device).double()
        for part in _blocks(len(some), len(new), device):
            products = (some[part].to(device).double() @ finer.T).cpu().numpy()
            away = squares[part, None] + squares[new] - 2 * products
            distance[part] = np.minimum(distance[part], away.min(1))
        until = np.cumsum(distance)
        if len(chosen) == groups or not until[-1]:
            return torch.nn.functional.normalize(some[chosen].double()).float()
        wanted = min(groups - len(chosen), len(chosen), _DRAWN)
        drawn = np.searchsorted(until[:-1], random.random(wanted) * until[-1], side="right")
        finer = some[drawn].double()
        away = squares[drawn, None] + squares[drawn] - 2 * (finer @ finer.T).numpy()
        new = drawn[_thinned(distance[drawn], away, random.random(wanted))]
        chosen = np.concatenate([chosen, new])


def _thinned(before: NDArray[np.float64], away: NDArray[np.float64], chances: NDArray[np.float64]) -> list[int]:
    """Returns the positions of the rows drawn together that would also have been drawn one after the other.

    Args:
        before: float64 (n,), squared distance of each row from the seeds chosen before the draw.
        away: float64 (n, n), squared distances among the rows.
        chances: float64 (n,), uniform random numbers from 0 to 1.
    """
    kept: list[int] = []
    for at, chance in enumerate(chances):
        if chance * before[at] < away[at, kept].min(initial=before[at]):
            kept.append(at)
    return kept
