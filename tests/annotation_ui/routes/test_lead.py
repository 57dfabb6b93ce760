"""The lead's requests, on a server's own code."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select, update
from starlette.testclient import TestClient

from annotation_ui.accounts.people import invite
from annotation_ui.app import make_app
from annotation_ui.database.engine import Database
from annotation_ui.database.migrate import migrate
from annotation_ui.database.tables import GOLD, items, projects, qualifications, slots, votes
from annotation_ui.queue import claiming, voting
from annotation_ui.queue.rules import Rules
from annotation_ui.routes import lead as lead_routes
from annotation_ui.routes import lead_people
from annotation_ui.tool import Tool
from tests import bench
from tests.annotation_ui.made_up import NOW, by_hand
from tests.annotation_ui.team import HOST, Clock, Member, Team
from tests.databases import Cluster

VOTES = {
    "a/s/1": {"ann": 5, "bob": 5, "cid": 4},
    "a/s/2": {"ann": 2, "bob": 4, "cid": 5},
    "a/s/3": {"ann": 3},
}


class Seat:
    """Somebody's browser, as far as the API is concerned; answers are given with their status."""

    def __init__(self, team: Team, token: str | None = None) -> None:
        self.client = TestClient(team.app, base_url=f"http://{HOST}")
        if token is not None:
            member = Member(team.app, token)
            self.client, self.me = member.client, member.me

    def get(self, path: str, **values: Any) -> httpx.Response:
        return self.client.get(path, params=values)

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.client.post(path, json=body or {})


@contextmanager
def opened(folder: Path, database_url: str, **annotation: Any) -> Iterator[Team]:
    """An application on a database that holds nothing yet but the project of levels."""
    (folder / "raw").mkdir()
    database, clock = Database(database_url), Clock(NOW)
    migrate(database)
    tool = Tool(bench.recipe(folder, annotation=annotation), database, clock, Random(1))
    yield Team(tool, make_app(tool, frozenset({HOST})), clock)
    tool.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def team(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Team]:
    url = f"sqlite:///{tmp_path / 'votes.db'}"
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("cluster")
        url = cluster.url(cluster.make())
    with opened(tmp_path, url) as team:
        yield team


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Team]:
    """A team for what does not depend on the database."""
    with opened(tmp_path, f"sqlite:///{tmp_path / 'votes.db'}") as team:
        yield team


@pytest.fixture
def lead(team: Team) -> Seat:
    return sign_in(team, "lena", "lead")


def sign_in(team: Team, name: str, role: str | None = None) -> Seat:
    """Invites somebody, and returns their browser."""
    return Seat(team, team.tool.database.write(lambda c: invite(c, team.clock, name, role))[1])


def project_of(team: Team) -> int:
    return next(number for number, task in team.tool.tasks.items() if task.name == "levels")


def routes_of(team: Team) -> list[tuple[str, str]]:
    """The method and an address of each of the lead's requests."""
    described = TestClient(team.app, base_url=f"http://{HOST}").get("/api/openapi.json").json()["paths"]
    return [
        (method.upper(), re.sub(r"\{\w+\}", "1", path))
        for path, methods in described.items() if path.startswith("/api/lead")
        for method in methods
    ]  # fmt: skip


def fill(team: Team) -> dict[str, int]:
    ids = by_hand(team.tool.database, dict(list(VOTES.items())[:1]), status="decided", level=5)
    ids |= by_hand(team.tool.database, dict(list(VOTES.items())[1:2]), status="tie")
    return ids | by_hand(team.tool.database, dict(list(VOTES.items())[2:]), asked=3)


def test_only_a_lead_may_ask(on_sqlite: Team) -> None:
    routes = routes_of(on_sqlite)
    assert len(routes) > 15
    for role in ("annotator", "reviewer"):
        seat = sign_in(on_sqlite, role, role)
        for method, path in routes:
            answer = seat.post(path) if method == "POST" else seat.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "role"), (role, method, path)
    nobody = Seat(on_sqlite)
    for method, path in routes:
        answer = nobody.post(path) if method == "POST" else nobody.get(path)
        assert answer.status_code == 401, path


