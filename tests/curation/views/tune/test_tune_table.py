"""The counts while a slider moves are those of `select`, by random thresholds, missing values and moves among them."""

import math
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation.corpora.samples import samples_notes
from curation.errors import UserError
from curation.recipe import Recipe, load_recipe
from curation.selection.stage import Selection
from curation.signals.base import sidecar_fields
from curation.views.tune.split import split
from curation.views.tune.table import Table
from curation.workspace import Workspace
from curation.workspace.files import read_table, write_table
from curation.workspace.schemas import SAMPLES
from tests import bench

WHERE = {
    "size": "min_side >= 256",
    "shape": "aspect_ratio between 0.4 and 2.5",
    "named": "caption is null or caption not like '%3%'",
    "sharp": "sharpness >= 8 -- 9 is more\n",
    "text": "text_lines = 0 or ocr_confidence >= 0.6 or (length(text) <= 2 and ocr_confidence > 0.3)",
    "faces": "not (face_count > 6)",
    "beauty": "aesthetic >= 3 and caption_length >= 3 and meta_score < 0.9::float",
}
SIGNALS: dict[str, dict[str, object]] = {"photo": {}, "caption": {}, "faces": {}, "ocr": {}, "aesthetic": {}}
ROWS = (700, 0, 1300)


def make(folder: Path, **select: object) -> Recipe:
    """A workspace of random scores: values, nulls, and rows that were skipped or failed; one shard has no sidecars."""
    values = {"signals": SIGNALS, "select": {"where": WHERE, "dedup": {"exact": False}} | select}
    recipe = bench.recipe(folder, **values)
    workspace, cascade = Workspace(recipe.workspace), bench.opened(recipe, meta_known=False).cascade
    rng = np.random.default_rng(1)
    for number, count in enumerate(ROWS):
        shard = f"{number:05d}"
        samples = pa.table(
            [column(f, count, rng, shard) for f in SAMPLES] + [pa.array(rng.random(count))],
            schema=pa.schema([*SAMPLES, pa.field("meta_score", pa.float64())]),
        )
        path = workspace.samples("c", shard)
        write_table(path, samples, "1", source="", rows_digest=shard, caption_digest=shard)
        for name, signal in cascade.signals.items():
            if number == 2 and name == "aesthetic":
                continue
            columns = {f.name: column(f, count, rng, shard) for f in sidecar_fields(signal)}
            skipped = pa.compute.equal(columns[f"{name}_state"], "skipped")
            columns = {c: v if c.endswith("_state") else blank(v, skipped) for c, v in columns.items()}
            fingerprint = cascade.fingerprint(name, samples_notes(workspace, "c", shard))
            write_table(workspace.signal(name, "c", shard), pa.table({"key": samples["key"]} | columns), fingerprint)
    return load_recipe(folder / "recipe.yaml")


def blank(values: pa.Array, where: pa.Array) -> pa.Array:
    return pa.compute.if_else(where, pa.nulls(len(values), values.type), values)


def column(field: pa.Field, count: int, rng: np.random.Generator, shard: str) -> pa.Array:
    """Random values, every tenth of them null."""
    if field.name == "key":
        return pa.array([f"c/{shard}/{n}" for n in range(count)], pa.string())
    if field.name == "sha256":
        return pa.array([f"{n:064x}" for n in range(count)], pa.string())
    if field.name == "status":
        return pa.array(rng.choice(["ok", "ok", "ok", "ok", "failed", "gone"], count).tolist(), pa.string())
    if field.name.endswith("_state"):
        return pa.array(rng.choice(["scored", "scored", "scored", "skipped", "failed"], count).tolist(), pa.string())
    missing = rng.random(count) < 0.1
    if pa.types.is_floating(field.type):
        high = {"sharpness": 60, "aesthetic": 10, "aspect_ratio": 4}.get(field.name, 1)
        return pa.array((rng.random(count) * high).round(2), field.type, mask=missing)
    if pa.types.is_integer(field.type):
        high = {"min_side": 1000}.get(field.name, 9)
        return pa.array(rng.integers(0, high, count).astype(np.int64), mask=missing).cast(field.type)
    if pa.types.is_string(field.type):
        return pa.array([str(n) for n in rng.integers(0, 10_000, count)], field.type, mask=missing)
    return pa.nulls(count, field.type)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return make(tmp_path_factory.mktemp("tune"))


