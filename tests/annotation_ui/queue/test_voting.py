"""Votes: a request sent twice counts once, and nothing is voted that was not held."""

import pickle

import pytest
from sqlalchemy import update

from annotation_ui.database.tables import UNAVAILABLE, items
from annotation_ui.queue.rules import MINUTE, Refused
from annotation_ui.queue.voting import Times
from tests.queue_project import START, Project, refusal


def test_a_vote_is_stored_with_all_that_was_measured(project: Project) -> None:
    claim = project.one(1)
    project.now += 7_000
    times = Times(shown_ms=6_000, decided_ms=6_500, hidden_ms=500, device="keyboard")
    saved = project.cast(1, claim, 4, key="mine", times=times)
    assert (saved.item_id, saved.revision, saved.at) == (claim.item_id, 1, START + 7_000)
    (vote,) = project.votes()
    assert (vote.item_id, vote.person_id, vote.round, vote.revision, vote.level) == (1, 1, 1, 1, 4)
    assert (vote.shown_ms, vote.decided_ms, vote.hidden_ms, vote.device) == (6_000, 6_500, 500, "keyboard")
    assert (vote.at, vote.request, vote.answer) == (START + 7_000, "mine", None)
    assert (project.part(1).state, project.part(1).level, project.part(1).expires_at) == ("voted", 4, None)
    assert (project.item().taken, project.item().voted, project.item().status) == (1, 1, "open")


def test_the_same_key_has_the_same_answer_whatever_has_come_after(project: Project) -> None:
    claim = project.one(1)
    first = project.vote(claim, 4, key="a")
    saved = project.send(1, first)
    project.now += 1_000
    assert project.send(1, first) == saved
    change = project.vote(claim, 2, revision=1, key="b")
    changed = project.send(1, change)
    assert project.send(1, first) == saved and project.send(1, change) == changed
    withdrawn = project.withdraw(1, claim, 2, key="c")
    project.now += 60 * MINUTE
    project.claim(2)  # takes the lease back
    project.one(1)  # under another lease
    assert project.withdraw(1, claim, 2, key="c") == withdrawn
    assert project.send(1, first) == saved and project.send(1, change) == changed
    assert [vote.revision for vote in project.votes()] == [1, 2, 3]


@pytest.mark.parametrize("other", ["level", "item", "person", "kind"])
def test_a_key_is_good_for_one_request_only(empty: Project, other: str) -> None:
    empty.fill(images=2)
    first, second = empty.claim(1, 2).claims
    empty.cast(1, first, 4, key="a")
    requests = {
        "level": lambda: empty.cast(1, first, 2, key="a", revision=1),
        "item": lambda: empty.cast(1, second, 4, key="a"),
        "person": lambda: empty.cast(2, [c for c in empty.claim(2, 2).claims if c.item_id == first.item_id][0], 4,
                                     key="a"),
        "kind": lambda: empty.withdraw(1, first, 1, key="a"),
    }  # fmt: skip
    assert refusal(requests[other]) == "key_reused"
    assert len(empty.votes()) == 1


def test_a_change_from_another_page_is_refused(project: Project) -> None:
    claim = project.one(1)
    project.cast(1, claim, 4)
    assert refusal(lambda: project.cast(1, claim, 2, revision=0)) == "changed"  # a page that knows of no vote
    project.cast(1, claim, 2, revision=1)
    assert refusal(lambda: project.cast(1, claim, 5, revision=1)) == "changed"
    assert refusal(lambda: project.withdraw(1, claim, revision=1)) == "changed"
    assert project.part(1).level == 2


def test_a_stale_page_does_not_vote_under_a_lease_that_ran_out_after_a_withdrawal(project: Project) -> None:
    claim = project.one(1)
    project.cast(1, claim, 4)
    project.withdraw(1, claim, 1)
    project.now += 11 * MINUTE
    project.claim(2)
    assert project.part(1).state == "returned"
    assert refusal(lambda: project.cast(1, claim, 2, revision=1)) == "changed"
    assert project.cast(1, claim, 2, revision=2).revision == 3


