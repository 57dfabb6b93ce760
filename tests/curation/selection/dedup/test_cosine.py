"""Similar embeddings: against brute force, at ties, whatever the blocks and threads, and by cells of many."""

import time
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.selection.dedup import cosine, inverted_lists, search
from curation.selection.dedup.cosine import Cosine, between, choose_rotation
from curation.selection.dedup.inverted_lists import InvertedLists

WIDTH = 96


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16)


def axes(width, power):
    return np.arange(1, width + 1, dtype=np.float32) ** -power


def planted(seed, n, width=WIDTH, power=0.5, copies=0.3, low=0.9):
    """Unrelated directions of mean cosine 0.3, and copies of some of them at cosines from `low` to 1; in any order.

    Copies differ along the axes along which the others do, as pictures do and noise does not.
    """
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, width), dtype=np.float32) * axes(width, power)
    rows[:, -1] = np.linalg.norm(rows[:, :-1], axis=1) * np.sqrt(3 / 7)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    count = int(n * copies)
    source = rows[rng.integers(0, n - count, count) ** 2 // n]  # some have many copies
    away = rng.standard_normal((count, width), dtype=np.float32) * axes(width, power)
    away -= (away * source).sum(1, keepdims=True) * source
    cosines = rng.uniform(low, 1, (count, 1)).astype(np.float32)
    rows[n - count :] = cosines * source + np.sqrt(1 - cosines**2) * away / np.linalg.norm(away, axis=1, keepdims=True)
    return unit(rows)[rng.permutation(n)]


def similar_by_definition(vectors, threshold):
    """Returns what `similar_rows` must return, by the definition: compares each row with every kept one, in float64."""
    exact = vectors.astype(np.float64)
    lengths = np.sqrt((exact**2).sum(1))
    result, kept = np.full(len(exact), -1, np.int64), np.zeros(len(exact), np.bool_)
    for i in range(len(exact)):
        if i % 500 == 0:
            least = (threshold - 1e-12) * np.outer(lengths[i : i + 500], lengths[: i + 500])
            close = exact[i : i + 500] @ exact[: i + 500].T >= least
        of = np.flatnonzero(close[i % 500, :i] & kept[:i])
        if lengths[i] and len(of):
            result[i] = of[0]
        kept[i] = lengths[i] > 0 and not len(of)
    return result


def similar_rows(vectors, threshold):
    """Returns for each row the first kept row that is as similar as the threshold, -1 if there is none."""
    return search.similar(vectors, np.arange(len(vectors)), threshold)


@pytest.fixture(autouse=True)
def threads():
    """One thread, if a test asks for no more: matrices here are so small that several wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "threshold"), [(20_000, 0.95), (6000, 0.9), (6000, 0.99), (3000, 0.95)])
def test_similar_rows_are_those_by_definition(n, threshold):
    vectors = planted(1, n)
    vectors[::97] = 0
    vectors[5:2000:200] = vectors[3]  # equal ones
    result = similar_rows(vectors, threshold)
    assert result.dtype == np.int64 and 0.02 * n < (result >= 0).sum() < 0.4 * n
    np.testing.assert_array_equal(result, similar_by_definition(vectors, threshold))


def test_some_of_the_rows():
    vectors = planted(2, 3000)
    rows = np.random.default_rng(0).permutation(3000)[:1000]
    np.testing.assert_array_equal(search.similar(vectors, rows, 0.95), similar_by_definition(vectors[rows], 0.95))


def test_a_bound_is_used_where_it_pays_and_misses_nothing_where_it_hardly_does():
    assert choose_rotation(planted(1, 4000), 0.95).shape == (WIDTH, 16)
    rng = np.random.default_rng(0)
    alike = unit(rng.standard_normal((5000, WIDTH)))  # every axis is worth the same
    assert choose_rotation(alike[:4096], 0.5) is None
    np.testing.assert_array_equal(similar_rows(alike, 0.5), similar_by_definition(alike, 0.5))


def whole(seed, n):
    """Vectors of a few small whole numbers, times 2^-3: very many cosines of exactly 3/4."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((n, WIDTH), np.float16)
    np.put_along_axis(rows, rng.integers(0, 12, (n, 4)), 1 / 8, axis=1)
    return rows


def test_ties_are_decided_by_the_exact_product(monkeypatch, threads):
    """Pairs at the very threshold stay together whatever is compared at once, by one thread or several."""
    vectors = whole(0, 3000)
    counts = (vectors.astype(np.float64) * 8).astype(int)
    at = [
        Fraction(int(a @ b) ** 2, int(a @ a) * int(b @ b)) == Fraction(9, 16)
        for a, b in zip(counts, counts[1:], strict=False)
    ]
    assert sum(at) > 50
    expected = similar_by_definition(vectors, 0.75)
    assert len(np.unique(expected)) > 20
    monkeypatch.setattr(cosine, "SAMPLE", 200)
    monkeypatch.setattr(cosine, "_PAIR", 0.0)  # so that the bound is used, whether or not it pays
    for tile in ((512, 2048), (29, 13), (64, 5000)):
        for dense in (0, 32, 1 << 62):  # never, sometimes and always as one product
            for count in (1, 2):
                monkeypatch.setitem(cosine.TILES, "cpu", tile)
                monkeypatch.setattr(cosine, "DENSE", dense)
                threads(count)
                np.testing.assert_array_equal(similar_rows(vectors[:300], 0.75), expected[:300])
    np.testing.assert_array_equal(similar_rows(vectors, 0.75), expected)


@pytest.mark.parametrize("dense", [0, 1 << 62])
def test_pairs_a_billionth_from_the_threshold_are_told_apart(monkeypatch, dense):
    """Pairs of one cosine, each with its numbers in another order: products in float32 would differ from pair to pair."""
    rng = np.random.default_rng(0)
    pair = planted(0, 2)
    pair[1] = unit((pair[0] + 0.3 * pair[1]).astype(np.float32)[None])[0]
    vectors = np.concatenate([pair[:, rng.permutation(WIDTH)] for _ in range(300)])
    a, b = pair.astype(np.float64)
    at = float(a @ b / np.sqrt((a @ a) * (b @ b)))
    monkeypatch.setattr(cosine, "DENSE", dense)
    together = np.where(np.arange(600) % 2, np.arange(600) - 1, -1)
    np.testing.assert_array_equal(similar_rows(vectors, at), together)
    np.testing.assert_array_equal(similar_rows(vectors, at - 1e-9), together)
    assert (similar_rows(vectors, at + 1e-9) == -1).all()


def test_the_result_does_not_hang_on_blocks_or_threads(monkeypatch, threads):
    vectors = planted(3, 2500)
    expected = similar_rows(vectors, 0.95)
    monkeypatch.setattr(cosine, "SAMPLE", 1000)
    for tile, count in (((100, 300), 1), ((100, 300), 2), ((2000, 100), 2)):
        monkeypatch.setitem(cosine.TILES, "cpu", tile)
        threads(count)
        np.testing.assert_array_equal(similar_rows(vectors, 0.95), expected)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_products_of_less_precision_miss_nothing(precision):
    """Another part of the program may have allowed matrix products of 8 bits a number."""
    vectors = planted(4, 6000)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        result = similar_rows(vectors, 0.95)
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(result, similar_by_definition(vectors, 0.95))


def grown(rows):
    return np.array([np.bincount(at, minlength=WIDTH)[:WIDTH] for at in rows], np.float64).reshape(-1, WIDTH)


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=25), st.sampled_from([0.5, 0.75, 0.9, 1.0]))
@settings(max_examples=60, deadline=None)
def test_similar_property(rows, threshold):
    vectors = (grown(rows) / 8).astype(np.float16)
    np.testing.assert_array_equal(similar_rows(vectors, threshold), similar_by_definition(vectors, threshold))
    half = vectors[: len(vectors) // 2]
    listed = search.similar_listed(vectors, np.arange(len(vectors)), half, threshold)
    for i, found in enumerate(listed):
        alike = [bool(similar_by_definition(np.stack([v, vectors[i]]), threshold)[1] == 0) for v in half]
        assert found == (alike.index(True) if True in alike else -1)


def turned(*degrees):
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float16)


