"""Duplicates: against brute force, where hashes are many and alike, and by embedding (see also test_cosine)."""

import resource
import time
from itertools import combinations

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageOps

from curation.errors import StageError, UserError
from curation.recipe.sections import Dedup
from curation.selection.dedup import duplicates, hamming
from curation.selection.dedup.cosine import between
from curation.selection.dedup.duplicates import KINDS, Duplicates, Embeddings
from curation.selection.dedup.listed import Listed
from curation.selection.dedup.search import exact, exact_listed, near, near_listed, rank_order
from curation.selection.stage import Selection
from curation.views.report.copies import kinds_of_copies
from curation.views.report.fates import Fates
from curation.views.report.pictures import Gallery
from tests import bench
from tests.checkpoints import CLIP, open_clip_folder

RNG = np.random.default_rng


def bits(*values):
    return np.array(values, np.uint64)


def all_valid(hashes):
    return np.ones(len(hashes), np.bool_)


def near_by_definition(hashes, valid, radius):
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
def test_near_rows_are_those_by_definition(radius, n):
    hashes = planted(radius, n)
    valid = RNG(1).random(n) < 0.9
    result = near(hashes, valid, radius)
    assert result.dtype == np.int64
    np.testing.assert_array_equal(result, near_by_definition(hashes, valid, radius))


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
        expected = near_by_definition(hashes, all_valid(hashes), radius)
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
    np.testing.assert_array_equal(near(hashes, valid, radius), near_by_definition(hashes, valid, radius))
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
    np.testing.assert_array_equal(result[:some], near_by_definition(hashes[:some], all_valid(hashes[:some]), 4))


def test_rank_order():
    rows = duckdb.sql(
        "FROM (VALUES ('f', NULL, 9, 9), ('e', 1, 5, 7), ('d', 1, 5, 7), ('c', 1, 5, 8),"
        f" ('b', 1, 6, 1), ('a', 2, 1, 1)) t(key, q, pixels, bytes) ORDER BY {rank_order('q')}"
    )
    assert [row[0] for row in rows.fetchall()] == ["a", "b", "c", "d", "e", "f"]


def candidates(phash, sha=None):
    """A table of rows in rank order, all of one file, with keys 0, 1, 2 …"""
    count = len(phash)
    columns = {"file": pa.array([0] * count, pa.int32()), "row": pa.array(range(count), pa.int64())}
    columns |= {"key": pa.array([str(n) for n in range(count)]), "phash": pa.array(phash, pa.uint64())}
    return pa.table(columns | {c: pa.array(sha or range(1, count + 1), pa.uint64()) for c in ("sha_hi", "sha_lo")})


def turned(*degrees):
    """Directions in the plane; None is a row without an embedding."""
    radians = np.radians([0 if d is None else d for d in degrees])
    vectors = np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float16)
    vectors[[d is None for d in degrees]] = 0
    return vectors


def embedded(vectors, asked=None):
    def read(some):
        if asked is not None:
            asked.append(some.tolist())
        return vectors[some]

    return Embeddings(vectors.shape[1], read)


def found(table, rules, vectors, asked=None):
    """Kind and original of each duplicate by its key."""
    result = Duplicates.find(table, Dedup(**rules), embedded(vectors, asked))
    return {
        str(r): (KINDS[k], o) for r, k, o in zip(result.rows, result.kinds, result.originals.to_pylist(), strict=True)
    }


COS_10 = float(np.cos(np.radians(10.5)))


def test_similar_embeddings_are_looked_for_among_what_is_left():
    asked: list[list[int]] = []
    far = [0, 0, 2**64 - 1, 2**32 - 1, 0xFF00FF00FF00FF00, None]
    table = candidates([*far, 2**63], [1, 2, 3, 3, 5, 6, 7])
    vectors = turned(0, 90, 180, 180, 5, None, None)
    assert found(table, {"near": 4, "cosine": COS_10}, vectors, asked) == {
        "1": ("near", "0"), "3": ("exact", "2"), "4": ("similar", "0"), "6": ("near", "0"),
    }  # fmt: skip
    assert asked == [[0, 2, 4, 5]]


