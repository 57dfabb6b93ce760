"""Requests of people who vote, on SQLite and PostgreSQL."""

import io
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select

from annotation_ui.database.tables import items, votes
from annotation_ui.queue.settling import settle
from annotation_ui.task import FOLDER
from tests.annotation_ui.team import MINUTE, Team, make_team, make_workspace


@pytest.fixture
def team(tmp_path: Path, empty_database_url: str) -> Iterator[Team]:
    recipe = make_workspace(tmp_path, 4, unsafe=[0.9], annotation={"blur_from": 0.5})
    made = make_team(recipe, empty_database_url)
    yield made
    made.tool.close()


def stored(team: Team) -> list[Any]:
    with team.tool.database.reading() as connection:
        return list(connection.execute(select(votes).order_by(votes.c.id)))


def statuses(team: Team) -> list[tuple[str, int | None]]:
    with team.tool.database.reading() as connection:
        return [(row.status, row.level) for row in connection.execute(select(items).order_by(items.c.key))]


def test_three_people_vote_and_a_minute_later_the_majority_decides(team: Team) -> None:
    people = [team.member(name) for name in ("ann", "bo", "chen")]
    for person, level in zip(people, (5, 5, 4), strict=True):
        for item in person.claim(4):
            person.vote(item, level, shown_ms=900, decided_ms=1900, hidden_ms=1000, device="keyboard")
    assert len(stored(team)) == 12 and set(statuses(team)) == {("closing", None)}
    assert people[0].post("claim", wanted=1) | {"done": 4} == {
        "state": "nothing", "testing": False, "test": None, "items": [], "left": 4, "done": 4,
    }  # fmt: skip
    team.clock.now += MINUTE
    team.tool.database.write(lambda c: settle(c, team.clock))
    assert set(statuses(team)) == {("decided", 5)}
    row = stored(team)[0]
    assert (row.shown_ms, row.decided_ms, row.hidden_ms, row.device) == (900, 1900, 1000, "keyboard")


def test_nobody_sees_what_others_vote(team: Team) -> None:
    ann, bo = team.member("ann"), team.member("bo")
    (item,) = ann.claim(1)
    ann.vote(item, 5)
    held = {shown["id"]: shown for shown in bo.claim(4)}
    assert held[item["id"]]["level"] is None and held[item["id"]]["revision"] == 0
    assert bo.get("history") == {"items": [], "next": None}


def test_the_same_request_again_gets_the_same_answer(team: Team) -> None:
    ann = team.member("ann")
    (item,) = ann.claim(1)
    key = uuid.uuid4().hex
    first = ann.vote(item, 3, request=key)
    assert ann.vote(item, 3, request=key) == first and len(stored(team)) == 1
    assert ann.vote(item, 4, 409, request=key)["error"]["code"] == "key_reused"


def test_a_vote_is_changed_and_taken_back_until_a_minute_after_the_last(team: Team) -> None:
    ann = team.member("ann")
    (item,) = ann.claim(1)
    ann.vote(item, 3)
    (seen,) = ann.get("history")["items"]
    assert (seen["level"], seen["revision"], seen["changeable"]) == (3, 1, True)
    assert ann.vote(seen, 5)["revision"] == 2
    assert ann.vote(seen, 1, 409)["error"]["code"] == "changed"  # an older page
    body = {"item": item["id"], "lease": item["lease"], "request": uuid.uuid4().hex}
    assert ann.post("withdraw", **body, revision=2)["revision"] == 3
    assert [row.level for row in stored(team)] == [3, 5, None]
    (again,) = ann.claim(1)
    assert (again["id"], again["revision"], again["level"]) == (item["id"], 3, None)
    for name in ("bo", "chen"):
        other = team.member(name)
        other.vote(next(shown for shown in other.claim(4) if shown["id"] == item["id"]), 4)
    ann.vote(again, 4)
    team.clock.now += MINUTE
    (seen,) = ann.get("history")["items"]
    assert not seen["changeable"]
    assert ann.vote(seen, 2, 409)["error"]["code"] == "decided"


