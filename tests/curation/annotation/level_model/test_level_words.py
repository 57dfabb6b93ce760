"""What `annotate learn` says to people of what it has found."""

from typing import Any

import pytest

from curation.annotation.level_model.words import in_lines


def facts(**changed: Any) -> dict[str, Any]:
    names = ("accuracy", "baseline_accuracy", "agreement", "mean_error", "baseline_error", "level5_auc", "level5_brier",
             "level5_brier_baseline", "level5_ece")  # fmt: skip
    found: dict[str, Any] = dict.fromkeys(names, [0.61, 0.55, 0.67]) | changed
    left = {"images": 40_980, "level5": 5300, "low": 4100, "high": 6800, "outside": found.pop("outside", 0.0)}
    return {"predicted": 41_230, "learned": 322, "decided": 250, "accuracy": found, "remaining": left}


def test_the_figures_stand_beside_what_needs_no_model() -> None:
    said = "\n".join(in_lines(facts(baseline_accuracy=[0.44, 0.4, 0.48], agreement=[0.7, 0.65, 0.75])))
    assert "41,230 images predicted, by 322 with votes" in said
    assert "accuracy 61.0% (55.0% to 67.0%) of 250 decided; always the most frequent level 44.0%" in said
    assert "two people agree 70.0%" in said
    assert "Level 5 among the 40,980 images not decided: about 5,300 (4,100 to 6,800)" in said
    assert "chance" not in said.replace("predicted chance", "")


@pytest.mark.parametrize("area", [None, [0.55, 0.45, 0.65]])
def test_a_model_that_tells_nothing_is_not_to_order_the_queue(area: list[float] | None) -> None:
    assert "vote in random order" in in_lines(facts(level5_auc=area))[-1]


def test_what_rests_on_the_model_alone_is_told() -> None:
    assert in_lines(facts(outside=0.125))[-1].startswith("12.5% of them have a lower or higher chance than any voted")


def test_a_note_stands_alone() -> None:
    assert in_lines({"note": "no model yet", "voted": 3}) == ["no model yet"]
