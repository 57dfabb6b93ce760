"""Duplicates: against brute force, and where hashes are many and alike."""

import resource
import time
from itertools import combinations

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import hamming
from curation.dedup import exact, exact_listed, near, near_listed, rank_order

RNG = np.random.default_rng


def bits(*values):
    return np.array(values, np.uint64)


def all_valid(hashes):
    return np.ones(len(hashes), np.bool_)


def brute_star(hashes, valid, radius):
    kept, result = [], np.full(len(hashes), -1, np.int64)
    kept_hashes = np.empty(len(hashes), np.uint64)
    for i in range(len(hashes)):
        if not valid[i]:
            continue
        close = np.bitwise_count(kept_hashes[: len(kept)] ^ hashes[i]) <= radius
        if close.any():
            result[i] = kept[int(close.argmax())]
        else:
            kept_hashes[len(kept)] = hashes[i]
            kept.append(i)
    return result


def brute_listed(hashes, valid, listed, radius):
    result = np.full(len(hashes), -1, np.int64)
    for k in reversed(range(len(listed))):
        result[valid & (np.bitwise_count(hashes ^ listed[k]) <= radius)] = k
    return result


def flipped(rng, hashes, most):
    out = hashes.copy()
    for _ in range(most):
        out ^= np.uint64(1) << rng.integers(0, 64, len(out), dtype=np.uint64)
    return out