def test_a_vote_under_an_expired_lease_counts_while_a_slot_is_free(project: Project) -> None:
    claim = project.one(1)
    project.now += 30 * MINUTE
    project.claim(2), project.claim(3)
    assert project.part(1).state == "returned" and project.item().taken == 2
    assert project.cast(1, claim).revision == 1
    assert (project.part(1).state, project.item().taken, project.item().voted) == ("voted", 3, 1)
    assert project.claim(4).state == "nothing"


def test_a_vote_under_an_expired_lease_that_nobody_took_back_counts(project: Project) -> None:
    claim = project.one(1)
    project.now += 30 * MINUTE
    assert project.cast(1, claim).revision == 1 and project.item().taken == 1


def test_a_vote_under_an_expired_lease_is_refused_once_the_slot_is_gone(project: Project) -> None:
    claim = project.one(1)
    project.now += 30 * MINUTE
    for person in (2, 3, 4):
        project.one(person)
    assert refusal(lambda: project.cast(1, claim)) == "lease_lost"
    assert project.votes() == [] and project.item().taken == 3


def test_nobody_votes_on_what_was_not_given(empty: Project) -> None:
    empty.fill(images=2)
    claim = empty.one(1)
    assert refusal(lambda: empty.cast(2, claim)) == "no_item"  # another's lease
    other = type(claim)(3 - claim.item_id, claim.lease, claim.expires_at)
    assert refusal(lambda: empty.cast(1, other)) == "no_item"
    nowhere = type(claim)(999, claim.lease, claim.expires_at)
    assert refusal(lambda: empty.cast(1, nowhere)) == "no_item"
    empty.release(1, claim)
    while empty.claim(1, 2).claims[0].item_id != claim.item_id:
        empty.return_leases(1)
    assert refusal(lambda: empty.cast(1, claim)) == "no_item"  # held again, under a lease of a newer page


def test_a_refusal_reaches_another_process() -> None:
    refused = pickle.loads(pickle.dumps(Refused("decided", "it is closed")))
    assert (refused.code, str(refused)) == ("decided", "it is closed")


def test_an_empty_vote_is_refused(project: Project) -> None:
    claim = project.one(1)
    assert refusal(lambda: project.cast(1, claim, None)) == "no_answer"
    assert project.item().voted == 0


def test_the_last_vote_closes_the_image_for_a_minute_in_which_votes_may_change(project: Project) -> None:
    held = project.rated(3, 4, 5)
    assert (project.item().status, project.item().decide_at) == ("closing", START + MINUTE)
    project.now += MINUTE - 1
    project.cast(1, held[1], 4, revision=1)
    assert project.item().decide_at == START + MINUTE  # a change does not put it off
    project.now += 1
    assert refusal(lambda: project.cast(1, held[1], 5, revision=2)) == "decided"  # though nothing has closed it yet
    assert refusal(lambda: project.withdraw(2, held[2])) == "decided"
    assert project.settle(0) == 1 and project.item().level == 4
    assert refusal(lambda: project.cast(1, held[1], 5, revision=2)) == "decided"


def test_a_repeated_vote_is_answered_after_the_decision(project: Project) -> None:
    claim = project.one(1)
    vote = project.vote(claim, 3, key="a")
    saved = project.send(1, vote)
    project.rated(3, 3, item_of=2)
    project.settle()
    assert project.item().status == "decided" and project.send(1, vote) == saved


def test_a_withdrawal_opens_the_image_and_keeps_the_slot_under_a_lease(project: Project) -> None:
    held = project.rated(3, 3, 5)
    assert project.withdraw(3, held[3]).revision == 2
    assert (project.item().status, project.item().taken, project.item().voted) == ("open", 3, 2)
    assert project.item().decide_at is None and project.part(3).state == "leased" and project.part(3).level is None
    assert project.settle() == 0 and project.claim(4).state == "nothing"
    project.cast(3, held[3], 2, revision=2)
    assert project.item().status == "closing" and project.settle() == 1 and project.item().level == 3
    assert [(vote.revision, vote.level) for vote in project.votes(3)] == [(1, 5), (2, None), (3, 2)]