def test_no_chaining_and_the_best_kept_row_is_named():
    limit = np.cos(np.radians(10.5))
    assert similar_rows(turned(0, 10, 20), limit).tolist() == [-1, 0, -1]
    assert similar_rows(turned(0, 20, 10), limit).tolist() == [-1, -1, 0]  # near both: of the better
    # Near a duplicate: that counts for nothing.
    assert similar_rows(turned(0, 10, 15, 19), limit).tolist() == [-1, 0, -1, 2]


def test_rows_without_an_embedding_join_nothing():
    vectors = turned(0, 0, 0, 0)
    vectors[[0, 2]] = 0
    assert similar_rows(vectors, 0.95).tolist() == [-1, -1, -1, 1]
    assert search.similar_listed(vectors, np.arange(4), vectors[:3], 0.95).tolist() == [-1, 1, -1, 1]
    assert similar_rows(np.zeros((5000, WIDTH), np.float16), 0.95).tolist() == [-1] * 5000


def test_a_threshold_of_one_joins_equal_vectors():
    vectors = planted(5, 500)
    vectors[250:] = vectors[:250]
    result = similar_rows(vectors, 1.0)
    np.testing.assert_array_equal(result[250:], np.arange(250))


@pytest.mark.parametrize("n", [0, 1])
def test_empty_and_one_row(n):
    vectors = turned(*[5] * n) if n else np.empty((0, 2), np.float16)
    assert similar_rows(vectors, 0.95).tolist() == [-1] * n
    assert search.similar_listed(vectors, np.arange(n), turned(5), 0.95).tolist() == [0] * n
    assert search.similar_listed(vectors, np.arange(n), np.empty((0, 2), np.float16), 0.95).tolist() == [-1] * n


