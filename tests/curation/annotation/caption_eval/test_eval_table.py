"""The table: means that are the evaluators' own, intervals that hold, and nothing that was not measured."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.annotation.caption_eval.criteria import CRITERIA_HELP
from curation.annotation.caption_eval.files import CRITERIA
from curation.annotation.caption_eval.layout import lines, markdown
from curation.annotation.caption_eval.published import ROWS, Published
from curation.annotation.caption_eval.scores import import_scores
from curation.annotation.caption_eval.table import COLUMNS, Result, table
from curation.errors import UserError
from curation.recipe import Recipe
from tests import bench, evaluated
from tests.evaluated import opinions, score_file

IMAGES = 60
MEANS = {"both": (4.0, 3.5, 3.0, 2.5), "english": (2.2, 3.5, 3.8, 3.0)}
DESCRIBE = {"captioner": {"backend": "describe"}}
OWN = {"captioners": {"both": DESCRIBE, "english": DESCRIBE | {"translator": None}}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Sixty images, captioned by two captioners of which one gives no Chinese."""
    folder = tmp_path_factory.mktemp("evaluation")
    for shard in range(2):
        members = {f"{n}.jpg": bench.encoded(bench.picture(100 * shard + n, (48, 32))) for n in range(IMAGES // 2)}
        bench.write_tar(folder / "raw" / f"0000{shard}.tar", members)
    recipe = evaluated.selected(folder, caption_eval=OWN)
    evaluated.sheet(recipe)
    return recipe


@pytest.fixture
def fresh(made: Recipe) -> Recipe:
    """The same without any scores."""
    (Path(made.workspace) / "caption_eval/scores.parquet").unlink(missing_ok=True)
    return made


def scored(made: Recipe, rows: list[list[Any]]) -> Result:
    import_scores(bench.opened(made), score_file(Path(made.workspace) / "scores.csv", rows))
    return table(bench.opened(made))


def captions(made: Recipe) -> list[dict[str, Any]]:
    return evaluated.read_rows(made, "captions")


def test_means_are_those_that_the_scores_were_made_from(fresh: Recipe) -> None:
    rows = opinions(captions(fresh), MEANS, evaluators=6, seed=1)
    result = scored(fresh, rows)
    assert (result.images, result.evaluators, result.scores, result.notes) == (
        IMAGES, 6, IMAGES * 2 * 6, [f"without Chinese: {IMAGES} captions; Length is the mean of the others"])  # fmt: skip
    whose = {row["item"]: row["captioner"] for row in captions(fresh)}
    for row in result.rows:
        given = np.array([r[2:] for r in rows if whose[r[0]] == row.captioner], float)
        for n, name in enumerate(CRITERIA):
            estimate = row.estimates[name]
            assert estimate is not None and estimate.mean == pytest.approx(given[:, n].mean(), abs=1e-4)
            assert estimate.low is not None and estimate.high is not None
            assert estimate.low < estimate.mean < estimate.high and estimate.high - estimate.low < 0.5
            assert estimate.mean == pytest.approx(MEANS[row.captioner][n], abs=0.25)
        average = row.estimates["avg"]
        assert average is not None and average.mean == pytest.approx(given.mean(), abs=1e-4)
    lengths = [row["length"] for row in captions(fresh) if row["captioner"] == "both"]
    assert result.rows[0].estimates["length"] is not None
    assert result.rows[0].estimates["length"].mean == pytest.approx(np.mean(lengths), abs=1e-4)
    assert result.rows[1].estimates["length"] is None
    assert table(bench.opened(fresh)) == result


def test_every_image_counts_once_however_many_have_scored_it(fresh: Recipe) -> None:
    own = captions(fresh)
    rows = [[row["item"], "ann", 5, 5, 5, 5] for row in own]
    rows += [[row["item"], f"e{n}", 1, 1, 1, 1] for row in own if row["image"] == 1 for n in range(9)]
    estimate = scored(fresh, rows).rows[0].estimates["avg"]
    assert estimate is not None and estimate.mean == pytest.approx(((IMAGES - 1) * 5 + 1.4) / IMAGES, abs=1e-4)


def test_agreement_follows_the_evaluators(fresh: Recipe) -> None:
    own = captions(fresh)
    close = scored(fresh, opinions(own, MEANS, 5, seed=2, spread=0.1)).agreement
    (Path(fresh.workspace) / "caption_eval/scores.parquet").unlink()
    random = np.random.default_rng(3)
    apart = scored(
        fresh, [[row["item"], f"e{n}", *random.integers(1, 6, 4)] for row in own for n in range(5)]
    ).agreement
    assert all(abs(alpha or 1) < 0.1 for alpha in apart.values())
    assert close["completeness"] is not None and close["completeness"] > 0.7  # the captioners differ by 1.8 there
    assert close["correlation"] is not None and close["correlation"] < 0.3  # they do not differ: only rounding is left


def test_one_evaluator_has_nobody_to_agree_with(fresh: Recipe) -> None:
    result = scored(fresh, opinions(captions(fresh), MEANS, 1, seed=4))
    assert result.agreement == dict.fromkeys(CRITERIA)
    assert "Krippendorff's α (ordinal)" in "\n".join(lines(result))


def test_images_that_not_all_captioners_have_a_score_of_are_left_out_and_told(fresh: Recipe) -> None:
    own = captions(fresh)
    rows = [[r["item"], "ann", 4, 4, 4, 4] for r in own if r["image"] <= 10 or (r["image"] <= 15 and r["captioner"] == "both")]  # fmt: skip
    result = scored(fresh, rows)
    assert (result.images, result.scores) == (10, 20)
    assert f"left out: {IMAGES - 10} of {IMAGES} images, not scored for all captioners yet" in result.notes


def test_images_without_a_caption_are_left_out_and_told(tmp_path: Path) -> None:
    members = {f"{n}.jpg": bench.encoded(bench.picture(n, (64, 48))) for n in range(3)}
    raw = bench.write_tar(tmp_path / "raw" / "00000.tar", members)
    made = evaluated.selected(tmp_path, caption_eval=OWN)
    data, offset = bytearray(raw.read_bytes()), bench.rows(tmp_path / "work/samples/c/00000.parquet")[1]["offset"]
    data[offset : offset + 500] = bytes(500)
    raw.write_bytes(data)
    assert evaluated.sheet(made)["without_caption"] == 2
    result = scored(made, [[row["item"], "ann", 4, 4, 4, 4] for row in captions(made) if row["item"]])
    assert result.images == 2
    assert "left out: 1 of 3 images, no caption by both 1, english 1" in result.notes


def test_scores_of_captions_that_are_no_more_are_told(tmp_path: Path) -> None:
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"a.jpg": bench.encoded(bench.picture(0))})
    made = evaluated.selected(tmp_path, caption_eval=OWN)
    evaluated.sheet(made)
    scored(made, [[row["item"], "ann", 4, 4, 4, 4] for row in captions(made)])
    one = bench.recipe(tmp_path, caption_eval={"captioners": {"both": DESCRIBE}})
    assert (
        "the recipe now names both; run `curate caption-eval sheet RECIPE` to compare these"
        in table(bench.opened(one)).notes
    )
    evaluated.sheet(one)
    result = table(bench.opened(one))
    assert result.notes == ["1 score on record, of captions that the sheet no longer has"]
    assert result.rows[0].estimates["avg"] is not None and result.rows[0].estimates["avg"].low is None  # one image