@pytest.fixture(scope="module")
def table(made: Recipe) -> Table:
    return Table(bench.opened(made))


def by_select(recipe: Recipe, table: Table, values: dict[str, dict[int, float]]) -> dict[str, object]:
    """What `select` counts with these thresholds in the recipe."""
    where = {s.predicate.name: s.text(values) for s in table.splits}
    given = recipe.model_copy(update={"select": recipe.select.model_copy(update={"where": where})})
    funnel = Selection(bench.opened(given)).funnel().as_dict()
    passing = funnel.pop("kept") + funnel.pop("balance") + sum(funnel.pop("duplicate").values())
    return {"passing": passing} | funnel


def counted(funnel: object) -> dict[str, object]:
    return {k: v for k, v in vars(funnel).items() if k != "gone"}


def random_moves(table: Table, rng: random.Random) -> dict[str, dict[int, float]]:
    values: dict[str, dict[int, float]] = {}
    for s in table.splits:
        for t in s.thresholds:
            if rng.random() < 0.5:
                axis = table.axis(t)
                values.setdefault(t.predicate, {})[t.number] = round(
                    rng.uniform(axis.low, axis.high), rng.choice([0, 2])
                )
    return values


@pytest.mark.parametrize("seed", range(6))
def test_the_counts_are_those_of_select(made: Recipe, table: Table, seed: int) -> None:
    rng = random.Random(seed)
    values = random_moves(table, rng)
    expected = by_select(made, table, values)
    assert counted(table.funnel(values)) == expected
    for s in table.splits:
        for t in s.thresholds:
            assert counted(table.answer(values, t, 3).funnel) == expected
    t = rng.choice([t for s in table.splits for t in s.thresholds])
    for _ in range(3):  # the predicate in hand moves alone
        values = values | {t.predicate: {t.number: round(rng.uniform(table.axis(t).low, table.axis(t).high), 1)}}
        assert counted(table.answer(values, t, 3).funnel) == by_select(made, table, values)


def test_undecided_rows_are_there_to_be_counted(made: Recipe, table: Table) -> None:
    funnel = table.funnel({})
    assert set(funnel.undecided) == {"sharp", "text", "faces", "beauty"}
    assert funnel.failed > funnel.gone > 0
    assert sum(funnel.dropped.values()) + sum(funnel.undecided.values()) + funnel.failed + funnel.passing == sum(ROWS)


def test_rows_that_cannot_be_compared_with_others_are_undecided(tmp_path: Path) -> None:
    recipe = make(tmp_path, where={"size": "min_side >= 256"}, dedup={"near": 4})
    table = Table(bench.opened(recipe))
    values = {"size": {0: 600.0}}
    assert table.funnel(values).undecided["dedup"] > 0
    assert counted(table.funnel(values)) == by_select(recipe, table, values)
    assert counted(table.answer(values, table.splits[0].thresholds[0], 3).funnel) == by_select(recipe, table, values)


def test_a_histogram_holds_every_row_that_reaches_its_predicate(table: Table) -> None:
    values = {"size": {0: 300.0}, "sharp": {0: 20.0}}
    reaching = table.ok
    funnel = table.funnel(values)
    for s in table.splits:
        for t in s.thresholds:
            histogram = table.histogram(values, t)
            assert histogram == table.answer(values, t, 3).histogram
            assert sum(histogram.passing) + sum(histogram.failing) + histogram.missing == reaching
            assert len(histogram.passing) == table.axis(t).bins + 2
        reaching -= funnel.dropped[s.predicate.name] + funnel.undecided.get(s.predicate.name, 0)
    sharp = table.threshold("sharp", 0)
    assert sharp is not None
    assert sum(table.histogram(values, sharp).failing) == funnel.dropped["sharp"] - known_missing(table, values)


def known_missing(table: Table, values: dict[str, dict[int, float]]) -> int:
    """Rows that `sharp` drops since they have no sharpness, although the signal is scored."""
    sharp = table.threshold("sharp", 0)
    assert sharp is not None
    return table.histogram(values, sharp).missing - table.funnel(values).undecided["sharp"]