def test_copies_of_a_row_that_falls_to_a_better_one_are_of_that():
    # 1 is similar to 0; 2 has the hash of 1, 3 the bytes of 2 and 4 those of 1.
    table = candidates([0, 2**64 - 1, 2**64 - 1, 5 << 20, 9 << 30], [1, 2, 3, 3, 2])
    vectors = turned(0, 8, 120, 240, 300)
    expected = {"1": ("similar", "0"), "2": ("near", "0"), "3": ("exact", "0"), "4": ("exact", "0")}
    assert found(table, {"near": 4, "cosine": COS_10}, vectors) == expected


def test_the_cosine_of_a_copy_is_kept_with_it(tmp_path):
    table = candidates([0, 2**64 - 1, 2**32 - 1])
    vectors = turned(0, 6, 90)
    result = Duplicates.find(table, Dedup(cosine=COS_10), embedded(vectors))
    np.testing.assert_allclose(result.cosines, between(vectors, np.array([0]), np.array([1])))
    assert 0.99 < result.cosines[0] < 1
    result.write(tmp_path / "d.parquet", "a")
    again = Duplicates.read(tmp_path / "d.parquet", "a")
    for name in ("files", "rows", "kinds", "cosines"):
        np.testing.assert_array_equal(getattr(again, name), getattr(result, name))
    assert again.originals.equals(result.originals.combine_chunks())
    assert Duplicates.read(tmp_path / "d.parquet", "b") is None
    (tmp_path / "d.parquet").write_bytes((tmp_path / "d.parquet").read_bytes()[:-1])
    assert Duplicates.read(tmp_path / "d.parquet", "a") is None


def write_list(path, **columns):
    pq.write_table(pa.table(columns), path)
    return str(path)


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 2), pa.list_(pa.float16(), 2), pa.list_(pa.int64())]
)
def test_what_resembles_a_listed_embedding_is_listed(tmp_path, kind):
    vectors = turned(0, 90, 175, None, 5)
    entries = [None, [-3, 0], [0, 0], [2, 0]]  # of any length
    if pa.types.is_float16(kind.value_type):
        entries = [e and [np.float16(x) for x in e] for e in entries]
    path = write_list(tmp_path / "l.parquet", key=["a", "b", "c", "d"], embedding=pa.array(entries, kind))
    asked: list[list[int]] = []
    assert found(candidates([1, 2**20 - 1, 2**40 - 1, 2**60 - 1, 2**64 - 1]), {"cosine": COS_10, "against": path}, vectors, asked) == {
        "0": ("listed", "listed:d"), "2": ("listed", "listed:b"), "4": ("listed", "listed:d"),
    }  # fmt: skip
    assert asked == [[0, 1, 2, 3, 4]]  # read once


def test_a_list_of_hashes_and_embeddings(tmp_path):
    table = candidates([0, 2**64 - 1, 2**32 - 1, 2**16 - 1, 0xFF << 40])
    columns = {"phash": pa.array([2**64 - 1, None], pa.uint64()), "embedding": [[0.0, 1.0], [1.0, 0.0]]}
    path = write_list(tmp_path / "l.parquet", **columns)
    vectors = turned(40, 45, 50, 90, 95)
    assert found(table, {"cosine": COS_10, "near": 4, "against": path}, vectors) == {
        "1": ("listed", "listed:row 1"), "2": ("similar", "0"), "3": ("listed", "listed:row 1"), "4": ("listed", "listed:row 1"),
    }  # fmt: skip
    # Without a threshold the embeddings of the list are not looked at.
    assert Duplicates.find(table, Dedup(near=4, against=path)).counts() == {"listed": 1}


@pytest.mark.parametrize(("embedding", "says"), [
    ([[1.0, 2.0, 3.0]], "column embedding: 2 numbers are expected, as the signal embedding gives them; found 3"),
    ([[1.0, 2.0], [1.0]], "column embedding: 2 numbers are expected, as the signal embedding gives them; found 1"),
    ([[1.0, float("nan")]], "column embedding: a list holds what is no finite number"),
    ([[1.0, None]], "column embedding: a list holds what is no finite number"),
    (["1 2"], "column embedding: lists of 2 numbers are expected; it is of type string"),
    ([[["x"]]], "column embedding: lists of 2 numbers are expected; it is of type list<"),
])  # fmt: skip
def test_a_list_of_wrong_embeddings_is_one_line(tmp_path, embedding, says):
    path = write_list(tmp_path / "l.parquet", embedding=embedding)
    with pytest.raises(UserError) as caught:
        Listed.read(path, 2)
    assert str(caught.value).startswith(f"select.dedup.against: {path}: {says}")
    assert "\n" not in str(caught.value)