def planted(seed, n):
    """Noise, clusters of many sizes, hashes that share most bits, equal ones; in any order."""
    rng = RNG(seed)
    hashes = rng.integers(0, 2**64, n, dtype=np.uint64)
    centres = hashes[rng.integers(0, n // 50, n // 2) ** 2 % (n // 50)]
    hashes[n // 2 :] = flipped(rng, centres, 5)
    hashes[: n // 8] &= np.uint64(0x8000_0000_00FF_F00F)
    hashes[n // 8 : n // 7] = hashes[n // 2]
    return hashes[rng.permutation(n)]


@pytest.mark.parametrize(
    ("radius", "n"),
    [(0, 3000), (1, 3000), (2, 3000), (3, 3000), (4, 20000), (5, 3000), (6, 5000)],
)
def test_near_is_the_brute_force_star(radius, n):
    hashes = planted(radius, n)
    valid = RNG(1).random(n) < 0.9
    result = near(hashes, valid, radius)
    assert result.dtype == np.int64
    np.testing.assert_array_equal(result, brute_star(hashes, valid, radius))


@pytest.mark.parametrize("radius", range(7))
def test_near_listed_is_brute_force(radius):
    hashes = planted(radius, 6000)
    rng = RNG(3)
    valid = rng.random(len(hashes)) < 0.9
    listed = np.concatenate([flipped(rng, hashes[:200], 6), hashes[50:60], hashes[50:60]])
    expected = brute_listed(hashes, valid, listed, radius)
    np.testing.assert_array_equal(near_listed(hashes, valid, listed, radius), expected)


def test_small_budget_and_runs_change_nothing(monkeypatch):
    monkeypatch.setattr(hamming, "MIN_BUDGET", 300)
    monkeypatch.setattr(hamming, "_HEAVY", 8)
    monkeypatch.setattr(hamming, "CHUNK", 100)
    monkeypatch.setattr(hamming, "_CANDIDATE", 50.0)  # so that it joins, and joins again, early
    hashes = planted(9, 2000)
    for radius in (1, 3, 4):
        expected = brute_star(hashes, all_valid(hashes), radius)
        np.testing.assert_array_equal(near(hashes, all_valid(hashes), radius), expected)
        listed = brute_listed(hashes, all_valid(hashes), hashes[:300], radius)
        np.testing.assert_array_equal(near_listed(hashes, all_valid(hashes), hashes[:300], radius), listed)


SETTINGS = st.tuples(
    st.lists(
        st.tuples(
            st.sampled_from([0, 2**63, 2**64 - 1, 0x00FF00FF00FF00FF]),
            st.lists(st.integers(0, 63), max_size=5),
            st.booleans(),
        ),
        max_size=25,
    ),
    st.integers(0, 6),
)


@given(SETTINGS)
@settings(max_examples=60, deadline=None)
def test_near_property(case):
    rows, radius = case
    hashes = np.array([base ^ sum(1 << b for b in set(flip)) for base, flip, _ in rows], np.uint64)
    valid = np.array([v for *_, v in rows], np.bool_)
    np.testing.assert_array_equal(near(hashes, valid, radius), brute_star(hashes, valid, radius))
    half = hashes[: len(hashes) // 2]
    np.testing.assert_array_equal(near_listed(hashes, valid, half, radius), brute_listed(hashes, valid, half, radius))


def test_no_chaining():
    a, b, c = 0, 0b1111, 0b1111_1111
    assert near(bits(a, b, c), all_valid([a, b, c]), 4).tolist() == [-1, 0, -1]


def test_a_duplicate_makes_no_duplicate_and_the_best_kept_row_is_named():
    hashes = bits(0, 0b1100, 0b0011, 0b1111, 0b1111 << 8)
    # With 2 bits: 1 and 2 are near 0; 3 is near both of them, but neither is kept.
    assert near(hashes, all_valid(hashes), 2).tolist() == [-1, 0, 0, -1, -1]
    # Within 1 bit of both kept rows (0 and 1): the better.
    assert near(bits(0, 0b11, 0b01), all_valid([0] * 3), 1).tolist() == [-1, -1, 0]


def test_rows_without_a_hash_join_nothing():
    valid = np.array([False, True, False, True])
    assert near(bits(7, 7, 7, 7), valid, 4).tolist() == [-1, -1, -1, 1]
    assert near_listed(bits(7, 7, 7, 7), valid, bits(7), 0).tolist() == [-1, 0, -1, 0]
    assert near(bits(7, 7), np.zeros(2, np.bool_), 4).tolist() == [-1, -1]


def test_the_sign_bit_is_a_bit():
    top = 1 << 63
    assert near(bits(top, 0, 2**64 - 1), all_valid([0] * 3), 1).tolist() == [-1, 0, -1]
    assert near(bits(top | 1, 0), all_valid([0] * 2), 1).tolist() == [-1, -1]
    assert exact(bits(top, 0, top), bits(0, top, 0)).tolist() == [-1, -1, 0]


@pytest.mark.parametrize("n", [0, 1])
def test_empty_and_one_row(n):
    rows = bits(*[5] * n)
    for radius in (0, 4, 6):
        assert near(rows, all_valid(rows), radius).tolist() == [-1] * n
        assert near_listed(rows, all_valid(rows), bits(), radius).tolist() == [-1] * n
        assert near_listed(rows, all_valid(rows), bits(5), radius).tolist() == [0] * n
    assert exact(rows, rows).tolist() == [-1] * n
    assert exact_listed(rows, rows, bits(), bits()).tolist() == [-1] * n
    assert exact_listed(rows, rows, bits(5), bits(5)).tolist() == [0] * n


@pytest.mark.parametrize("radius", [-1, 7, 64])
def test_a_radius_out_of_range_is_refused(radius):
    with pytest.raises(ValueError, match=f"radius is {radius} bits; it must be 0 to 6"):
        near(bits(1), all_valid([1]), radius)
    with pytest.raises(ValueError, match="radius"):
        near_listed(bits(1), all_valid([1]), bits(1), radius)


def test_arrays_of_different_length_are_refused():
    with pytest.raises(ValueError, match="one length"):
        near(bits(1, 2), all_valid([1]), 4)
    with pytest.raises(ValueError, match="one length"):
        exact(bits(1, 2), bits(1))


def test_exact_is_equality_of_both_halves():
    rng = RNG(5)
    hi, lo = (rng.integers(0, 40, 3000, dtype=np.uint64) for _ in range(2))
    first: dict[tuple[int, int], int] = {}
    expected = []
    for i, pair in enumerate(zip(hi.tolist(), lo.tolist(), strict=True)):
        expected.append(first.setdefault(pair, i) if pair in first else -1)
        first.setdefault(pair, i)
    assert exact(hi, lo).tolist() == expected
    listed = list(zip(hi[:90].tolist(), lo[:90].tolist(), strict=True))
    where = {pair: k for k, pair in reversed([*enumerate(listed)])}
    assert exact_listed(hi, lo, hi[:90], lo[:90]).tolist() == [
        where.get(p, -1) for p in zip(hi.tolist(), lo.tolist(), strict=True)
    ]


def bounded(run, seconds, megabytes):
    """The result of a run that must not take more CPU time or more memory than that."""
    before, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    result = run()
    assert time.process_time() - cpu < seconds
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < megabytes * 1024
    return result


def test_equal_hashes_do_not_explode():
    hashes = np.full(200_000, 12345, np.uint64)
    hashes[[7, 70_000]] ^= np.uint64(0xFFFF)
    result = bounded(lambda: near(hashes, all_valid(hashes), 4), 3, 100)
    expected = np.zeros(200_000, np.int64)
    expected[[0, 7]], expected[70_000] = -1, 7
    np.testing.assert_array_equal(result, expected)
    bounded(lambda: near_listed(hashes, all_valid(hashes), hashes, 4), 3, 100)


def test_all_hashes_within_one_ball():
    """43,745 distinct hashes, a billion near pairs, and all near the best-ranked one only."""
    ball = [sum(1 << i for i in c) for k in range(4) for c in combinations(range(64), k)]
    hashes = np.concatenate([RNG(0).integers(0, 2**64, 50_000, dtype=np.uint64), bits(*ball)])
    result = bounded(lambda: near(hashes, all_valid(hashes), 6), 12, 600)
    assert (result[:50_001] == -1).all() and (result[50_001:] == 50_000).all()


def test_many_distinct_hashes_share_most_bits():
    rng = RNG(0)
    hashes = np.unique(rng.integers(0, 2**36, 100_000, dtype=np.uint64) | np.uint64(1 << 63))
    hashes = rng.permutation(hashes)
    result = bounded(lambda: near(hashes, all_valid(hashes), 4), 12, 600)
    some = 8000
    np.testing.assert_array_equal(result[:some], brute_star(hashes[:some], all_valid(hashes[:some]), 4))


def test_rank_order():
    rows = duckdb.sql(
        "FROM (VALUES ('f', NULL, 9, 9), ('e', 1, 5, 7), ('d', 1, 5, 7), ('c', 1, 5, 8),"
        f" ('b', 1, 6, 1), ('a', 2, 1, 1)) t(key, q, pixels, bytes) ORDER BY {rank_order('q')}"
    )
    assert [row[0] for row in rows.fetchall()] == ["a", "b", "c", "d", "e", "f"]
