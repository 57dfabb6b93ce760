"""Verdicts by reviewers, who have never voted on the image."""

import pytest

from annotation_ui.queue.reviewing import waiting
from tests.queue_project import Project, refusal


@pytest.mark.parametrize(("levels", "kind"), [((2, 3, 4), "adjudication"), ((1, 4, 4), "safety_review")])
def test_a_reviewer_decides_and_the_votes_stay(project: Project, levels: tuple[int, ...], kind: str) -> None:
    project.rated(*levels)
    project.settle()
    assert project.write(lambda c: waiting(c, 1))[kind] == 1
    assert project.review(5) == 1 and project.review(5, but=[1]) is None
    verdict = project.decide(5, 1, 2)
    assert (verdict.item_id, verdict.level, verdict.kind, verdict.at) == (1, 2, kind, project.now)
    assert (project.item().status, project.item().level) == ("decided", 2)
    assert [vote.level for vote in project.votes()] == list(levels)
    assert project.review(5) is None and project.write(lambda c: waiting(c, 1))[kind] == 0


def test_nobody_decides_on_an_own_vote_not_even_a_withdrawn_or_retracted_one(project: Project) -> None:
    claim = project.one(4)
    project.cast(4, claim)
    project.withdraw(4, claim)
    project.release(4, claim)
    project.cast(5, project.one(5))
    project.retract(5)
    project.rated(2, 3, 4)
    project.settle()
    assert project.item().status == "tie"
    for person in (1, 4, 5):
        assert project.review(person) is None
        assert refusal(lambda person=person: project.decide(person, 1, 3)) == "own_vote"
    assert project.review(6) == 1


def test_a_verdict_sent_again_has_the_same_answer_and_another_is_refused(project: Project) -> None:
    project.rated(2, 3, 4)
    project.settle()
    verdict = project.decide(5, 1, 3, "a")
    project.now += 5_000
    assert project.decide(5, 1, 3, "a") == verdict
    assert refusal(lambda: project.decide(5, 1, 4, "a")) == "key_reused"
    assert refusal(lambda: project.decide(6, 1, 3, "a")) == "key_reused"
    assert refusal(lambda: project.decide(6, 1, 3, "b")) == "decided"
    assert project.item().level == 3


def test_only_what_waits_is_decided(empty: Project) -> None:
    empty.fill(images=2)
    assert refusal(lambda: empty.decide(5, 1, 3)) == "decided"
    assert refusal(lambda: empty.decide(5, 99, 3)) == "no_item"
    assert empty.review(5) is None


def test_reviewers_may_ask_for_one_kind_and_draw_at_random(empty: Project) -> None:
    empty.fill(images=4)
    for person, level in ((1, 2), (2, 3), (3, 4)):
        for claim in empty.claim(person, 4).claims:
            empty.cast(person, claim, 1 if claim.item_id == 4 else level)
    empty.settle()
    assert {empty.review(5, kinds=("safety_review",)) for _ in range(5)} == {4}
    assert {empty.review(5, kinds=("tie",)) for _ in range(40)} == {1, 2, 3}
