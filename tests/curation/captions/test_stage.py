"""Stage `caption`: kept rows get a caption once; what fails is said on the row."""

from pathlib import Path

import pytest

from curation.captions.stage import plan
from curation.errors import StageError, UserError
from curation.recipe import Recipe
from curation.selection.stage import Selection
from curation.tasks import Watch
from tests import bench


def caption(made: Recipe) -> int:
    return sum(task.run(Watch()).rows for task in plan(bench.opened(made)).tasks)


def selected(folder: Path, **values) -> Recipe:  # type: ignore[no-untyped-def]
    made = bench.recipe(folder, **values)
    bench.index(made)
    bench.score(made)
    Selection(bench.opened(made)).write()
    return made


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    bench.write_tar(tmp_path / "raw" / "00000.tar",
                    {f"{n}.jpg": bench.encoded(bench.picture(n, (200 + 100 * n, 300))) for n in range(4)})  # fmt: skip
    return tmp_path


def captions(folder: Path) -> list[dict]:
    return bench.rows(folder / "work/captions/c/00000.parquet")


def test_kept_rows_get_english_and_true_chinese(corpus: Path) -> None:
    caption(selected(corpus, select={"where": {"size": "width >= 300"}}))
    made = captions(corpus)
    assert [r["attempts"] for r in made] == [None, 1, 1, 1]
    assert made[0]["caption_en"] is None and made[0]["captioner"] is None
    for row in made[1:]:
        assert row["caption_en"].endswith(".") and row["caption_zh"].endswith("。")
        assert row["translated"] is True and row["flags"] == []
        assert (row["captioner"], row["translator"]) == ("describe", "describe_zh")


def test_a_wider_selection_captions_only_what_is_new(corpus: Path) -> None:
    made = selected(corpus, select={"where": {"size": "width >= 400"}})
    assert caption(made) == 2
    before = captions(corpus)
    wider = selected(corpus, select={"where": {"size": "width >= 300"}})
    assert caption(wider) == 1
    assert captions(corpus)[2:] == before[2:]
    assert caption(wider) == 0


def test_another_captioner_begins_anew(corpus: Path) -> None:
    caption(selected(corpus))
    other = selected(corpus, captions={"captioner": {"backend": "describe", "max_text": 10}})
    assert caption(other) == 4


def test_without_a_translator_no_row_claims_chinese(corpus: Path) -> None:
    caption(selected(corpus, captions={"translator": None}))
    assert {(r["caption_zh"], r["translated"], r["translator"]) for r in captions(corpus)} == {(None, False, None)}


def test_an_image_that_is_gone_by_now_is_flagged(corpus: Path) -> None:
    made = selected(corpus)
    raw = corpus / "raw" / "00000.tar"
    data = bytearray(raw.read_bytes())
    offset = bench.rows(corpus / "work/samples/c/00000.parquet")[2]["offset"]
    data[offset : offset + 2000] = bytes(2000)
    raw.write_bytes(data)
    assert caption(made) == 4
    assert [r["flags"] for r in captions(corpus)] == [[], [], ["changed"], []]
    assert captions(corpus)[2]["caption_en"] is None


def test_without_a_selection_the_command_is_named(corpus: Path) -> None:
    made = bench.recipe(corpus)
    bench.index(made)
    with pytest.raises(StageError, match="curate select RECIPE"):
        plan(bench.opened(made))


@pytest.mark.parametrize(("given", "says"), [
    ({"captioner": {"backend": "describ"}}, 'captions.captioner.backend: there is no captioner "describ"; did you mean'),
    ({"captioner": {"backend": "describe", "txt": 1}}, 'captions.captioner.txt: unknown key; did you mean "max_text"?'),
    ({"translator": {"backend": "describe"}}, 'captions.translator.backend: there is no translator "describe"'),
])  # fmt: skip
def test_a_wrong_backend_is_one_line(corpus: Path, given: dict, says: str) -> None:
    with pytest.raises(UserError) as caught:
        plan(bench.opened(bench.recipe(corpus, captions=given)))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_selection_by_other_rules_is_not_captioned(corpus: Path) -> None:
    selected(corpus, select={"where": {"size": "width >= 400"}})
    other = bench.recipe(corpus, select={"where": {"size": "width >= 300"}})
    with pytest.raises(StageError, match="selected by other rules.*curate select RECIPE"):
        plan(bench.opened(other))


def test_a_signal_that_the_captioner_reads_must_be_scored_first(corpus: Path) -> None:
    selected(corpus)
    made = bench.recipe(corpus, signals={"photo": {}, "ocr": {}})
    with pytest.raises(StageError, match="reads ocr, which is not scored; run `curate score RECIPE`"):
        plan(bench.opened(made))
