"""Spherical k-means: groups that are there are found, the same on any number of threads, and none is left empty."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from curation.scoring.vectors import Vectors
from curation.selection.balance import kmeans


def unit(vectors: np.ndarray) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def mixture(rows: int, groups: int, width: int = 64, spread: float = 0.5) -> tuple[Vectors, np.ndarray]:
    """Vectors around centres of uneven weight, the last one half of the first, and which centre each is of."""
    rng = np.random.default_rng(0)
    weights = np.linspace(2, 1, groups)
    of = rng.choice(groups, rows, p=weights / weights.sum())
    centres = unit(rng.normal(size=(groups, width)))
    return unit(centres[of] + rng.normal(size=(rows, width)) * spread / np.sqrt(width)), of


def cosine(vectors: Vectors, centroids: np.ndarray, labels: np.ndarray) -> float:
    return float(np.einsum("nd,nd->n", vectors.astype(np.float64), centroids[labels].astype(np.float64)).mean())


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_groups_that_lie_apart_are_found() -> None:
    vectors, of = mixture(3000, 12, spread=0.1)
    centroids = kmeans.fit(vectors, 12)
    labels = kmeans.assign(vectors, centroids)
    assert centroids.shape == (12, 64) and centroids.dtype == np.float32
    assert np.allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-6)
    assert len({(a, b) for a, b in zip(of.tolist(), labels.tolist(), strict=True)}) == 12  # one to one


def test_every_row_is_put_to_the_nearest_centroid() -> None:
    vectors, _ = mixture(2000, 40, spread=1.5)
    centroids = kmeans.fit(vectors, 30)
    products = vectors.astype(np.float64) @ centroids.astype(np.float64).T
    labels = kmeans.assign(vectors, centroids)
    assert labels.dtype == np.int32
    assert (products[np.arange(2000), labels] >= products.max(1) - 1e-12).all()


def test_equally_near_centroids_are_told_apart_by_their_number_alone() -> None:
    rng = np.random.default_rng(0)
    far = unit(rng.normal(size=(5, 64))).astype(np.float32)
    near = unit(rng.normal(size=(1, 64))).astype(np.float32)
    centroids = np.concatenate([far[:2], near, far[2:], near, near])
    assert (kmeans.assign(np.repeat(near.astype(np.float16), 500, 0), centroids) == 2).all()


@pytest.mark.usefixtures("threads")
def test_the_groups_depend_on_neither_threads_nor_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = mixture(3000, 100, spread=1.5)
    found = []
    for count, products in ((1, 1 << 22), (2, 1 << 20), (2, 1 << 15), (1, 12_345)):
        torch.set_num_threads(count)
        monkeypatch.setitem(kmeans._PRODUCTS, "cpu", products)
        centroids = kmeans.fit(vectors, 60)
        found.append((centroids.tobytes(), kmeans.assign(vectors, centroids).tobytes()))
    assert len(set(found)) == 1


def test_rows_that_float32_cannot_decide_are_decided_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise of the size that float32 may be wrong by, put onto every product, changes no label."""
    vectors, _ = mixture(2000, 50, spread=2.0)
    centroids = kmeans.fit(vectors, 50)
    twins = centroids + np.random.default_rng(2).normal(size=centroids.shape) * 1e-7
    centroids = np.concatenate([centroids, twins.astype(np.float32)])
    wanted = kmeans.assign(vectors, centroids)
    rng = np.random.default_rng(1)
    products = torch.Tensor.__matmul__
    flips = 0

    def wrong(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        nonlocal flips
        right = products(a, b)
        if right.dtype != torch.float32:
            return right
        off = torch.from_numpy(rng.uniform(-1, 1, right.shape).astype(np.float32)) * 64 * 2**-24
        flips += int((right.argmax(1) != (right + off).argmax(1)).sum())
        return right + off

    monkeypatch.setattr(torch.Tensor, "__matmul__", wrong)
    assert (kmeans.assign(vectors, centroids) == wanted).all() and flips > 100


def test_float64_adds_up_halves_without_rounding() -> None:
    """What makes sums independent of their order: the smallest and the largest part of a vector side by side."""
    values = np.array([1.0, 2.0**-24, -1.0, 0.3333, 2.0**-14] * 20_000).astype(np.float16).astype(np.float64)
    shuffled = np.random.default_rng(0).permutation(values)
    assert values.sum() == shuffled.sum() == np.cumsum(values)[-1]


def test_the_same_seed_gives_the_same_and_another_one_another() -> None:
    vectors, _ = mixture(1000, 100, spread=1.5)
    first, again, other = (kmeans.fit(vectors, 20, seed).tobytes() for seed in (0, 0, 1))
    assert first == again != other


def test_an_emptied_group_is_made_of_a_large_one() -> None:
    vectors, _ = mixture(500, 3, spread=0.3)
    rows = torch.from_numpy(vectors)
    labels = torch.zeros(500, dtype=torch.int64)
    labels[:3] = 2
    sums = torch.zeros(4, 64, dtype=torch.float64).index_add_(0, labels, rows.double())
    centroids = kmeans.mean_directions(sums, labels, rows).numpy()
    member = vectors[3].astype(np.float64)
    assert np.allclose(centroids[1], member / np.linalg.norm(member), atol=1e-6)  # the first of the largest group
    assert np.allclose(centroids[3], vectors[0] / np.linalg.norm(vectors[0].astype(np.float64)), atol=1e-3)
    assert np.allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("distinct", "copies", "groups"), [(1, 1, 5), (1, 100, 5), (3, 50, 5), (5, 1, 5), (4, 3, 2)])