def test_nothing_changes_without_the_token_against_forgery(on_sqlite: Team) -> None:
    seat = sign_in(on_sqlite, "lena", "lead")
    del seat.client.headers["X-CSRF-Token"]
    changing = [path for method, path in routes_of(on_sqlite) if method == "POST"]
    assert len(changing) >= 10
    for path in changing:
        answer = seat.post(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "csrf"), path


def test_every_route_is_described(on_sqlite: Team) -> None:
    described = Seat(on_sqlite).get("/api/openapi.json").json()["paths"]
    own = {path: methods for path, methods in described.items() if path.startswith("/api/lead")}
    assert len(own) >= 15
    for path, methods in own.items():
        for operation in methods.values():
            answers = operation["responses"]
            assert {"401", "403", "404", "409", "422", "507"} <= answers.keys(), path
            content = answers["200"]["content"]
            assert "text/csv" in content or "$ref" in content["application/json"]["schema"], path
            for parameter in operation.get("parameters", []):
                _check_bounds(parameter["schema"], f"{path} {parameter['name']}")


def _check_bounds(schema: dict[str, Any], where: str) -> None:
    for one in schema.get("anyOf", [schema]):
        if one.get("type") == "integer":
            assert "minimum" in one and "maximum" in one, where
        if one.get("type") == "string":
            assert "enum" in one or "maxLength" in one, where


def test_progress(team: Team, lead: Seat) -> None:
    fill(team)
    found = lead.get(f"/api/lead/projects/{project_of(team)}/progress").json()
    assert (found["asked"], found["cast"], found["left"]) == (9, 7, 2)
    assert found["images"]["decided"] == found["images"]["tie"] == found["images"]["open"] == 1
    assert found["waiting"] == {"adjudication": 1, "safety_review": 0}
    assert sum(found["hours"]["votes"]) == 7 and found["pace"] is None
    assert (found["ordering"], found["paused"], found["votes_per_image"]) == ("random", False, 3)


def test_agreement_and_confusion(team: Team, lead: Seat) -> None:
    ids = fill(team)
    base = f"/api/lead/projects/{project_of(team)}"
    found = lead.get(f"{base}/agreement").json()
    assert found["images"] == 2 and -1 <= found["alpha"]["value"] <= 1 and found["kappa"]["low"] is not None
    pair = lead.get(f"{base}/confusion", first=ids["ann"], second=ids["bob"]).json()
    assert pair["counts"][4][4] == 1 and pair["counts"][1][3] == 1 and pair["agreement"] == 0.5
    others = lead.get(f"{base}/confusion", first=ids["ann"]).json()
    assert sum(map(sum, others["counts"])) == 4 and others["agreement"] == 0.25