def test_it_is_laid_out_as_the_paper_does_with_the_published_rows_marked(fresh: Recipe) -> None:
    result = scored(fresh, opinions(captions(fresh), MEANS, 3, seed=5))
    said = lines(result)
    assert said[0] == f"caption-eval: {IMAGES} images, 2 captioners, 3 evaluators"
    assert said[1].split() == ["Length", "Completeness", "Correlation", "Hallucination", "Subjectivity", "Avg"]
    assert [line.split()[0] for line in said[2:5]] == ["both", "english", "Krippendorff's"]
    assert said[5].startswith("published (Kolors, Table 2): 500 other images, 10 other evaluators")
    published = [line.split() for line in said[6:11]]
    assert [row[0] for row in published] == [
        "LLaVA1.5-13B", "InternLM-XComposer-7B", "CogAgent-VQA", "CogVLM-1.1-chat", "GPT-4V"]  # fmt: skip
    assert [row[1:] for row in published[3:]] == [
        ["99.7", "4.54", "4.54", "4.64", "4.51", "4.56"], ["43.9", "4.75", "4.60", "4.78", "4.52", "4.66"]]  # fmt: skip
    assert len({len(line) for line in said[1:3]}) == 1 and max(map(len, said[:11])) <= 120
    report = markdown(result)
    rows = [line for line in report.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 2 + 1 + 1 + 5 and {row.count("|") for row in rows} == {8}
    estimate = result.rows[0].estimates["completeness"]
    assert estimate is not None and estimate.low is not None and estimate.high is not None
    assert f" {estimate.mean:.2f} ± {(estimate.high - estimate.low) / 2:.2f} " in said[2]
    assert f"| {estimate.mean:.2f} [{estimate.low:.2f}, {estimate.high:.2f}] |" in report
    told = result.as_dict()
    assert told["rows"][0]["captioner"] == "both" and set(told["rows"][0]) == {"captioner", *COLUMNS}
    assert told["published"]["rows"][4] == {"captioner": "GPT-4V", "length": 43.89, "completeness": 4.75,
                                            "correlation": 4.6, "hallucination": 4.78, "subjectivity": 4.52,
                                            "avg": 4.66}  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.captioner)
def test_a_published_average_is_that_of_the_published_criteria(row: Published) -> None:
    assert row.avg == pytest.approx(sum(getattr(row, name) for name in CRITERIA) / 4, abs=0.00501)


def test_every_criterion_is_explained_in_both_languages_with_both_ends_of_its_scale() -> None:
    assert CRITERIA_HELP.keys() == set(CRITERIA)
    for words in CRITERIA_HELP.values():
        assert words.keys() == {"en", "zh"} and all("5" in text and "1" in text for text in words.values())


def test_without_scores_or_a_sheet_the_command_is_named(fresh: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no scores yet; run `curate caption-eval import RECIPE scores.csv`"):
        table(bench.opened(fresh))
    with pytest.raises(UserError, match="there is no sheet yet; run `curate caption-eval sheet RECIPE`"):
        table(bench.opened(bench.recipe(tmp_path)))
    only = next(row for row in captions(fresh) if row["captioner"] == "both")
    with pytest.raises(UserError, match="no image has scores for all of both, english yet"):
        scored(fresh, [[only["item"], "ann", 4, 4, 4, 4]])