def test_listed_is_the_first_entry_by_brute_force():
    vectors, listed = planted(6, 6000), planted(6, 6000)[::7]
    exact = vectors.astype(np.float64) @ listed.astype(np.float64).T
    lengths = [np.sqrt((v.astype(np.float64) ** 2).sum(1)) for v in (vectors, listed)]
    close = exact >= np.outer(*lengths) * (0.95 - 1e-12)
    expected = np.where(close.any(1), close.argmax(1), -1)
    assert (expected >= 0).sum() > 800
    np.testing.assert_array_equal(search.similar_listed(vectors, np.arange(6000), listed, 0.95), expected)


def test_very_many_alike_do_not_explode():
    """50,000 in one small cone, as a model with random weights puts all pictures: a billion similar pairs."""
    rng = np.random.default_rng(0)
    centre = rng.standard_normal((1, WIDTH))
    vectors = unit(centre / np.linalg.norm(centre) + 0.02 * rng.standard_normal((50_000, WIDTH)))
    began = time.process_time()
    result = similar_rows(vectors, 0.95)
    assert time.process_time() - began < 30
    kept = np.flatnonzero(result < 0)
    assert 1 <= len(kept) < 2000
    copies = np.flatnonzero(result >= 0)
    assert (between(vectors, copies, result[copies]) >= 0.95 - 1e-6).all()
    np.testing.assert_array_equal(result[:3000], similar_by_definition(vectors[:3000], 0.95))


def test_cosines_are_those_of_the_vectors():
    vectors = planted(7, 50)
    exact = vectors.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    i, j = np.arange(49), np.arange(1, 50)
    np.testing.assert_allclose(between(vectors, i, j), (exact[i] * exact[j]).sum(1), atol=1e-6)


@pytest.fixture
def many(monkeypatch):
    """More than 5000 rows are many, and more than come into one block."""
    monkeypatch.setattr(search, "COMPARED", 5000)
    monkeypatch.setattr(search, "_LONG", 0.0)
    monkeypatch.setattr(inverted_lists, "BLOCK", 1500)
    monkeypatch.setattr(inverted_lists, "CHECKED", 10_000)


@pytest.mark.slow
@pytest.mark.parametrize(("cells_of", "least"), [(8, 0.99), (1, 0.4)])
def test_cells_find_nearly_all_copies_and_say_how_many_they_miss(many, monkeypatch, cells_of, least):
    monkeypatch.setattr(inverted_lists, "CELLS_OF", cells_of)
    vectors = planted(8, 10_000, width=192, power=0.7, low=0.94)
    exact = similar_by_definition(vectors, 0.95)
    said: list[str] = []
    result = search.similar(vectors, np.arange(len(vectors)), 0.95, said.append)
    copies = exact >= 0
    found = copies & (result >= 0)
    assert found.sum() >= least * copies.sum()
    assert cells_of > 1 or found.sum() < 0.95 * copies.sum()  # it does hang on the cells
    assert said[0].startswith("comparing 10,000 embeddings, which takes about ")
    alone = vectors[result < 0].astype(np.float64)
    alone /= np.linalg.norm(alone, axis=1, keepdims=True)
    missed = int((np.tril(alone @ alone.T, -1) >= 0.95).any(1).sum())
    assert said[1].startswith("of 10,000 embeddings compared with every kept one, ")
    looked_at = [int(word.replace(",", "")) for word in said[1].split() if word[0].isdigit()]
    assert looked_at[1] == (result >= 0).sum()
    assert looked_at[2] == missed
    # What is found is true: of a kept row, a better one, and similar.
    copies = np.flatnonzero(result >= 0)
    assert (result[result[copies]] < 0).all() and (result[copies] < copies).all()
    assert (between(vectors, copies, result[copies]) >= 0.95 - 1e-6).all()


def test_cells_are_the_same_for_any_number_of_threads_and_blocks(many, monkeypatch, threads):
    vectors = planted(9, 3000)
    vectors[::50] = vectors[0]  # centres in one place: ties
    monkeypatch.setattr(search, "COMPARED", 2000)
    expected = similar_rows(vectors, 0.95)
    rows = np.arange(len(vectors))

    def in_cells():
        with Cosine(0.95, vectors, rows) as by:
            return [x.tolist() for x in InvertedLists(by, by.points(vectors), rows).of(rows)]

    before = in_cells()
    threads(2)
    monkeypatch.setattr(inverted_lists, "_STEP", 777)
    monkeypatch.setitem(cosine.TILES, "cpu", (100, 300))
    np.testing.assert_array_equal(similar_rows(vectors, 0.95), expected)
    assert in_cells() == before