def test_people_and_their_table(team: Team, lead: Seat) -> None:
    fill(team)
    by_hand(team.tool.database, {"a/s/4": {'=HYPERLINK("x")': 3}})
    base = f"/api/lead/projects/{project_of(team)}"
    found = {person["name"]: person for person in lead.get(f"{base}/people").json()["people"]}
    assert found["ann"]["work"]["votes"] == 3 and found["lena"]["role"] == "lead"
    answer = lead.get(f"{base}/people.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8" and answer.content[:3] == b"\xef\xbb\xbf"
    assert answer.headers["content-disposition"].startswith("attachment")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert {row["name"]: row["votes"] for row in rows} == {
        "ann": "3", "bob": "2", "cid": "2", "lena": "0", '\'=HYPERLINK("x")': "1",
    }  # fmt: skip
    assert "skipped_unsure" in rows[0]


def test_who_is_invited_signs_in_by_the_link_and_no_more_once_revoked(team: Team, lead: Seat) -> None:
    invited = lead.post("/api/lead/invitations", {"name": " Mei  Lin ", "role": "reviewer"}).json()
    assert invited["name"] == "Mei Lin" and invited["expires_at"] > NOW
    mei = Seat(team, invited["token"])
    assert mei.get("/api/me").json()["person"]["role"] == "reviewer"
    again = lead.post("/api/lead/invitations", {"name": "Mei Lin", "role": "annotator"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "known")

    assert lead.post(f"/api/lead/people/{invited['id']}/role", {"role": "annotator"}).status_code == 200
    assert mei.get("/api/me").json()["person"]["role"] == "annotator"  # at once

    assert lead.post(f"/api/lead/people/{invited['id']}/revoke").status_code == 200
    assert mei.get("/api/me").status_code == 401
    assert Seat(team).post("/api/sign-in", {"token": invited["token"]}).status_code == 401
    listed = {person["name"]: person for person in lead.get("/api/lead/people").json()["people"]}
    assert listed["Mei Lin"]["revoked"] and listed["Mei Lin"]["role"] == "annotator"

    link = lead.post(f"/api/lead/people/{invited['id']}/link").json()
    assert Seat(team, link["token"]).me["person"]["role"] == "annotator"
    log = [(entry["action"], entry["person"]) for entry in lead.get("/api/lead/audit").json()["entries"]]
    assert [entry for entry in log if entry[0] != "sign_in"] == [
        ("invite", "lena"), ("sign_in_failed", None), ("revoke", "lena"), ("role", "lena"), ("invite", "lena"), ("invite", None),
    ]  # fmt: skip


def test_a_revoked_person_holds_nothing(team: Team, lead: Seat) -> None:
    ids = by_hand(team.tool.database, {"x": {}, "y": {}})
    bob = by_hand(team.tool.database, {"z": {"bob": 4}})["bob"]
    rules = Rules()
    claimed = team.tool.database.write(
        lambda c: claiming.claim(c, team.tool.clock, team.tool.random, rules, project_of(team), bob, 2)
    )
    assert len(claimed.claims) == 2
    lead.post(f"/api/lead/people/{bob}/revoke")
    taken = team.tool.database.read(
        lambda c: c.execute(select(items.c.taken).where(items.c.id.in_(ids.values()))).scalars().all()
    )
    assert list(taken) == [0, 0]


def test_nobody_locks_themself_out(on_sqlite: Team) -> None:
    lead = sign_in(on_sqlite, "lena", "lead")
    own = lead.me["person"]["id"]
    for path, body in (("revoke", {}), ("role", {"role": "annotator"})):
        answer = lead.post(f"/api/lead/people/{own}/{path}", body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "yourself")
    assert lead.get("/api/me").json()["person"]["role"] == "lead"


def test_what_is_not_there_is_not_found(on_sqlite: Team) -> None:
    lead = sign_in(on_sqlite, "lena", "lead")
    bodies = {"role": {"role": "lead"}, "reassign": {"what": "leases"}}
    for action in ("link", "role", "revoke", "reassign"):
        assert lead.post(f"/api/lead/people/999/{action}", bodies.get(action)).json()["error"]["code"] == "no_person"
    for path, body in (("gold", {"gold": True}), ("gold", {"gold": False}), ("reopen", {})):
        assert lead.post(f"/api/lead/items/999/{path}", body).json()["error"]["code"] == "no_item"
    assert lead.get("/api/lead/items/999").status_code == 404
    for name in ("progress", "agreement", "people", "people.csv", "items", "confusion"):
        assert lead.get(f"/api/lead/projects/999/{name}", first=1).json()["error"]["code"] == "no_project"


def test_leases_and_undecided_votes_are_given_to_others(
    team: Team, lead: Seat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lead_people, "AT_ONCE", 2)  # several transactions
    ids = fill(team)
    ids |= by_hand(team.tool.database, {f"o{n}": {"ann": 3} for n in range(4)}, asked=2)
    path = f"/api/lead/people/{ids['ann']}/reassign"
    assert lead.get(f"/api/lead/projects/{project_of(team)}/people").status_code == 200
    assert lead.post(path, {"what": "leases"}).json() == {"images": 0}
    assert lead.post(path, {"what": "votes"}).json() == {"images": 5}  # not those that are decided or tied
    assert lead.post(path, {"what": "votes"}).json() == {"images": 0}
    table = lead.get(f"/api/lead/projects/{project_of(team)}/people").json()["people"]
    ann = next(person["work"] for person in table if person["name"] == "ann")
    assert (ann["votes"], ann["set_aside"]) == (2, 5)  # at once, though the table was asked for before
    standing = select(slots.c.item_id).where(slots.c.person_id == ids["ann"], slots.c.state == "voted")
    assert set(team.tool.database.read(lambda c: c.execute(standing).scalars().all())) == {ids["a/s/1"], ids["a/s/2"]}
    told = [e["detail"]["images"] for e in lead.get("/api/lead/audit").json()["entries"] if e["action"] == "reassign"]
    assert sum(told) == 5


def test_who_failed_may_take_the_entry_test_again(team: Team, lead: Seat) -> None:
    bob = by_hand(team.tool.database, {"x": {"bob": 3}})["bob"]
    path = f"/api/lead/projects/{project_of(team)}/people/{bob}/test"
    assert lead.post(path).json()["error"]["code"] == "not_failed"
    row = {"project_id": project_of(team), "person_id": bob, "state": "failed", "correct": 0, "answered": 2}
    team.tool.database.write(lambda c: c.execute(insert(qualifications), row))
    assert lead.post(path).status_code == 200
    state = select(qualifications.c.state, qualifications.c.answered)
    assert tuple(team.tool.database.read(lambda c: c.execute(state).one())) == ("testing", 0)


def test_a_project_is_paused_and_its_order_chosen(team: Team, lead: Seat) -> None:
    base = f"/api/lead/projects/{project_of(team)}"
    assert lead.post(f"{base}/pause", {"paused": True}).status_code == 200
    assert lead.post(f"{base}/order", {"ordering": "uncertain"}).status_code == 200
    assert lead.post(f"{base}/order", {"ordering": "backwards"}).status_code == 422
    row = team.tool.database.read(lambda c: c.execute(select(projects.c.paused, projects.c.ordering)).one())
    assert tuple(row) == (True, "uncertain")
    ann = sign_in(team, "ann")
    claim = f"/api/projects/{project_of(team)}/claim"
    assert ann.post(claim, {"wanted": 1}).json()["state"] == "paused"
    lead.post(f"{base}/pause", {"paused": False})
    assert ann.post(claim, {"wanted": 1}).json()["state"] != "paused"


def test_gold_is_given_to_those_who_have_not_voted_on_the_image(team: Team, lead: Seat) -> None:
    ids = fill(team)
    path = f"/api/lead/items/{ids['a/s/1']}/gold"
    wrong = lead.post(f"/api/lead/items/{ids['a/s/3']}/gold", {"gold": True})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (409, "undecided")
    assert lead.post(path, {"gold": False}).json()["error"]["code"] == "not_gold"
    assert lead.post(path, {"gold": True}).status_code == 200
    assert lead.post(path, {"gold": True}).json()["error"]["code"] == "gold"
    twin = team.tool.database.read(lambda c: c.execute(select(items).where(items.c.kind == GOLD)).one())
    assert (twin.key, twin.known, twin.status) == ("a/s/1", 5, "open") and twin.place["sha256"]

    only_gold, dee = Rules(qualify_items=1, qualify_pass=1.0), sign_in(team, "dee").me["person"]["id"]

    def claimed(person: int) -> list[int]:
        def work(connection: Any) -> claiming.Claimed:
            chance = team.tool.random
            return claiming.claim(connection, team.tool.clock, chance, only_gold, project_of(team), person, 1)

        return [claim.item_id for claim in team.tool.database.write(work).claims]

    assert claimed(ids["ann"]) == [] and claimed(dee) == [twin.id]
    # By the gold item's own id it goes out of service: who is new is not given it, and who holds it may still answer.
    assert lead.post(f"/api/lead/items/{twin.id}/gold", {"gold": False}).status_code == 200
    assert claimed(sign_in(team, "eve").me["person"]["id"]) == []
    lease = team.tool.database.read(
        lambda c: c.execute(select(slots.c.lease).where(slots.c.person_id == dee)).scalar_one()
    )
    vote = voting.Vote(twin.id, lease, "request-1", 0, 5)
    team.tool.database.write(lambda c: voting.cast(c, team.tool.clock, only_gold, dee, vote))
    assert lead.get(f"/api/lead/items/{ids['a/s/1']}").json()["story"]["gold"] == "withdrawn"
    team.tool.database.write(lambda c: c.execute(update(items).where(items.c.id == ids["a/s/1"]).values(level=4)))
    assert lead.post(path, {"gold": True}).status_code == 200  # back in service, with the level of now
    known = select(items.c.known, items.c.status).where(items.c.id == twin.id)
    assert tuple(team.tool.database.read(lambda c: c.execute(known).one())) == (4, "open")


def test_images_that_could_not_be_shown_are_tried_again(team: Team, lead: Seat) -> None:
    gone = {"status": "unavailable", "reason": "the shard is gone"}
    ids = by_hand(team.tool.database, {f"u{n}": {"ann": 3} for n in range(3)}, asked=3, **gone)
    full = by_hand(team.tool.database, {"full": {"ann": 3, "bob": 3}}, **gone)["full"]
    listed = lead.get(f"/api/lead/projects/{project_of(team)}/items", status="unavailable").json()["items"]
    assert [item["reason"] for item in listed] == ["the shard is gone"] * 4
    assert lead.post(f"/api/lead/items/{ids['u0']}/reopen").status_code == 200
    assert lead.post(f"/api/lead/items/{ids['u0']}/reopen").json()["error"]["code"] == "available"
    assert lead.post(f"/api/lead/projects/{project_of(team)}/reopen").json() == {"images": 3}
    assert lead.post(f"/api/lead/projects/{project_of(team)}/reopen").json() == {"images": 0}
    now = select(items.c.id, items.c.status, items.c.reason, items.c.decide_at)
    rows = {row.id: tuple(row)[1:] for row in team.tool.database.read(lambda c: c.execute(now).all())}
    assert rows[ids["u1"]] == ("open", None, None) and rows[full] == ("closing", None, NOW)


def test_the_gallery_and_a_story(team: Team, lead: Seat) -> None:
    ids = fill(team)
    path = f"/api/lead/projects/{project_of(team)}/items"
    pages = [lead.get(path, limit=2).json()]
    pages.append(lead.get(path, limit=2, after=pages[0]["next"]).json())
    assert [item["key"] for page in pages for item in page["items"]] == list(VOTES) and pages[1]["next"] is None
    tie = lead.get(path, status="tie", spread=3, person=ids["cid"]).json()["items"]
    assert [[vote["person"], vote["level"]] for vote in tie[0]["votes"]] == [["ann", 2], ["bob", 4], ["cid", 5]]
    for wrong in ({"after": "1-2"}, {"after": "1", "person": 1}, {"after": "x"}, {"spread": 9}, {"status": "lost"}):
        assert lead.get(path, **wrong).status_code == 422, wrong
    told = lead.get(f"/api/lead/items/{ids['a/s/2']}").json()
    assert [vote["level"] for vote in told["story"]["votes"]] == [2, 4, 5] and told["blurred"] is False


def test_the_log_comes_page_by_page(on_sqlite: Team) -> None:
    lead = sign_in(on_sqlite, "lena", "lead")
    for n in range(5):
        lead.post("/api/lead/invitations", {"name": f"p{n}", "role": "annotator"})
    pages = [lead.get("/api/lead/audit", limit=3).json()]
    while pages[-1]["next"] is not None:
        pages.append(lead.get("/api/lead/audit", limit=3, before=pages[-1]["next"]).json())
    numbers = [entry["id"] for page in pages for entry in page["entries"]]
    assert numbers == sorted(numbers, reverse=True) and len(set(numbers)) == len(numbers) == 7
    assert pages[0]["entries"][0]["detail"]["name"] == "p4" and pages[0]["entries"][0]["address"] is None
    assert "token" not in str(pages)


def test_a_reading_lead_does_not_hold_up_a_vote(on_sqlite: Team) -> None:
    """What the lead reads is read in a transaction that only reads: a vote is stored while it is open."""
    by_hand(on_sqlite.tool.database, VOTES)
    row = {"item_id": 1, "person_id": 1, "revision": 2, "level": 4, "at": NOW}
    with on_sqlite.tool.database.reading() as reading:
        before = lead_routes.agreeing.patterns(reading, project_of(on_sqlite))
        on_sqlite.tool.database.write(lambda c: c.execute(insert(votes), row))
        assert (lead_routes.agreeing.patterns(reading, project_of(on_sqlite)) == before).all()