def test_a_skipped_image_is_not_given_again_unless_the_skip_is_undone(team: Team) -> None:
    ann = team.member("ann")
    (item,) = ann.claim(1)
    part = {"item": item["id"], "lease": item["lease"]}
    assert ann.post("skip", 422, **part, reason="no reason")["error"]["code"] == "body"
    ann.post("skip", **part, reason="unsure")
    assert item["id"] not in {shown["id"] for shown in ann.claim(4)}
    (seen,) = ann.get("history")["items"]
    assert (seen["skipped"], seen["level"], seen["changeable"]) == ("unsure", None, True)
    ann.post("unskip", **part)
    assert item["id"] in {shown["id"] for shown in ann.claim(4)}


def test_a_lease_that_has_expired_goes_to_others_and_its_late_vote_is_refused(team: Team) -> None:
    ann, others = team.member("ann"), [team.member(name) for name in ("bo", "chen", "dai")]
    (item,) = ann.claim(1)
    team.clock.now += 11 * MINUTE
    for other in others:
        for shown in other.claim(4):
            other.vote(shown, 4)
    assert ann.vote(item, 5, 409)["error"]["code"] == "lease_lost"
    assert all(row.level == 4 for row in stored(team))


def test_leases_are_renewed_and_released(team: Team) -> None:
    ann, bo = team.member("ann"), team.member("bo")
    held = ann.claim(2)
    leases = [item["lease"] for item in held]
    team.clock.now += 9 * MINUTE
    assert ann.post("renew", leases=[*leases, "unknown"]) == {"renewed": leases}
    assert bo.post("renew", leases=leases) == {"renewed": []}
    team.clock.now += 9 * MINUTE
    assert [item["lease"] for item in ann.claim(1)] == leases
    assert ann.post("release", leases=leases) == {"released": leases}
    assert ann.post("release", leases=leases) == {"released": []}


def test_only_what_a_person_holds_can_be_voted_on_and_looked_at(team: Team) -> None:
    ann, bo, reviewer = team.member("ann"), team.member("bo"), team.member("rui", "reviewer")
    (item,) = ann.claim(1)
    address = item["pictures"][0]["preview"]
    assert bo.vote(item, 5, 404)["error"]["code"] == "no_item"
    assert bo.get(address, 404)["error"]["code"] == "no_item"
    for person in (ann, reviewer):
        answer = person.client.get(address)
        assert answer.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert picture.size == (160, 120) == (item["width"], item["height"])
    assert ann.get(address.replace("/0/", "/1/"), 404)["error"]["code"] == "no_item"
    assert ann.get(address.replace("preview", "huge"), 422)["error"]["code"] == "body"


def test_images_with_a_high_unsafe_score_are_marked(team: Team) -> None:
    ann = team.member("ann")
    assert sorted(item["unsafe"] for item in ann.claim(4)) == [False, False, False, True]


def test_ties_and_level_1_wait_for_somebody_who_has_not_voted(team: Team) -> None:
    people = [team.member("ann"), team.member("bo"), team.member("rui", "reviewer")]
    for number, person in enumerate(people):
        for place, item in enumerate(sorted(person.claim(4), key=lambda item: item["id"])):
            person.vote(item, 1 if place == 3 and number == 0 else 3 + number)
    team.clock.now += MINUTE
    team.tool.database.write(lambda c: settle(c, team.clock))
    assert sorted(status for status, _ in statuses(team)) == ["safety_review", "tie", "tie", "tie"]
    assert people[0].get("reviews/next", 403)["error"]["code"] == "role"
    waiting = people[2].get("reviews/next")
    assert waiting["item"] is None and waiting["waiting"] == {"adjudication": 3, "safety_review": 1}
    lead = team.member("li", "lead")
    review = lead.get("reviews/next?kind=safety_review")
    assert review["kind"] == "safety_review" and review["item"]["level"] is None
    later = lead.get(f"reviews/next?kind=safety_review&but={review['item']['id']}")
    assert later["item"] is None and later["waiting"] == review["waiting"]
    verdict = {"item": review["item"]["id"], "level": 1, "request": uuid.uuid4().hex, "note": "<b>gore</b>"}
    assert people[2].post("decisions", 409, **verdict)["error"]["code"] == "own_vote"
    decided = lead.post("decisions", **verdict)
    assert decided["kind"] == "safety_review" and lead.post("decisions", **verdict) == decided
    other = verdict | {"request": uuid.uuid4().hex}
    assert lead.post("decisions", 409, **other)["error"]["code"] == "decided"