def test_neighbours_are_the_nearest_rows_of_either_side(made: Recipe, table: Table) -> None:
    sharp, faces = table.threshold("sharp", 0), table.threshold("faces", 0)
    assert sharp is not None and faces is not None
    answer = table.answer({"sharp": {0: 20.0}}, sharp, 5)
    below, above = [n.value for n in answer.failing], [n.value for n in answer.passing]
    assert below == sorted(below, reverse=True) and max(below) < 20 and len(below) == 5
    assert above == sorted(above) and min(above) >= 20 and len(above) == 5
    assert {n.dropped_by for n in answer.failing} == {"sharp"}
    assert "sharp" not in {n.dropped_by for n in answer.passing}
    answer = table.answer({}, faces, 4)
    assert [n.value for n in answer.passing] == [6, 6, 6, 6] and [n.value for n in answer.failing] == [7, 7, 7, 7]
    assert answer == table.answer({}, faces, 4)
    nothing = table.answer({"faces": {0: 100.0}}, faces, 4)
    assert nothing.failing == [] and len(nothing.passing) == 4


def test_text_is_not_held_and_what_does_not_move_is_a_truth_value(table: Table) -> None:
    kinds = dict(table._connection.execute("SELECT column_name, column_type FROM (DESCRIBE tune.images)").fetchall())
    assert kinds == {
        "aesthetic": "FLOAT", "aspect_ratio": "FLOAT", "caption_length": "INTEGER", "face_count": kinds["face_count"],
        "meta_score": "DOUBLE", "min_side": "INTEGER", "ocr_confidence": "FLOAT", "sharpness": "FLOAT",
        "part_2": "BOOLEAN", "part_4_0": "BOOLEAN", "part_4_1": "BOOLEAN", "skipped": "UTINYINT",
    }  # fmt: skip


def test_a_part_that_is_no_truth_value_and_a_number_that_reads_otherwise(table: Table) -> None:
    columns = table.cascade.columns
    mixed = split(table.cascade.admit("p", "face_count between 1 and length(caption)"), 0, columns)
    assert mixed.sql == "(face_count BETWEEN 1 AND part_0_0)" and mixed.parts == {"part_0_0": "length(caption)"}
    signed = split(table.cascade.admit("p", "sharpness > -1::float"), 0, columns)
    assert signed.sql == "sharpness > -1::float" and [t.value for t in signed.thresholds] == [-1]
    assert signed.over_table({"p": {0: 2}}).sql == "sharpness > 2::float"


def test_nothing_indexed_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing is indexed yet; run `curate index RECIPE`"):
        Table(bench.opened(bench.recipe(tmp_path)))


def test_no_predicate_and_nothing_scored(tmp_path: Path) -> None:
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"a.jpg": bench.encoded(bench.picture(1))})
    recipe = bench.recipe(tmp_path)
    bench.index(recipe)
    assert counted(Table(bench.opened(recipe)).funnel({})) == {
        "input": 1,
        "failed": 0,
        "dropped": {},
        "undecided": {},
        "passing": 1,
    }
    table = Table(bench.opened(bench.recipe(tmp_path, select={"where": {"sharp": "sharpness >= 12"}})))
    sharp = table.splits[0].thresholds[0]
    answer = table.answer({}, sharp, 3)
    assert answer.funnel.undecided == {"sharp": 1} and answer.histogram.missing == 1 and answer.passing == []


def test_values_that_are_no_numbers_and_very_large_ones(tmp_path: Path) -> None:
    recipe = make(tmp_path, where={"score": "meta_score < 0.5"})
    path = Workspace(recipe.workspace).samples("c", "00000")
    samples, notes = read_table(path), samples_notes(Workspace(recipe.workspace), "c", "00000")
    strange = [1e308, -1e308, math.inf, -math.inf, math.nan] * (ROWS[0] // 5)
    place = samples.column_names.index("meta_score")
    write_table(path, samples.set_column(place, "meta_score", pa.array(strange, pa.float64())), **notes)
    table = Table(bench.opened(recipe))
    threshold = table.splits[0].thresholds[0]
    answer = table.answer({"score": {0: 2.0}}, threshold, 3)
    assert 1e300 <= table.axis(threshold).high < 2e300
    assert counted(answer.funnel) == by_select(recipe, table, {"score": {0: 2.0}})
    assert sum(answer.histogram.passing) + sum(answer.histogram.failing) + answer.histogram.missing == table.ok