def test_few_different_vectors_give_few_groups(distinct: int, copies: int, groups: int) -> None:
    vectors = np.tile(unit(np.random.default_rng(0).normal(size=(distinct, 16))), (copies, 1))
    centroids = kmeans.fit(vectors, groups)
    assert len(centroids) == min(distinct, groups) and np.isfinite(centroids).all()
    labels = kmeans.assign(vectors, centroids)
    assert len(set(labels.tolist())) == min(distinct, groups)
    assert (labels.reshape(copies, distinct) == labels[:distinct]).all()


def test_no_group_is_left_empty_where_there_are_enough_vectors() -> None:
    vectors, _ = mixture(2000, 20, spread=0.8)
    labels = kmeans.assign(vectors, kmeans.fit(vectors, 100))
    assert np.bincount(labels, minlength=100).min() > 0


def test_seeds_lie_apart() -> None:
    """Fifty tight clumps: seeds at random miss a third of them (1/e); these miss none."""
    rng = np.random.default_rng(0)
    centres = unit(rng.normal(size=(50, 64)))
    vectors = unit(np.repeat(centres, 40, 0) + rng.normal(size=(2000, 64)) * 0.002)
    seeds = kmeans.choose_seeds(torch.from_numpy(vectors), 50, 0, "cpu").numpy()
    assert len(set(kmeans.assign(seeds.astype(np.float16), centres.astype(np.float32)).tolist())) == 50
    centroids = kmeans.fit(vectors, 50)
    assert cosine(vectors, centroids, kmeans.assign(vectors, centroids)) > 0.999


def test_more_rounds_make_it_better() -> None:
    vectors, _ = mixture(5000, 100, spread=1.5)
    seeds = kmeans.choose_seeds(torch.from_numpy(vectors), 50, 0, "cpu").numpy()
    found = kmeans.fit(vectors, 50)
    before, after = (cosine(vectors, c, kmeans.assign(vectors, c)) for c in (seeds, found))
    assert after > before + 0.02


def test_rows_are_counted_as_they_are_compared() -> None:
    vectors, _ = mixture(3000, 20, spread=1.5)
    counted: list[int] = []
    centroids = kmeans.fit(vectors, 20, tick=counted.append)
    rounds, rest = divmod(sum(counted), 3000)
    assert 2 <= rounds <= kmeans.ITERATIONS and rest == 0
    counted.clear()
    kmeans.assign(vectors, centroids, tick=counted.append)
    assert sum(counted) == 3000
    assert kmeans.rate(20, 64, seconds=0.05) > 1000


def test_an_interruption_leaves_no_thread_behind() -> None:
    vectors, _ = mixture(20_000, 20, spread=1.5)
    before = threading.active_count(), torch.get_num_threads()

    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kmeans.fit(vectors, 500, tick=stop)
    assert (threading.active_count(), torch.get_num_threads()) == before


def test_no_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="no vectors"):
        kmeans.fit(np.empty((0, 8), np.float16), 3)
    assert kmeans.assign(np.empty((0, 8), np.float16), np.eye(8, dtype=np.float32)).shape == (0,)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_gives_the_same_groups() -> None:
    vectors, _ = mixture(20_000, 300, spread=1.5, width=256)
    centroids = {d: kmeans.fit(vectors, 100, device=d) for d in ("cpu", "cuda")}
    assert centroids["cpu"].tobytes() == centroids["cuda"].tobytes()
    labels = [kmeans.assign(vectors, centroids["cpu"], d).tobytes() for d in ("cpu", "cuda")]
    assert labels[0] == labels[1]