def test_a_list_of_embeddings_alone_needs_a_threshold(tmp_path):
    path = write_list(tmp_path / "l.parquet", embedding=[[1.0, 2.0]])
    with pytest.raises(UserError, match="neither a column sha256 nor phash.*give select.dedup.cosine"):
        Listed.read(path)


def test_cosine_needs_the_signal_and_a_sensible_threshold(tmp_path):
    with pytest.raises(UserError, match="select.dedup: cosine needs embeddings; add `embedding: "):
        bench.recipe(tmp_path, select={"dedup": {"cosine": 0.95}})
    with pytest.raises(UserError, match="select.dedup.cosine: .*less than or equal to 1"):
        bench.recipe(tmp_path, select={"dedup": {"cosine": 95}})


SIGNALS = {"photo": {}, "embedding": {"backend": "open_clip", "checkpoint": "clip"}}


@pytest.fixture
def pictures(tmp_path):
    """Two shards: pictures, some of them mirrored too, one cut short; and a model with random weights."""
    open_clip_folder(tmp_path / "models" / "clip")
    for shard in range(2):
        members = {f"{n}.jpg": bench.encoded(bench.picture(10 * shard + n)) for n in range(8)}
        mirrored = {n: ImageOps.mirror(bench.picture(10 * shard + n)) for n in range(0, 8, 2)}
        members |= {f"{n}-mirrored.jpg": bench.encoded(picture) for n, picture in mirrored.items()}
        members["cut.jpg"] = bench.encoded(bench.picture(90 + shard))[:4000]
        bench.write_tar(tmp_path / "raw" / f"0000{shard}.tar", members)
    return tmp_path


def stored(folder):
    """Keys and directions of all rows that have an embedding: float64 (n, width)."""
    found = {}
    for path in sorted((folder / "work/signals/embedding/c").glob("*.parquet")):
        found |= {r["key"]: r["embedding"] for r in bench.rows(path) if r["embedding"] is not None}
    exact = np.array(list(found.values()), np.float64)
    return list(found), exact / np.linalg.norm(exact, axis=1, keepdims=True)


def reached_by(exact, pairs):
    """The threshold that so many pairs reach."""
    return float(np.sort((exact @ exact.T)[np.triu_indices(len(exact), 1)])[-pairs]) - 1e-9


def test_select_drops_similar_pictures(pictures):
    made = bench.recipe(pictures, models="./models", signals=SIGNALS)
    bench.index(made)
    bench.score(made)
    keys, exact = stored(pictures)
    assert exact.shape == (24, CLIP["embed_dim"])
    threshold = reached_by(exact, 30)
    made = bench.recipe(pictures, models="./models", signals=SIGNALS, select={"dedup": {"cosine": threshold}})
    lengths = {r["key"]: r["length"] for s in (0, 1) for r in bench.rows(pictures / f"work/samples/c/0000{s}.parquet")}
    order = sorted(range(24), key=lambda i: (-lengths[keys[i]], keys[i]))  # what all are alike in left out
    expected, kept = {}, []
    for i in order:
        close = [k for k in kept if exact[k] @ exact[i] >= threshold]
        if close:
            expected[keys[i]] = keys[close[0]]
        else:
            kept.append(i)
    selection = Selection(bench.opened(made))
    funnel = selection.write()
    assert funnel.duplicate == {"similar": len(expected)} and 5 <= len(expected) <= 20
    assert (funnel.failed, funnel.kept) == (2, 24 - len(expected))
    fates = [r for s in (0, 1) for r in bench.rows(pictures / f"work/selection/c/0000{s}.parquet")]
    assert {r["key"]: r["duplicate_of"] for r in fates if r["fate"] == "duplicate"} == expected
    fates_again = Fates(selection)
    gallery = Gallery(bench.opened(made), fates_again.selection.shards, fates_again.selection.files, fates_again.place)
    (shown,) = kinds_of_copies(fates_again, gallery)
    gallery.load()
    assert (shown.name, shown.copies) == ("similar", len(expected))
    for group in shown.groups:
        for copy in group.copies:
            cosine = exact[keys.index(group.original.key)] @ exact[keys.index(copy.key)]
            assert copy.note == f"cosine {cosine:.3f}"


