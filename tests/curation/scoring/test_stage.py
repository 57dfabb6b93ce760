"""The pass over a shard: who is scored, what is kept, and what a failing row costs."""

import os
from pathlib import Path

import pytest

from curation import signals
from curation.errors import UserError
from curation.recipe import load_recipe
from curation.scoring.stage import plan
from curation.signals.base import signal_backends, signal_names
from curation.tasks import Watch
from curation.workspace import Workspace
from pipelines import stages
from tests import bench

PROBE = '''
from typing import ClassVar
import pyarrow as pa
from curation.errors import RowError
from curation.models.plugin import PluginParams
from curation.signals.base import PerImage, Row, Scores

class ProbeParams(PluginParams):
    bias: float = 0.0

class Probe(PerImage):
    """Mean blue of a big picture; odd where the test asks for it."""
    name = "probe"
    backend = "mean"
    version = 1
    side = 900
    cost = 50.0
    inputs = ("caption",)
    columns = {"blue": pa.float32()}
    Params = ProbeParams
    seen: ClassVar[list[str]] = []

    def score_one(self, row: Row) -> Scores:
        text = row.sample["caption"]
        self.seen.append(text)
        if "reason" in text:
            raise RowError("odd", "asked for")
        if "bug" in text:
            raise KeyError("a plug-in's mistake")
        if "nan" in text:
            return {"blue": float("nan")}
        return {"blue": float(row.picture.bgr(900)[:, :, 0].mean()) + self.params.bias}
'''


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A signal of the test's own, found as one file in a folder."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "probe.py").write_text(PROBE)
    monkeypatch.setattr(signals, "__path__", [*signals.__path__, str(folder)])
    monkeypatch.delitem(__import__("sys").modules, "curation.signals.probe", raising=False)
    signal_names.cache_clear()
    signal_backends.cache_clear()
    yield signal_backends("probe")["mean"]
    signal_names.cache_clear()
    signal_backends.cache_clear()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twelve pictures of growing width, 100 to 1200, the caption saying so."""
    members: dict[str, bytes] = {}
    for n in range(12):
        members[f"{n:03d}.jpg"] = bench.encoded(bench.picture(n, (100 * (n + 1), 400)))
        members[f"{n:03d}.txt"] = f"width {100 * (n + 1)}".encode()
    bench.write_tar(tmp_path / "raw" / "00000.tar", members)
    return tmp_path


def states(folder: Path, name: str) -> list[str]:
    return [row[f"{name}_state"] for row in bench.rows(folder / "work" / "signals" / name / "c" / "00000.parquet")]


def test_a_signal_is_computed_for_rows_that_pass_what_comes_before(corpus: Path, probe) -> None:  # type: ignore[no-untyped-def]
    made = bench.recipe(corpus, signals={"photo": {}, "probe": {}},
                        select={"where": {"wide": "width >= 500", "sharp": "sharpness > 0", "blue": "blue > 0"}})  # fmt: skip
    bench.index(made)
    bench.score(made)
    assert states(corpus, "photo") == ["skipped"] * 4 + ["scored"] * 8
    assert states(corpus, "probe") == ["skipped"] * 4 + ["scored"] * 8
    assert sorted(probe.seen) == sorted(f"width {100 * n}" for n in range(5, 13))


def test_loosening_fills_the_gaps_and_tightening_loses_nothing(corpus: Path, probe) -> None:  # type: ignore[no-untyped-def]
    def run(width: int) -> int:
        probe.seen.clear()
        made = bench.recipe(corpus, signals={"probe": {}}, select={"where": {"wide": f"width >= {width}"}})
        bench.index(made)
        return bench.score(made)

    assert run(900) == 4
    before = bench.rows(corpus / "work/signals/probe/c/00000.parquet")
    assert run(1200) == 0
    assert run(600) == 3
    assert sorted(probe.seen) == ["width 600", "width 700", "width 800"]
    after = bench.rows(corpus / "work/signals/probe/c/00000.parquet")
    assert after[8:] == before[8:] and [r["probe_state"] for r in after] == ["skipped"] * 5 + ["scored"] * 7


def test_a_changed_parameter_recomputes_that_signal_alone(corpus: Path, probe) -> None:  # type: ignore[no-untyped-def]
    made = bench.recipe(corpus, signals={"photo": {}, "probe": {}})
    bench.index(made)
    bench.score(made)
    photo = corpus / "work/signals/photo/c/00000.parquet"
    stamp, before = photo.stat().st_mtime_ns, bench.rows(corpus / "work/signals/probe/c/00000.parquet")
    changed = bench.recipe(corpus, signals={"photo": {}, "probe": {"bias": 5.0}})
    assert plan(bench.opened(changed)).reasons == {"probe.parameters.bias: 0.0 → 5.0": 1}
    bench.score(changed)
    after = bench.rows(corpus / "work/signals/probe/c/00000.parquet")
    assert photo.stat().st_mtime_ns == stamp
    assert [round(a["blue"] - b["blue"], 3) for a, b in zip(after, before, strict=True)] == [5.0] * 12


def test_a_score_does_not_depend_on_what_else_runs_in_the_pass(corpus: Path, probe) -> None:  # type: ignore[no-untyped-def]
    both = bench.recipe(corpus, signals={"photo": {}, "probe": {}})
    bench.index(both)
    bench.score(both)
    together = (corpus / "work/signals/photo/c/00000.parquet").read_bytes()
    alone = bench.recipe(corpus, workspace="./other")
    bench.index(alone)
    bench.score(alone)
    assert (corpus / "other/signals/photo/c/00000.parquet").read_bytes() == together


@pytest.mark.parametrize(("text", "says"), [
    ("reason", "odd: asked for"), ("bug", "error: KeyError: "), ("nan", "not_finite: "),
])  # fmt: skip
def test_a_row_that_fails_costs_itself_alone(tmp_path: Path, probe, text: str, says: str) -> None:  # type: ignore[no-untyped-def]
    members = {}
    for n in range(5):
        members[f"{n}.jpg"] = bench.encoded(bench.picture(n))
        members[f"{n}.txt"] = (text if n == 2 else "fine").encode()
    bench.write_tar(tmp_path / "raw" / "00000.tar", members)
    made = bench.recipe(tmp_path, signals={"probe": {}})
    bench.index(made)
    bench.score(made)
    scored = bench.rows(tmp_path / "work/signals/probe/c/00000.parquet")
    assert [r["probe_state"] for r in scored] == ["scored", "scored", "failed", "scored", "scored"]
    assert scored[2]["probe_error"].startswith(says) and scored[2]["blue"] is None


def test_a_picture_cut_in_the_middle_is_failed_with_a_reason(tmp_path: Path) -> None:
    good = bench.encoded(bench.picture(1))
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"a.jpg": good, "b.jpg": good[: len(good) // 2]})
    made = bench.recipe(tmp_path)
    bench.index(made)
    bench.score(made)
    scored = bench.rows(tmp_path / "work/signals/photo/c/00000.parquet")
    assert [r["photo_state"] for r in scored] == ["scored", "failed"]
    assert scored[1]["photo_error"].startswith("truncated: ")


def test_what_needs_a_failed_signal_fails_and_says_so(tmp_path: Path) -> None:
    good = bench.encoded(bench.picture(1))
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"a.jpg": good, "b.jpg": good[:3000]})
    made = bench.recipe(tmp_path, signals={"photo": {}, "aesthetic": {}})
    bench.index(made)
    bench.score(made)
    scored = bench.rows(tmp_path / "work/signals/aesthetic/c/00000.parquet")
    assert [r["aesthetic_state"] for r in scored] == ["scored", "failed"]
    assert scored[1]["aesthetic_error"].startswith("needs_photo: truncated")


def test_failed_rows_stay_failed_until_asked(tmp_path: Path) -> None:
    good = bench.encoded(bench.picture(1))
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"a.jpg": good, "b.jpg": good[:3000]})
    made = bench.recipe(tmp_path)
    bench.index(made)
    bench.score(made)
    assert not plan(bench.opened(made)).tasks
    assert plan(bench.opened(made), retry_failed=True).reasons == {"to be tried again": 1}
    assert plan(bench.opened(made), retry_failed=True).tasks[0].run(Watch()).rows == 1


def test_a_raw_shard_that_changed_since_the_index_is_said_on_the_row(corpus: Path) -> None:
    made = bench.recipe(corpus)
    bench.index(made)
    raw = corpus / "raw" / "00000.tar"
    raw.write_bytes(raw.read_bytes()[:20_000])
    for task in plan(bench.opened(made)).tasks:
        assert task.run(Watch()).failed["photo changed"] > 0


def test_other_bytes_at_a_rows_place_are_never_scored_for_it(corpus: Path) -> None:
    made = bench.recipe(corpus)
    bench.index(made)
    raw = corpus / "raw" / "00000.tar"
    first, *_, last = [row for row in bench.rows(corpus / "work/samples/c/00000.parquet") if row["status"] == "ok"]
    data, stat = bytearray(raw.read_bytes()), raw.stat()
    length = first["length"]
    other = (data[last["offset"] : last["offset"] + last["length"]] + bytes(length))[:length]  # ends in zeros
    data[first["offset"] : first["offset"] + length] = other
    raw.write_bytes(data)
    os.utime(raw, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as rsync and unpacked archives set it
    bench.score(made)
    scored = {row["key"]: row for row in bench.rows(corpus / "work/signals/photo/c/00000.parquet")}
    assert scored[first["key"]]["photo_error"].startswith("changed: changed since the index; run `curate index`")
    assert scored[last["key"]]["photo_state"] == "scored"


@pytest.mark.slow
def test_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    for shard in range(5):
        bench.write_tar(tmp_path / "raw" / f"{shard:05d}.tar",
                        {f"{n}.jpg": bench.encoded(bench.picture(100 * shard + n)) for n in range(4)})  # fmt: skip
    trees = []
    for workers in (1, 3):
        made = bench.recipe(tmp_path, workspace=f"./work{workers}", workers=workers,
                            signals={"photo": {}, "caption": {}, "aesthetic": {}})  # fmt: skip
        assert stages.index(bench.opened(made)).ok and stages.score(bench.opened(made)).ok
        trees.append(bench.tree(tmp_path / f"work{workers}"))
    assert trees[0] == trees[1] and len(trees[0]) == 5 * 4


@pytest.mark.parametrize(("signals_given", "where", "says"), [
    ({"foto": {}}, {}, 'signals.foto: there is no signal "foto"; did you mean "photo"?'),
    ({"photo": {"sied": 3}}, {}, "signals.photo.sied: unknown key"),
    ({"aesthetic": {}}, {}, "signals.aesthetic: reads the signal photo; add `photo: {}` to signals"),
    ({"aesthetic": {"backend": "laion"}, "photo": {}}, {}, "signals.aesthetic.backend: there is no \"laion\"; did you mean"),
    ({"caption": {}}, {"sharp": "sharpness > 3"}, 'the column "sharpness" is given by the signal photo; add `photo: {}`'),
    ({"photo": {}}, {"sharp": "sharpnes > 3"}, 'select.where.sharp: there is no column "sharpnes"; did you mean "sharpness"?'),
])  # fmt: skip
def test_a_wrong_recipe_is_one_line_before_any_work(corpus: Path, signals_given, where, says: str) -> None:  # type: ignore[no-untyped-def]
    made = bench.recipe(corpus, signals=signals_given, select={"where": where})
    bench.index(made)
    with pytest.raises(UserError) as caught:
        plan(bench.opened(made))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_scoring_before_indexing_names_the_command(corpus: Path) -> None:
    with pytest.raises(UserError, match="run `curate index RECIPE`"):
        stages.score(bench.opened(bench.recipe(corpus)))


def test_another_order_of_the_predicates_is_scored_for(corpus: Path, probe) -> None:  # type: ignore[no-untyped-def]
    where = {"wide": "width >= 900", "blue": "blue >= 0"}
    made = bench.recipe(
        corpus, signals={"probe": {}, "photo": {}}, select={"where": where | {"sharp": "sharpness >= 0"}}
    )
    bench.index(made)
    bench.score(made)
    turned = {"blue": where["blue"], "wide": where["wide"], "sharp": "sharpness >= 0"}
    other = bench.recipe(corpus, signals={"probe": {}, "photo": {}}, select={"where": turned})
    assert plan(bench.opened(other)).tasks
    bench.score(other)
    assert stages.select(bench.opened(other)).ok


@pytest.mark.slow
def test_too_many_failed_is_said_of_the_whole_and_not_of_the_last_run(tmp_path: Path) -> None:
    good = bench.encoded(bench.picture(1))
    for shard in range(3):
        members = {f"{n}.jpg": bench.encoded(bench.picture(10 * shard + n)) for n in range(5)}
        bench.write_tar(tmp_path / "raw" / f"{shard:05d}.tar", members | ({"x.jpg": good[:3000]} if shard == 2 else {}))
    made = bench.recipe(tmp_path, max_failed_share=0.1)
    assert stages.index(bench.opened(made)).ok and stages.score(bench.opened(made)).ok
    (tmp_path / "work/signals/photo/c/00002.parquet").unlink()
    assert stages.score(bench.opened(made)).ok


def test_workspace_knows_its_shards(corpus: Path) -> None:
    made = bench.recipe(corpus)
    bench.index(made)
    assert Workspace(made.workspace).shards("c") == ["00000"]
    assert load_recipe(corpus / "recipe.yaml").workspace == str(corpus / "work")


@pytest.mark.slow
def test_a_raw_shard_that_is_taken_away_is_gone_and_may_come_back(tmp_path: Path) -> None:
    for shard in ("00000", "00001"):
        bench.write_tar(
            tmp_path / "raw" / f"{shard}.tar", {f"{n}.jpg": bench.encoded(bench.picture(n)) for n in range(3)}
        )
    made = bench.recipe(tmp_path)
    assert stages.index(bench.opened(made)).ok and stages.score(bench.opened(made)).ok
    (tmp_path / "raw" / "00001.tar").rename(tmp_path / "away.tar")
    assert stages.index(bench.opened(made)).notes == ["c/00001 is gone; its rows are marked so"]
    assert stages.index(bench.opened(made)).done == 0
    assert stages.select(bench.opened(made)).more["funnel"]["failed"] == 3
    (tmp_path / "away.tar").rename(tmp_path / "raw" / "00001.tar")
    stages.index(bench.opened(made))
    assert stages.select(bench.opened(made)).more["funnel"]["kept"] == 3  # the other three are copies of them
    assert stages.score(bench.opened(made)).rows == 0