def test_a_picture_that_cannot_be_shown_leaves_the_queue_with_the_reason(team: Team, tmp_path: Path) -> None:
    ann = team.member("ann")
    held = ann.claim(4)
    (tmp_path / "raw" / "00000.tar").write_bytes(b"\0" * 2048)
    answer = ann.get(held[0]["pictures"][0]["preview"], 410)
    assert answer["error"]["code"] == "unavailable" and "tar" not in answer["error"]["message"]
    with team.tool.database.reading() as connection:
        row = connection.execute(select(items).where(items.c.id == held[0]["id"])).one()
    assert (row.status, row.taken) == ("unavailable", 0) and "changed since the index" in row.reason
    assert ann.vote(held[0], 5, 409)["error"]["code"] == "lease_lost"
    assert held[0]["id"] not in {item["id"] for item in ann.claim(4)}


def test_a_paused_project_gives_nothing_and_takes_what_is_held(team: Team) -> None:
    from annotation_ui.database.tables import projects

    ann = team.member("ann")
    (item,) = ann.claim(1)
    team.tool.database.write(lambda c: c.execute(projects.update().values(paused=True)) and None)
    paused = ann.post("claim", wanted=4)
    assert paused["state"] == "paused" and [shown["id"] for shown in paused["items"]] == [item["id"]]
    ann.vote(item, 5)
    assert ann.post("claim", wanted=4)["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"level": 0}, {"level": 6}, {"level": None}, {"level": "5; drop table votes"}, {"level": 3, "answer": {"a": {"b": 1}}},
        {"level": 3, "shown_ms": -1}, {"level": 3, "device": "brain"}, {"level": 3, "extra": 1}, {"level": 2.5},
        {"level": 3, "request": "short"}, {"level": 3, "request": "../../../../etc/passwd"}, {"level": 3, "item": 2**70},
    ],
)  # fmt: skip
def test_what_is_no_vote_is_refused_in_one_line(team: Team, body: dict[str, Any]) -> None:
    ann = team.member("ann")
    (item,) = ann.claim(1)
    whole = {"item": item["id"], "lease": item["lease"], "request": uuid.uuid4().hex, "revision": 0} | body
    error = ann.post("votes", 422, **whole)["error"]
    assert error["code"] == "body" and "\n" not in error["message"]
    assert stored(team) == []


def test_an_image_is_voted_on_in_its_own_project_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "tasks"
    own.mkdir()
    (own / "again.yaml").write_text((FOLDER / "levels.yaml").read_text().replace("name: levels", "name: again", 1))
    monkeypatch.setenv("CURATE_TASKS", str(own))
    team = make_team(make_workspace(tmp_path, 2), f"sqlite:///{tmp_path / 'votes.db'}")
    ann = team.member("ann")
    (item,) = ann.claim(1)
    first, second = (project["id"] for project in ann.me["projects"])
    part = {"item": item["id"], "lease": item["lease"]}
    for path, body in (
        ("votes", {"request": "12345678", "level": 3, "revision": 0}),
        ("withdraw", {"request": "12345678", "revision": 0}),
        ("skip", {"reason": "unsure"}),
        ("unskip", {}),
    ):
        other = second if ann.project == first else first
        assert ann.post(f"/api/projects/{other}/{path}", 404, **part, **body)["error"]["code"] == "no_item"
    ann.vote(item, 3)
    team.tool.close()


def test_a_text_that_the_database_has_no_place_for_is_refused(team: Team) -> None:
    ann = team.member("ann")
    answer = ann.client.post(f"/api/projects/{ann.project}/renew", json={"leases": ["a\0b"]})
    answers = {True: (200, {"renewed": []}), False: (422, answer.json())}
    assert (answer.status_code, answer.json()) == answers[team.tool.database.is_sqlite]