def test_rows_wait_for_their_embedding(pictures):
    made = bench.recipe(pictures, models="./models", signals=SIGNALS)
    bench.index(made)
    bench.score(bench.recipe(pictures, signals={"photo": {}}))
    made = bench.recipe(pictures, models="./models", signals=SIGNALS, select={"dedup": {"cosine": 0.95}})
    selection = Selection(bench.opened(made))
    assert selection.funnel().undecided == {"dedup": 24}  # of 26, two are cut
    with pytest.raises(StageError, match="undecided: 24 rows .dedup: 24.; run `curate score RECIPE` first"):
        selection.write()


def test_duplicates_by_embedding_are_found_once(pictures, monkeypatch):
    """What a dry run has found serves the next, unless something that it hangs on has changed."""
    values = {"models": "./models", "signals": SIGNALS}
    made = bench.recipe(pictures, **values)
    bench.index(made)
    bench.score(made)
    keys, exact = stored(pictures)
    made = bench.recipe(pictures, **values, select={"dedup": {"cosine": reached_by(exact, 5)}})
    Selection(bench.opened(made)).write()
    before = bench.tree(pictures / "work")
    looked = []
    find = duplicates.Duplicates.find
    monkeypatch.setattr(Duplicates, "find", lambda *a: looked.append(1) or find(*a))
    funnel = Selection(bench.opened(made)).write()
    assert not looked and funnel.duplicate["similar"] > 0
    assert bench.tree(pictures / "work") == before
    other = bench.recipe(pictures, **values, select={"dedup": {"cosine": 1.0}})
    assert Selection(bench.opened(other)).funnel().duplicate == {} and len(looked) == 1
    with_one = bench.rows(pictures / "work/signals/embedding/c/00000.parquet")
    path = write_list(pictures / "l.parquet", embedding=[r["embedding"] for r in with_one if r["key"] == "c/00000/3"])
    other = bench.recipe(pictures, **values, select={"dedup": {"cosine": 1.0, "against": path}})
    assert Selection(bench.opened(other)).funnel().duplicate == {"listed": 1} and len(looked) == 2
    write_list(pictures / "l.parquet", embedding=pa.array([None], pa.list_(pa.float16())))
    assert Selection(bench.opened(other)).funnel().duplicate == {} and len(looked) == 3
    (pictures / "work/signals/embedding/c/00001.parquet").unlink()
    assert Selection(bench.opened(other)).funnel().undecided == {"dedup": 12} and len(looked) == 4
    write_list(pictures / "l.parquet", embedding=[[1.0] * 5])
    with pytest.raises(UserError, match="l.parquet: column embedding: 32 numbers are expected, .*; found 5"):
        Selection(bench.opened(other)).funnel()


def test_the_fates_do_not_hang_on_how_the_corpus_is_cut_into_shards(pictures):
    """The same pictures in one shard or several, in any order: the same ones stay."""
    members = {f"{n}.jpg": bench.encoded(bench.picture(n)) for n in range(12)}
    kept = []
    for name, parts in (("one", [range(12)]), ("three", [range(11, 7, -1), range(4), range(7, 3, -1)])):
        folder = pictures / name
        for shard, part in enumerate(parts):
            bench.write_tar(folder / "raw" / f"{shard}.tar", {f"{n}.jpg": members[f"{n}.jpg"] for n in part})
        made = bench.recipe(folder, models="../models", signals=SIGNALS)
        bench.index(made)
        bench.score(made)
        dedup = {"cosine": reached_by(stored(folder)[1], 8)}
        made = bench.recipe(folder, models="../models", signals=SIGNALS, select={"dedup": dedup})
        assert Selection(bench.opened(made)).write().duplicate["similar"] > 1
        fates = [r for path in sorted((folder / "work/selection/c").glob("*.parquet")) for r in bench.rows(path)]
        kept.append(sorted(r["key"].rsplit("/", 1)[1] for r in fates if r["fate"] == "kept"))
    assert kept[0] == kept[1] and len(kept[0]) > 1
