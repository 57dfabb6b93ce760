"""What a lead takes from a person goes to others, and stays on record."""

from tests.queue_project import Project, refusal


def test_returned_leases_go_to_others(empty: Project) -> None:
    empty.asked = 1
    empty.fill(images=4)
    claims = empty.claim(1, 4).claims
    empty.cast(1, claims[0])
    assert empty.return_leases(1) == 3 and empty.return_leases(1) == 0
    assert len(empty.claim(2, 4).claims) == 3


def test_retracted_votes_are_asked_of_others_and_stay_on_record(project: Project) -> None:
    held = project.rated(1, 3, 3)
    assert project.retract(1) == 1 and project.retract(1) == 0
    assert (project.item().status, project.item().taken, project.item().voted) == ("open", 2, 2)
    assert [(vote.revision, vote.level, vote.request is None) for vote in project.votes(1)] == [
        (1, 1, False), (2, None, True),
    ]  # fmt: skip
    assert project.claim(1).state == "nothing"  # not the same person again
    for request in (
        lambda: project.cast(1, held[1], 4, revision=2),
        lambda: project.skip(1, held[1]),
        lambda: project.unskip(1, held[1]),
    ):
        assert refusal(request) == "lease_lost"
    assert refusal(lambda: project.withdraw(1, held[1], 2)) == "no_vote"
    project.cast(4, project.one(4), 3)
    project.settle()
    assert (project.item().status, project.item().level) == ("decided", 3)


def test_the_repetition_of_a_vote_that_was_retracted_is_answered_and_does_not_count(project: Project) -> None:
    claim = project.one(1)
    vote = project.vote(claim, 5, key="a")
    saved = project.send(1, vote)
    project.retract(1)
    assert project.send(1, vote) == saved and project.item().voted == 0


def test_votes_that_have_decided_stay(empty: Project) -> None:
    empty.asked = 1
    empty.with_rules(gold=0.3).fill(images=2, gold=1)
    first, second = [c for c in empty.claim(1, 3).claims if c.item_id < 3]
    empty.cast(1, first)
    empty.settle()
    empty.cast(1, second)
    assert empty.retract(1) == 1
    assert empty.item(first.item_id).status == "decided" and empty.item(second.item_id).status == "open"
    assert empty.part(1, first.item_id).state == "voted" and empty.part(1, second.item_id).state == "retracted"
