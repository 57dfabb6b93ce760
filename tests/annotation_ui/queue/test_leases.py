"""Leases: they are renewed, returned and run out, and a slot is never counted twice."""

from annotation_ui.queue.leases import AT_ONCE
from annotation_ui.queue.rules import MINUTE
from tests.queue_project import START, Project


def test_a_lease_is_kept_for_ten_minutes_and_then_goes_to_others(empty: Project) -> None:
    empty.asked = 1
    empty.fill()
    empty.one(1)
    empty.now += 10 * MINUTE - 1
    assert empty.claim(2).state == "nothing"
    empty.now += 1
    assert empty.claim(2).state == "ready"
    assert (empty.part(1).state, empty.part(1).slot, empty.part(1).expires_at) == ("returned", None, None)
    assert empty.item().taken == 1


def test_a_renewed_lease_does_not_run_out(empty: Project) -> None:
    empty.asked = 1
    empty.fill()
    claim = empty.one(1)
    empty.now += 9 * MINUTE
    assert empty.renew(1, claim) == [claim.lease]
    empty.now += 9 * MINUTE
    assert empty.claim(2).state == "nothing"


def test_an_own_lease_that_ran_out_is_renewed_if_nobody_took_it_back(project: Project) -> None:
    claim = project.one(1)
    project.now += 60 * MINUTE  # the machine slept
    assert project.one(1).lease == claim.lease
    assert project.cast(1, claim).revision == 1


def test_only_what_is_still_held_is_renewed(empty: Project) -> None:
    empty.fill(images=3)
    mine, voted, gone = empty.claim(1, 3).claims
    empty.cast(1, voted)
    empty.release(1, gone)
    assert empty.renew(1, mine, voted, gone) == [mine.lease]
    assert empty.renew(2, mine) == []  # another's


def test_what_is_released_can_be_had_again_by_everyone(project: Project) -> None:
    claim = project.one(1)
    assert project.release(1, claim) == [claim.lease]
    assert project.release(1, claim) == []
    assert project.item().taken == 0
    again = project.one(1)
    assert again.lease != claim.lease and project.release(1, claim) == []  # a late release by the old page
    assert project.part(1).state == "leased" and project.item().taken == 1


def test_nobody_releases_the_lease_of_another_or_a_vote(project: Project) -> None:
    claim = project.one(1)
    assert project.release(2, claim) == []
    project.cast(1, claim)
    assert project.release(1, claim) == [] and project.item().taken == 1


def test_a_clock_that_is_set_back_keeps_leases_longer(empty: Project) -> None:
    empty.asked = 1
    empty.fill()
    empty.one(1)
    empty.now = START - 60 * MINUTE
    assert empty.claim(2).state == "nothing"


def test_any_number_of_leases_runs_out_bit_by_bit(empty: Project) -> None:
    empty.asked = 1
    empty.fill(images=AT_ONCE + 20, persons=8)
    for person in range(1, 8):
        empty.claim(person, 10)
    empty.now += 10 * MINUTE
    assert len(empty.claim(8, 10).claims) == 10
    free = [number for number in range(1, AT_ONCE + 21) if empty.item(number).taken == 0]
    assert len(free) == AT_ONCE - 10
