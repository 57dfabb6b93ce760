"""The entry test."""

import pytest
from sqlalchemy import select

from annotation_ui.database.tables import qualifications
from annotation_ui.queue.rules import MINUTE
from tests.queue_project import Project, refusal

GOLD, WRONG, RIGHT = 100, 3, 4  # gold items have numbers above GOLD, and Level 4


@pytest.fixture
def tested(empty: Project) -> Project:
    """An image, gold items, and a test of 20 of them, of which 80 % must be right."""
    return empty.with_rules(qualify_items=20, qualify_pass=0.8).fill(images=GOLD, gold=60)


def answer(project: Project, person: int, right: int, wrong: int, wanted: int = 4) -> None:
    """Lets a person answer so many items of the test, with the next ones fetched ahead."""
    levels = [WRONG] * wrong + [RIGHT] * right
    while levels:
        claims = project.claim(person, wanted).claims
        project.cast(person, claims[0], levels.pop())


def standing(project: Project, person: int = 1) -> tuple[str, int, int]:
    own = select(qualifications).where(qualifications.c.person_id == person)
    row = project.database.read(lambda c: c.execute(own).one())
    return row.state, row.correct, row.answered


@pytest.mark.parametrize(("right", "state"), [(16, "passed"), (15, "failed")])
def test_the_test_is_passed_by_the_share_that_is_asked(tested: Project, right: int, state: str) -> None:
    answer(tested, 1, right, 20 - right)
    assert standing(tested) == (state, right, 20)
    claimed = tested.claim(1, 4)
    if state == "passed":
        assert claimed.state == "ready" and all(claim.item_id <= GOLD for claim in claimed.claims)
    else:
        assert claimed == type(claimed)([], "failed")


def test_exactly_twenty_are_given_though_some_are_fetched_ahead(tested: Project) -> None:
    answer(tested, 1, 18, 0)
    claimed = tested.claim(1, 4)
    assert claimed.state == "ready" and len(claimed.claims) == 2
    assert len(tested.claim(1, 10).claims) == 2  # and so it is for a second page
    assert all(claim.item_id > GOLD for claim in claimed.claims)
    for claim in claimed.claims:
        tested.cast(1, claim, RIGHT)
    assert standing(tested) == ("passed", 20, 20)


def test_no_image_is_given_during_the_test(tested: Project) -> None:
    assert all(claim.item_id > GOLD for claim in tested.claim(1, 10).claims)
    assert [tested.item(number).taken for number in (1, GOLD)] == [0, 0]


def test_a_change_counts_during_the_test_and_not_after_it(tested: Project) -> None:
    answer(tested, 1, 14, 4)
    last, other = tested.claim(1, 2).claims
    tested.cast(1, last, WRONG)
    assert standing(tested) == ("testing", 14, 19)
    tested.cast(1, last, RIGHT, revision=1)
    assert standing(tested) == ("testing", 15, 19)
    tested.withdraw(1, last, 2)
    assert standing(tested) == ("testing", 14, 18)
    tested.cast(1, last, RIGHT, revision=3)
    tested.cast(1, other, WRONG)
    assert standing(tested) == ("failed", 15, 20)
    tested.cast(1, other, RIGHT, revision=1)
    assert standing(tested) == ("failed", 15, 20)


def test_a_test_without_enough_gold_items_says_so(empty: Project) -> None:
    empty.with_rules(qualify_items=5, qualify_pass=0.5).fill(images=1, gold=2)
    for claim in empty.claim(1, 4).claims:
        empty.cast(1, claim, RIGHT)
    assert empty.claim(1, 4).state == "no_gold"


def test_gold_that_ran_out_of_its_lease_is_given_again(tested: Project) -> None:
    first = tested.claim(1, 4).claims
    tested.now += 11 * MINUTE
    tested.claim(2)
    assert len(tested.claim(1, 20).claims) == 10
    assert {claim.lease for claim in first}.isdisjoint(claim.lease for claim in tested.claim(1, 20).claims)


def test_whoever_failed_may_try_again_with_other_items_and_without_the_old_answers(tested: Project) -> None:
    old = tested.claim(1, 1).claims[0]
    tested.cast(1, old, WRONG)
    answer(tested, 1, 0, 19)
    seen = {vote.item_id for vote in tested.votes()}
    tested.try_again(1)
    assert standing(tested) == ("testing", 0, 0)
    assert refusal(lambda: tested.cast(1, old, RIGHT, revision=1)) == "lease_lost"
    assert refusal(lambda: tested.withdraw(1, old)) == "no_vote"
    assert standing(tested) == ("testing", 0, 0)
    answer(tested, 1, 20, 0)
    assert standing(tested) == ("passed", 20, 20)
    assert len({vote.item_id for vote in tested.votes()}) == len(seen) + 20


def test_only_who_failed_takes_the_test_again(tested: Project) -> None:
    answer(tested, 1, 20, 0)
    tested.try_again(1)
    tested.try_again(2)
    assert standing(tested) == ("passed", 20, 20)


def test_without_a_test_images_come_at_once(project: Project) -> None:
    assert project.claim(1).state == "ready"
    assert project.database.read(lambda c: c.execute(select(qualifications)).all()) == []
