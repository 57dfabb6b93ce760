"""Claims: who gets which item, and that what is held stays held."""

import pytest
from sqlalchemy import update

from annotation_ui.database.tables import UNAVAILABLE, items, projects
from annotation_ui.queue.rules import MINUTE, Refused
from tests.queue_project import START, Project


def test_what_is_held_is_given_again_and_renewed(empty: Project) -> None:
    empty.fill(images=6)
    first = empty.claim(1, 4)
    empty.now += 5 * MINUTE
    again = empty.claim(1, 4)
    assert first.state == again.state == "ready" and len(first.claims) == 4
    assert [(c.item_id, c.lease) for c in again.claims] == [(c.item_id, c.lease) for c in first.claims]
    assert {c.expires_at for c in again.claims} == {START + 15 * MINUTE}
    assert empty.part(1, first.claims[0].item_id).expires_at == START + 15 * MINUTE
    assert [c.item_id for c in empty.claim(1, 6).claims][:4] == [c.item_id for c in first.claims]


def test_nobody_holds_more_than_ten(empty: Project) -> None:
    assert len(empty.fill(images=12).claim(1, 50).claims) == 10


def test_no_more_people_than_votes_are_given_an_image(project: Project) -> None:
    assert [project.claim(person).state for person in range(1, 6)] == ["ready"] * 3 + ["nothing"] * 2
    assert (project.item().taken, project.item().voted) == (3, 0)


@pytest.mark.parametrize("asked", [1, 3, 5])
def test_as_many_votes_are_taken_as_are_asked(empty: Project, asked: int) -> None:
    empty.asked = asked
    empty.fill(images=2, persons=7)
    for person in range(1, 8):
        for claim in empty.claim(person, 2).claims:
            empty.cast(person, claim)
    assert len(empty.votes()) == 2 * asked
    assert [(empty.item(n).taken, empty.item(n).voted, empty.item(n).status) for n in (1, 2)] == [
        (asked, asked, "closing")
    ] * 2
    assert empty.settle() == 2 and empty.item().level == 3


def test_a_person_is_asked_once_about_an_image(project: Project) -> None:
    project.cast(1, project.one(1))
    assert project.claim(1).state == "nothing"
    project.skip(2, project.one(2))
    assert project.claim(2).state == "nothing"


def test_everyone_sees_the_images_in_another_order(empty: Project) -> None:
    empty.asked = 9
    empty.fill(images=9)
    orders = {tuple(claim.item_id for claim in empty.claim(person, 9).claims) for person in range(1, 7)}
    assert len(orders) == 6
    assert all(sorted(order) == list(range(1, 10)) for order in orders)


def test_what_others_have_begun_comes_before_what_is_fresh(empty: Project) -> None:
    empty.fill(images=40)
    begun = {claim.item_id for claim in empty.claim(1, 3).claims}
    assert {claim.item_id for claim in empty.claim(2, 3).claims} == begun


def test_the_first_tier_comes_first(empty: Project) -> None:
    empty.fill(images=0)
    tiers = {empty.add(f"c/t/{tier}/{n}", tier=tier): tier for n in range(3) for tier in (2, 0, 1)}
    order = [tiers[claim.item_id] for claim in empty.claim(1, 9).claims]
    assert order == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_an_item_far_behind_those_a_person_has_had_is_found(empty: Project) -> None:
    empty.fill(images=0)
    for number in range(130):
        empty.add(f"c/t/{number}", shuffle=number)
    for _ in range(13):
        for claim in empty.claim(1, 10).claims:
            empty.cast(1, claim)
    last = empty.add("c/t/last", shuffle=2**30)
    assert [claim.item_id for claim in empty.claim(1, 1).claims] == [last]


def test_while_a_project_is_paused_nothing_new_is_given(empty: Project) -> None:
    empty.fill(images=5)
    held = empty.claim(1, 2).claims
    empty.write(lambda c: c.execute(update(projects).values(paused=True)))
    assert empty.claim(2, 2).state == "paused" and empty.claim(2, 2).claims == []
    paused = empty.claim(1, 4)
    assert paused.state == "paused" and [c.lease for c in paused.claims] == [c.lease for c in held]
    assert empty.cast(1, held[0]).revision == 1  # what is held may be voted on
    empty.write(lambda c: c.execute(update(projects).values(paused=False)))
    assert len(empty.claim(1, 4).claims) == 4


def test_items_that_are_not_open_are_not_given(empty: Project) -> None:
    empty.fill(images=2)
    empty.write(lambda c: c.execute(update(items).where(items.c.id == 1).values(status=UNAVAILABLE)))
    assert [claim.item_id for claim in empty.claim(1, 4).claims] == [2]


def test_a_share_of_what_people_get_is_gold(empty: Project) -> None:
    empty.asked = 1
    empty.with_rules(gold=0.2).fill(images=300, gold=120, persons=1)
    given = []
    for _ in range(300):
        claim = empty.one(1)
        given.append(claim.item_id > 300)
        empty.cast(1, claim)
    assert 40 <= sum(given) <= 80


def test_gold_runs_out_and_images_go_on(empty: Project) -> None:
    empty.with_rules(gold=1.0).fill(images=3, gold=2)
    assert sorted(claim.item_id > 3 for claim in empty.claim(1, 10).claims) == [False] * 3 + [True] * 2


def test_everyone_may_hold_the_same_gold_item(empty: Project) -> None:
    empty.with_rules(gold=1.0).fill(images=0, gold=1)
    assert [empty.one(person).item_id for person in range(1, 7)] == [1] * 6


def test_an_image_is_not_gold_for_someone_who_was_asked_about_it(empty: Project) -> None:
    empty.fill(images=1)
    empty.one(1)
    empty.add("c/s/0", kind="gold", known=4, asked=2**31 - 1)
    empty.with_rules(gold=1.0)
    assert len(empty.claim(1, 4).claims) == 1
    assert len(empty.claim(2, 4).claims) == 2  # to whom it is both


@pytest.mark.parametrize(("project_id", "person"), [(2, 1), (1, 99)])
def test_an_unknown_project_or_person_is_refused(project: Project, project_id: int, person: int) -> None:
    from annotation_ui.queue.claiming import claim

    with pytest.raises(Refused, match="no such") as refused:
        project.write(lambda c: claim(c, project.clock, project.random, project.rules, project_id, person, 1))
    assert refused.value.code == "no_project"