def test_a_withdrawal_stores_no_answer_even_if_it_names_one(project: Project) -> None:
    from annotation_ui.queue.voting import withdraw

    claim = project.one(1)
    project.cast(1, claim, 4)
    vote = project.vote(claim, 5, revision=1)
    project.write(lambda c: withdraw(c, project.clock, project.rules, 1, vote))
    assert project.votes()[-1].level is None and project.part(1).level is None


def test_only_a_vote_is_withdrawn(project: Project) -> None:
    claim = project.one(1)
    assert refusal(lambda: project.withdraw(1, claim, 0)) == "no_vote"


def test_a_withdrawn_vote_goes_to_others_when_its_lease_runs_out(empty: Project) -> None:
    empty.asked = 1
    empty.fill()
    claim = empty.one(1)
    empty.cast(1, claim)
    empty.withdraw(1, claim)
    empty.now += 11 * MINUTE
    assert empty.claim(2).state == "ready"


def test_a_page_that_knows_nothing_of_a_withdrawn_vote_may_vote_anew(project: Project) -> None:
    claim = project.one(1)
    project.cast(1, claim)
    project.withdraw(1, claim)
    assert project.one(1).revision == 2  # held still
    project.release(1, claim)
    again = project.one(1)
    assert again.revision == 2 and again.lease != claim.lease
    assert project.cast(1, again, revision=again.revision).revision == 3


def test_a_skipped_image_goes_to_others_and_comes_back_when_the_skip_is_undone(empty: Project) -> None:
    empty.asked = 1
    empty.fill()
    claim = empty.one(1)
    empty.skip(1, claim, "too small")
    assert (empty.part(1).state, empty.part(1).reason, empty.item().taken) == ("skipped", "too small", 0)
    empty.skip(1, claim, "too small")  # sent again
    assert empty.claim(1).state == "nothing"
    assert refusal(lambda: empty.cast(1, claim)) == "lease_lost"
    empty.unskip(1, claim)
    empty.unskip(1, claim)  # sent again
    assert empty.part(1).state == "leased" and empty.item().taken == 1
    empty.skip(1, claim)
    empty.one(2)
    assert refusal(lambda: empty.unskip(1, claim)) == "lease_lost"


def test_a_skip_counts_though_the_lease_has_run_out(project: Project) -> None:
    claim = project.one(1)
    project.now += 11 * MINUTE
    project.claim(2)
    project.skip(1, claim)
    assert project.part(1).state == "skipped" and project.item().taken == 1
    assert project.claim(1).state == "nothing"


def test_a_vote_is_not_skipped(project: Project) -> None:
    claim = project.one(1)
    project.cast(1, claim)
    assert refusal(lambda: project.skip(1, claim)) == refusal(lambda: project.unskip(1, claim)) == "voted"
    assert refusal(lambda: project.skip(2, claim)) == "no_item"
    assert project.part(1).state == "voted"


def test_a_vote_does_not_open_an_image_that_is_gone(project: Project) -> None:
    held = {person: project.one(person) for person in (1, 2, 3)}
    project.cast(1, held[1])
    project.cast(2, held[2])
    project.write(lambda c: c.execute(update(items).values(status=UNAVAILABLE, reason="gone")))
    assert refusal(lambda: project.cast(3, held[3])) == "decided"
    assert refusal(lambda: project.cast(1, held[1], 4, revision=1)) == "decided"
    assert refusal(lambda: project.withdraw(1, held[1])) == "decided"
    assert project.settle() == 0 and (project.item().status, project.item().voted) == ("unavailable", 2)


def test_other_tasks_answer_more_than_a_level_and_need_no_verdict(empty: Project) -> None:
    empty.fill(task="pairs")
    answer = {"better": "a", "seen": [1, 2]}
    for person in (1, 2, 3):
        claim = empty.one(person)
        vote = empty.vote(claim, None, key=f"p{person}", answer=answer)
        assert empty.send(person, vote) == empty.send(person, vote)
    assert refusal(lambda: empty.cast(1, claim, None, key="p1", answer=answer | {"better": "b"})) == "key_reused"
    assert [vote.answer for vote in empty.votes()] == [answer] * 3
    assert empty.settle() == 1
    assert (empty.item().status, empty.item().level) == ("decided", None)
