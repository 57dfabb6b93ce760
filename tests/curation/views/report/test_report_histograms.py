"""Histograms hold every value once, in bins that end on the thresholds."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.recipe import Recipe
from curation.recipe.thresholds import thresholds
from curation.selection.stage import Selection
from curation.views.report.histograms import (
    ALL,
    FAILS,
    OTHERS,
    PASSES,
    PredicateHistogram,
    classes_of,
    histogram,
    number,
)
from tests import bench


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One picture, whose row is then multiplied: 5,000 values of each kind, in two shards."""
    folder = tmp_path_factory.mktemp("histograms")
    for n in range(2):
        bench.write_tar(folder / "raw" / f"{n:05d}.tar", {"a.jpg": bench.encoded(bench.picture(n))})
    made = recipe(folder)
    bench.index(made)
    rng = np.random.default_rng(0)
    for n in range(2):
        path = folder / "work" / "samples" / "c" / f"{n:05d}.parquet"
        table = pq.read_table(path)
        many = pa.concat_tables([table] * 2500)
        keys = pa.array([f"c/{n:05d}/{i:05d}" for i in range(2500)])
        columns = {
            "key": keys,
            "meta_even": pa.array(rng.normal(50, 10, 2500)),
            "meta_tail": pa.array(rng.lognormal(0, 3, 2500)),
            "meta_count": pa.array(rng.poisson(2, 2500)),
            "meta_large": pa.array(rng.normal(5000, 900, 2500).astype(np.int32)),
            "meta_some": pa.array([None if i % 5 else x for i, x in enumerate(rng.random(2500))], pa.float64()),
            "meta_one": pa.array([7.5] * 2500),
            "meta_not": pa.array([float("nan"), float("inf"), 1.0, 2.0, 3.0] * 500),
        }
        for name, values in columns.items():
            at = many.schema.get_field_index(name)
            many = many.append_column(name, values) if at < 0 else many.set_column(at, name, values)
        pq.write_table(
            many.replace_schema_metadata(table.schema.metadata | {b"rows": str(many.num_rows).encode()}), path
        )
    return folder


def recipe(folder: Path, **where: str) -> Recipe:
    return bench.recipe(folder, signals={}, select={"where": where})


def values(folder: Path, column: str) -> np.ndarray:
    tables = [pq.read_table(p, columns=[column]) for p in sorted((folder / "work/samples/c").glob("*.parquet"))]
    return pa.concat_tables(tables)[column].to_numpy()


def edges(made: PredicateHistogram) -> np.ndarray:
    return made.start + made.width * (np.arange(made.bins + 1) - 1e-9)  # what lies on an edge is above it


@pytest.mark.parametrize(
    "column", ["meta_even", "meta_tail", "meta_count", "meta_large", "meta_some", "meta_one", "meta_not"]
)
def test_every_value_is_in_the_bin_where_numpy_puts_it(folder: Path, column: str) -> None:
    made = histogram(Selection(bench.opened(recipe(folder))), column)
    known = values(folder, column)
    known = known[np.isfinite(known)]
    assert made.known == len(known) == made.total(ALL)
    assert (made.least, made.most) == (known.min(), known.max())
    inner = made.counts[ALL]
    expected, _ = np.histogram(known, np.concatenate([[-np.inf], edges(made), [np.inf]]))
    assert [inner.get(bin, 0) for bin in range(-1, made.bins + 1)] == expected.tolist()
    assert sum(n for bin, n in inner.items() if 0 <= bin < made.bins) >= 0.98 * len(known)


def test_bins_end_on_the_threshold_and_so_tell_who_passes(folder: Path) -> None:
    selection = Selection(bench.opened(recipe(folder, even="meta_even >= 41.5")))
    found = thresholds(selection.cascade.predicates[0], selection.cascade.columns)
    made = histogram(selection, "meta_even", found, classes_of(selection, 0))
    assert np.isclose(edges(made), 41.5).any() and made.shows(found[0])
    assert all(made.centre(bin) > 41.5 for bin in made.counts[PASSES])
    assert all(made.centre(bin) < 41.5 for bin in made.counts[FAILS])
    assert made.total(PASSES) == (values(folder, "meta_even") >= 41.5).sum()


@pytest.mark.parametrize("operator", [">=", ">", "<=", "<"])
def test_a_bin_of_several_whole_numbers_does_not_straddle_the_threshold(folder: Path, operator: str) -> None:
    selection = Selection(bench.opened(recipe(folder, large=f"meta_large {operator} 4321")))
    found = thresholds(selection.cascade.predicates[0], selection.cascade.columns)
    made = histogram(selection, "meta_large", found, classes_of(selection, 0))
    assert made.width > 1 and not made.counts[PASSES].keys() & made.counts[FAILS].keys()


def test_whole_numbers_stand_in_the_middle_of_their_bins(folder: Path) -> None:
    made = histogram(Selection(bench.opened(recipe(folder))), "meta_count")
    assert made.width == 1 and made.centre(0) == int(made.centre(0))
    assert made.says(0) == number(made.centre(0)) and made.says(-1) == f"below {number(made.centre(0))}"


def test_the_range_follows_a_threshold_nearby_and_not_one_far_away(folder: Path) -> None:
    selection = Selection(bench.opened(recipe(folder, a="meta_even >= 10 and meta_even < 1e9")))
    near, far = thresholds(selection.cascade.predicates[0], selection.cascade.columns)
    made = histogram(selection, "meta_even", [near, far], classes_of(selection, 0))
    assert made.shows(near) and not made.shows(far)


def test_classes_follow_the_funnel(folder: Path) -> None:
    selection = Selection(bench.opened(recipe(folder, even="meta_even >= 50", count="meta_count >= 2")))
    funnel = selection.funnel()
    made = histogram(selection, "meta_count", [], classes_of(selection, 1))
    assert (
        made.total(FAILS) == funnel.dropped["count"] and made.total(PASSES) == funnel.kept + funnel.duplicate["exact"]
    )
    assert made.total(OTHERS) == funnel.dropped["even"]


@pytest.mark.parametrize(("value", "says"), [
    (0, "0"), (12.0, "12"), (1234567, "1,234,567"), (0.12345, "0.1235"), (12345.6, "12,346"), (1e-7, "1e-07"),
    (-3.14159, "-3.142"), (1e20, "1e+20"),
])  # fmt: skip
def test_numbers_are_short(value: float, says: str) -> None:
    assert number(value) == says
