"""The text-rich subset: marked by a rule of the recipe, quoted in captions, told in the product and counted."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw, ImageFont

from curation.errors import UserError
from curation.recipe import Recipe
from curation.selection.stage import Selection
from curation.views.query import run_query
from pipelines import stages
from tests import bench

RULE = "text_lines >= 1 and ocr_confidence >= 0.9 and text_area_share >= 0.02"
LINES = ("GRAND OPENING SATURDAY", "Doors open at nine in the morning", "Bring your friends and family along")


def poster(size: int) -> bytes:
    image = Image.new("RGB", (900, 600), (240, 235, 220))
    for n, line in enumerate(LINES):
        ImageDraw.Draw(image).text((40, 60 + 150 * n), line, (30, 30, 80), ImageFont.load_default(size))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, sample_photos: dict[str, bytes]) -> Path:
    folder = tmp_path_factory.mktemp("text")
    photo = sample_photos["000000001"]
    members = {"poster.jpg": poster(46), "poster.txt": b"a poster", "photo.jpg": photo, "photo.txt": b"a photo"}
    bench.write_tar(folder / "raw" / "00000.tar", members)
    made = recipe(folder)
    assert stages.index(bench.opened(made)).ok and stages.score(bench.opened(made)).ok
    return folder


def recipe(folder: Path, rule: str | None = RULE, **values: Any) -> Recipe:
    select = {"where": {"size": "min_side >= 100"}} | ({"text_in_the_wild": rule} if rule else {})
    return bench.recipe(folder, signals={"photo": {}, "faces": {}, "ocr": {}}, select=select, workers=1,
                        captions={"synthetic_share": 1, "language": {"en": 1, "zh": 0}}, **values)  # fmt: skip


def captions(made: Recipe) -> dict[str, dict[str, Any]]:
    table = pq.read_table(Path(made.workspace) / "captions" / "c" / "00000.parquet")
    return {row["key"].split("/")[-1]: row for row in table.to_pylist()}


@pytest.mark.slow
def test_the_subset_goes_all_the_way_into_the_product(folder: Path) -> None:
    made = recipe(folder)
    summary = stages.select(bench.opened(made))
    assert summary.more["funnel"]["text_in_the_wild"] == 1
    assert summary.lines()[-1].split() == ["of", "these", "text", "in", "the", "wild", "1"]
    _, rows, _ = run_query(bench.opened(made), "select key, source from images order by key", 10)
    assert [(k.split("/")[-1], s) for k, s in rows] == [("photo", "web"), ("poster", "text_in_the_wild")]
    assert stages.caption(bench.opened(made)).ok
    said = captions(made)["poster"]["caption_en"]
    assert all(line in said for line in LINES)  # the whole text, where others get its beginning
    assert stages.build_shards(bench.opened(made)).ok
    with tarfile.open(Path(made.workspace) / "shards" / "concept" / "000000.tar") as tar:
        records = [json.load(tar.extractfile(m)) for m in tar if m.name.endswith(".json")]  # type: ignore[arg-type]
    assert {r["key"].split("/")[-1]: r["source"] for r in records} == {"photo": "web", "poster": "text_in_the_wild"}
    stats = json.loads((Path(made.workspace) / "shards" / "concept" / "stats.json").read_text())
    assert stats["sources"] == {"text_in_the_wild": 1, "web": 1}


@pytest.mark.slow
def test_another_rule_captions_anew_only_what_it_moves(folder: Path) -> None:
    made = recipe(folder)
    stages.select(bench.opened(made))
    stages.caption(bench.opened(made))
    before = captions(made)
    without = recipe(folder, rule=None)
    assert "text_in_the_wild" not in stages.select(bench.opened(without)).more["funnel"]
    assert stages.caption(bench.opened(without)).rows == 1
    after = captions(without)
    assert after["photo"] == before["photo"]
    assert LINES[2] not in after["poster"]["caption_en"] and after["poster"]["captioned_as"] == "web"


@pytest.mark.slow
def test_a_rule_that_reads_nothing_scored_waits(folder: Path, tmp_path: Path) -> None:
    made = recipe(folder, workspace=str(tmp_path / "work"))
    stages.index(bench.opened(made))
    funnel = Selection(bench.opened(made)).funnel()
    assert funnel.kept == 0 and sum(funnel.undecided.values()) == 2 and funnel.text_in_the_wild == 0


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "says"), [
    ("text_line >= 1", 'select.text_in_the_wild.*: there is no column "text_line"; did you mean "text_lines"'),
    ("unsafe > 0.5", "the column \"unsafe\" is given by the signal safety; add `safety: {}`"),
    ("(select 1) = 1", "select.text_in_the_wild"),
])  # fmt: skip
def test_a_wrong_rule_is_one_line(folder: Path, rule: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        Selection(bench.opened(recipe(folder, rule=rule)))
    assert "\n" not in str(caught.value)
