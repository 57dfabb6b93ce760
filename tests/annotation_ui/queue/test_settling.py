"""Verdicts of the votes."""

import pytest

from annotation_ui.queue.rules import MINUTE
from tests.queue_project import Project


@pytest.mark.parametrize(("levels", "verdict"), [
    ((3, 3, 3), ("decided", 3)),
    ((5, 2, 5), ("decided", 5)),
    ((2, 3, 4), ("tie", None)),
    ((5, 1, 5), ("safety_review", None)),
    ((4,), ("decided", 4)),
    ((1,), ("safety_review", None)),
    ((2, 2, 3, 3, 4), ("tie", None)),
    ((2, 2, 3, 2, 4), ("decided", 2)),
])  # fmt: skip
def test_the_majority_decides(empty: Project, levels: tuple[int, ...], verdict: tuple[str, int | None]) -> None:
    empty.asked = len(levels)
    empty.fill().rated(*levels)
    assert empty.settle() == 1
    assert (empty.item().status, empty.item().level, empty.item().decide_at) == (*verdict, None)
    assert empty.settle() == 0


def test_what_counts_is_the_vote_that_stands(project: Project) -> None:
    held = project.rated(1, 3, 5)
    project.cast(1, held[1], 3, revision=1)
    project.withdraw(3, held[3])
    project.cast(3, held[3], 4, revision=2)
    project.settle()
    assert (project.item().status, project.item().level) == ("decided", 3)


def test_nothing_is_closed_before_its_minute_or_without_its_votes(empty: Project) -> None:
    empty.fill(images=2)
    for person in (1, 2, 3):
        first, second = empty.claim(person, 2).claims
        empty.cast(person, first)
        if person < 3:
            empty.cast(person, second)
    assert empty.settle(MINUTE - 1) == 0
    closing = sum(empty.item(number).status == "closing" for number in (1, 2))
    assert empty.settle(1) == closing


def test_items_are_closed_by_the_batch_the_oldest_first(empty: Project) -> None:
    empty.asked = 1
    empty.fill(images=5)
    order = []
    for claim in empty.claim(1, 5).claims:
        empty.now += 1_000
        empty.cast(1, claim)
        order.append(claim.item_id)
    assert empty.settle(MINUTE, limit=2) == 2
    assert [empty.item(number).status for number in order] == ["decided"] * 2 + ["closing"] * 3
    assert empty.settle(0) == 3
