"""The table of models: each image counts once, the latest ratings count, and nothing is made up where none is given."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation.annotation.rating import RATING_CRITERIA, RATINGS
from curation.annotation.rating_table import RatingResult, lines, markdown, table
from curation.errors import UserError

MEANS = {"ours": (4.0, 3.5, 3.0), "their|s": (2.5, 3.5, 4.0)}
Record = dict[str, Any]


def rating(model: str, image: int, annotator: str, *scores: int | None, revision: int = 1) -> Record:
    own = {"item": f"{model}{image}", "image": f"{image}.png", "prompt": f"prompt {image // 4}", "model": model}
    return own | {"annotator": annotator, "revision": revision} | dict(zip(RATING_CRITERIA, scores, strict=True))


def rated(ratings: list[Record]) -> RatingResult:
    return table(pa.Table.from_pylist(ratings, schema=RATINGS))


def opinions(images: int, people: int, seed: int) -> list[Record]:
    chance = np.random.default_rng(seed)
    ratings = []
    for model, means in MEANS.items():
        for image in range(images):
            worth = np.array(means) + chance.normal(0, 0.5, 3)
            for n in chance.choice(20, people, replace=False):
                scores = np.clip(np.floor(worth + chance.normal(0, 0.3, 3) + chance.random(3)), 1, 5)
                ratings.append(rating(model, image, f"a{n}", *map(int, scores)))
    return ratings


def test_means_and_intervals_are_those_of_the_images() -> None:
    ratings = opinions(80, 5, seed=0)
    found = rated(ratings)
    assert (found.prompts, found.images, found.ratings, found.annotators) == (20, 160, 800, 20)
    assert [(row.model, row.images, row.ratings) for row in found.rows] == [("ours", 80, 400), ("their|s", 80, 400)]
    for row in found.rows:
        for n, name in enumerate(RATING_CRITERIA):
            estimate = row.estimates[name]
            assert estimate is not None and estimate.low is not None and estimate.high is not None
            given = np.array([r[name] for r in ratings if r["model"] == row.model]).reshape(80, 5).mean(axis=1)
            assert estimate.mean == pytest.approx(given.mean(), abs=1e-4)
            assert estimate.mean == pytest.approx(MEANS[row.model][n], abs=0.25)
            normal = 2 * 1.96 * given.std(ddof=1) / np.sqrt(80)
            assert estimate.high - estimate.low == pytest.approx(normal, rel=0.1)
    alpha = found.agreement["visual_appeal"]
    assert alpha is not None and alpha > 0.5  # the models differ by 1.5 there
    chance = np.random.default_rng(1)
    apart = rated([r | {name: int(chance.integers(1, 6)) for name in RATING_CRITERIA} for r in ratings])
    assert all(abs(alpha or 1) < 0.1 for alpha in apart.agreement.values())


def test_every_image_counts_once_however_many_have_rated_it() -> None:
    ratings = [rating("m", image, "ann", 5, 5, 5) for image in range(4)]
    ratings += [rating("m", 0, f"e{n}", 1, 1, 1) for n in range(9)]
    estimate = rated(ratings).rows[0].estimates["overall_satisfaction"]
    assert estimate is not None and estimate.mean == pytest.approx((3 * 5 + 1.4) / 4)


def test_the_latest_revision_counts_and_what_was_taken_back_does_not() -> None:
    ratings = [rating("m", 0, "ann", 4, 4, None, revision=2), rating("m", 0, "ann", 1, 1, 1), rating("m", 1, "ann", 2, 3, 3),
               rating("m", 2, "ann", 5, 5, 5), rating("m", 2, "ann", None, None, None, revision=2)]  # fmt: skip
    (row,) = rated(ratings).rows
    assert (row.images, row.ratings) == (2, 2)
    means = {name: estimate and estimate.mean for name, estimate in row.estimates.items()}
    assert means == {"visual_appeal": 3.0, "text_faithfulness": 3.5, "overall_satisfaction": 3.0}


def test_a_criterion_that_nobody_rated_has_no_mean_and_one_image_no_interval() -> None:
    found = rated([rating("m", 0, "ann", 4, None, None)])
    estimates = found.rows[0].estimates
    assert estimates["text_faithfulness"] is None and found.agreement == dict.fromkeys(RATING_CRITERIA)
    assert estimates["visual_appeal"] is not None and estimates["visual_appeal"].low is None
    assert lines(found)[2].split() == ["m", "1", "1", "4.00", "—", "—"]


@pytest.mark.parametrize("ratings", [[], [rating("m", 0, "ann", None, None, None)]])
def test_without_ratings_it_says_so(ratings: list[Record]) -> None:
    with pytest.raises(UserError, match="there are no ratings of images yet"):
        rated(ratings)


def test_it_is_laid_out_for_a_terminal_and_a_report() -> None:
    found = rated(opinions(8, 3, seed=2))
    said, report = lines(found), markdown(found)
    assert said[0] == "rating: 2 prompts, 16 images, 18 annotators, 48 ratings"
    assert said[1].endswith("Visual appeal  Text faithfulness  Overall satisfaction")
    assert [line.split()[0] for line in said[2:5]] == ["ours", "their|s", "Krippendorff's"]
    assert len({len(line) for line in said[1:5]}) == 1
    estimate = found.rows[0].estimates["visual_appeal"]
    assert estimate is not None and estimate.low is not None and estimate.high is not None
    assert f" {estimate.mean:.2f} ± {(estimate.high - estimate.low) / 2:.2f} " in said[2]
    assert f"| {estimate.mean:.2f} [{estimate.low:.2f}, {estimate.high:.2f}] |" in report
    rows = [line for line in report.splitlines() if line.startswith("|")]
    assert len(rows) == 5 and {row.replace(r"\|", "").count("|") for row in rows} == {7}
    assert json.loads(json.dumps(found.as_dict()))["rows"][0]["estimates"]["visual_appeal"]["mean"] == estimate.mean
