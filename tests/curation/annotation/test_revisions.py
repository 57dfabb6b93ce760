"""The newest of several judgements counts; the earlier ones stay on record, and nothing is added twice."""

from typing import Any

import numpy as np
import pytest

from curation.annotation.revisions import latest, newest, revised


def row(item: str, who: str, score: int, **more: Any) -> dict[str, Any]:
    return {"item": item, "who": who, "score": score} | more


def test_a_later_row_replaces_and_the_same_is_not_added_again() -> None:
    unique_by, content = ("item", "who"), ("score",)
    first = revised(
        [], [row("a", "ann", 1), row("a", "bo", 1), row("a", "ann", 1), row("a", "ann", 2)], unique_by, content
    )
    assert first == [row("a", "ann", 1, revision=1), row("a", "bo", 1, revision=1), row("a", "ann", 2, revision=2)]
    assert revised(first, [row("a", "ann", 2), row("a", "bo", 1)], unique_by, content) == []
    back = revised(first, [row("a", "ann", 1)], unique_by, content)
    assert back == [row("a", "ann", 1, revision=3)]
    assert latest([*first, *back], unique_by) == {("a", "ann"): back[0], ("a", "bo"): first[1]}


@pytest.mark.parametrize("seed", range(5))
def test_the_newest_of_each_subject_counts_wherever_it_stands(seed: int) -> None:
    chance = np.random.default_rng(seed)
    subject, revision = chance.integers(0, 60, 200), chance.integers(1, 4, 200)
    expected: dict[int, int] = {}
    for n in range(200):
        if subject[n] not in expected or revision[n] >= revision[expected[subject[n]]]:
            expected[subject[n]] = n
    assert np.flatnonzero(newest(subject, revision)).tolist() == sorted(expected.values())


def test_of_nothing_nothing_counts() -> None:
    nothing = np.zeros(0, np.int64)
    assert newest(nothing, nothing).tolist() == [] and newest(nothing + 1, nothing).dtype == bool
