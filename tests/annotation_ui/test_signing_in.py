"""Signing in by link and by password, roles, sessions, limits, and the guard before the application."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from annotation_ui.accounts import passwords, people
from annotation_ui.app import make_app
from annotation_ui.database.tables import audit, links, sessions
from annotation_ui.guard import BODY, csrf_token
from curation.errors import UserError
from tests.annotation_ui.team import HOST, Member, Team, make_team, make_workspace

DAY = 86_400_000


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    made = make_team(make_workspace(tmp_path, 1), f"sqlite:///{tmp_path / 'votes.db'}")
    yield made
    made.tool.close()


def token_for(team: Team, name: str, **options: Any) -> str:
    return team.tool.database.write(lambda c: people.invite(c, team.clock, name, **options))[1]


def client(team: Team, app: Any = None) -> TestClient:
    return TestClient(app or team.app, base_url=f"http://{HOST}")


def sign_in(team: Team, **body: Any) -> int:
    return client(team).post("/api/sign-in", json=body).status_code


def test_a_link_works_for_its_days_and_until_another_takes_its_place(team: Team) -> None:
    first = token_for(team, "ann", days=2)
    assert sign_in(team, token=first) == sign_in(team, token=first) == 200  # on a phone too
    second = token_for(team, "ann", days=2)
    assert (sign_in(team, token=first), sign_in(team, token=second)) == (401, 200)
    team.clock.now += 2 * DAY
    assert sign_in(team, token=second) == 401


def test_whoever_is_revoked_is_out_at_once_and_comes_back_by_a_new_link(team: Team) -> None:
    token = token_for(team, "ann")
    ann = Member(team.app, token)
    ann.put("/api/me/password", password="correct horse battery")
    person_id = ann.me["person"]["id"]
    assert team.tool.database.write(lambda c: people.revoke(c, team.clock, person_id))
    assert ann.get("/api/me", 401)["error"]["code"] == "signed_out"
    assert sign_in(team, token=token) == 401
    assert sign_in(team, name="ann", password="correct horse battery") == 401
    assert sign_in(team, token=token_for(team, "ann")) == 200
    assert not team.tool.database.write(lambda c: people.revoke(c, team.clock, 999))


def test_a_password_is_set_changed_and_used(team: Team) -> None:
    ann = team.member("ann")
    assert ann.put("/api/me/password", 422, password="short")["error"]["code"] == "body"
    ann.put("/api/me/password", password="first password")
    assert sign_in(team, name="ann", password="first password") == 200
    assert ann.put("/api/me/password", 403, password="second password")["error"]["code"] == "password"
    assert ann.put("/api/me/password", 403, password="second password", current="wrong one here")
    ann.put("/api/me/password", password="second password", current="first password")
    assert sign_in(team, name="ann", password="first password") == 401
    assert sign_in(team, name="ann", password="second password") == 200
    assert sign_in(team, name="nobody", password="second password") == 401
    assert ann.get("/api/me")["person"]["has_password"]


def test_the_database_holds_no_token_and_no_password(team: Team, tmp_path: Path) -> None:
    token = token_for(team, "ann")
    ann = Member(team.app, token)
    ann.put("/api/me/password", password="correct horse battery")
    session = ann.client.cookies["curate_session_8000"]
    with team.tool.database.reading() as connection:
        held = [str(row) for table in (links, sessions, audit) for row in connection.execute(select(table))]
    bytes_held = b"".join(path.read_bytes() for path in tmp_path.glob("votes.db*"))
    for secret in (token, session, "correct horse battery"):
        assert secret not in "".join(held) and secret.encode() not in bytes_held
    assert b"$argon2id$" in bytes_held


def test_a_session_ends_by_signing_out_and_after_a_month(team: Team) -> None:
    ann = team.member("ann")
    other = Member(team.app, token_for(team, "ann"))
    cookie = ann.client.cookies["curate_session_8000"]
    ann.post("/api/sign-out")
    ann.client.cookies.set("curate_session_8000", cookie)
    ann.get("/api/me", 401)
    other.get("/api/me")
    team.clock.now += people.SESSION_DAYS * DAY
    other.get("/api/me", 401)


def test_the_cookie_cannot_be_read_by_scripts_nor_sent_from_other_sites(team: Team) -> None:
    token = token_for(team, "ann")
    plain = client(team).post("/api/sign-in", json={"token": token}).headers["set-cookie"].lower()
    assert "httponly" in plain and "samesite=lax" in plain and "secure" not in plain
    app = make_app(team.tool, frozenset({HOST}), secure=True)
    answer = client(team, app).post("/api/sign-in", json={"token": token})
    assert "secure" in answer.headers["set-cookie"].lower()
    assert answer.headers["strict-transport-security"]


def test_forged_requests_are_refused(team: Team) -> None:
    ann = team.member("ann")
    good = ann.client.headers["X-CSRF-Token"]
    assert good == csrf_token(ann.client.cookies["curate_session_8000"])
    for bad in ("", "0" * 32, good.upper()):
        ann.client.headers["X-CSRF-Token"] = bad
        assert ann.post("claim", 403, wanted=1)["error"]["code"] == "csrf"
    ann.client.headers["X-CSRF-Token"] = good
    ann.client.headers["Origin"] = "https://evil.example"
    assert ann.post("claim", 403, wanted=1)["error"]["code"] == "origin"
    assert ann.get("/api/me", 403)["error"]["code"] == "origin"
    ann.client.headers["Origin"] = f"http://{HOST}"
    ann.post("claim", wanted=1)
    ann.client.headers["Host"] = "rebound.example"
    assert ann.get("/api/me", 421)["error"]["code"] == "host"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_is_taken(team: Team, kind: str) -> None:
    answer = client(team).post("/api/sign-in", content=b'{"token": "x"}', headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "not_json")


def test_bodies_of_ten_megabytes_are_refused_with_and_without_a_length(team: Team) -> None:
    headers = {"Content-Type": "application/json"}
    large = b'{"token": "' + b"x" * 10_000_000 + b'"}'
    answer = client(team).post("/api/sign-in", content=large, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    pieces = client(team).post(
        "/api/sign-in", content=(large[i : i + BODY] for i in range(0, len(large), BODY)), headers=headers
    )
    assert pieces.status_code in (400, 413)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"token": 5}', b'{"token": "\xff"}', b"[" * 60_000, b'{"token": "\\ud800"}']
)
def test_what_is_no_json_is_refused_in_one_line(team: Team, body: bytes) -> None:
    answer = client(team).post("/api/sign-in", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 401, 422)
    assert set(answer.json()["error"]) == {"code", "message"} and "\n" not in answer.json()["error"]["message"]


def test_tries_to_guess_a_password_are_limited(team: Team) -> None:
    team.member("ann").put("/api/me/password", password="correct horse battery")
    tries = [sign_in(team, name="ann", password=f"wrong password {n}") for n in range(14)]
    assert 401 in tries and tries[-1] == 429
    answer = client(team).post("/api/sign-in", json={"name": "ann", "password": "correct horse battery"})
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
    team.clock.now += 60_000
    assert sign_in(team, name="ann", password="correct horse battery") == 200


def test_a_flood_of_votes_is_limited(team: Team) -> None:
    ann = team.member("ann")
    (item,) = ann.claim(1)
    body = {"item": item["id"], "lease": item["lease"], "request": "12345678", "revision": 0, "level": 3}
    answers = [ann.client.post(f"/api/projects/{ann.project}/votes", json=body).status_code for _ in range(130)]
    assert answers[0] == 200 and answers[-1] == 429


def test_every_answer_has_the_security_headers(team: Team) -> None:
    for path in ("/api/me", "/", "/nothing", "/api/openapi.json"):
        headers = client(team).get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY" and "server" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/%2e%2e/app.py",
        "/page//etc/passwd",
        "/page/..%2f..%2fpyproject.toml",
        "/pictures/1/0/..%2f..%2fetc%2fpasswd.jpg",
    ],
)
def test_no_path_of_a_client_reaches_the_file_system(team: Team, path: str) -> None:
    answer = client(team).get(path)
    assert answer.status_code in (401, 404, 422) and b"root:" not in answer.content and b"def " not in answer.content


def test_preferences_are_kept_and_bounded(team: Team) -> None:
    ann = team.member("ann")
    chosen = {"language": "zh", "blur": False, "name": "<script>"}
    assert ann.put("/api/me/preferences", preferences=chosen) == {"preferences": chosen}
    assert ann.get("/api/me")["person"]["preferences"] == chosen
    assert ann.put("/api/me/preferences", 422, preferences={"a": "x" * 5000})["error"]["code"] == "body"


@pytest.mark.parametrize("value", [b'"\\ud800"', b"NaN", b"1e999"])
def test_preferences_that_no_answer_could_hold_are_refused(team: Team, value: bytes) -> None:
    ann = team.member("ann")
    body, kind = b'{"preferences":{"a":%s}}' % value, {"Content-Type": "application/json"}
    assert ann.client.put("/api/me/preferences", content=body, headers=kind).status_code == 422
    assert ann.get("/api/me")["person"]["preferences"] == {}


@pytest.mark.parametrize("other", ['theme={"dark":true}', "a=b c", 'x="', "=", "bad[key]=1"])
def test_cookies_of_other_applications_on_the_same_host_sign_nobody_out(team: Team, other: str) -> None:
    cookie = f"{other}; curate_session_8000={team.member('ann').client.cookies['curate_session_8000']}"
    assert client(team).get("/api/me", headers={"Cookie": cookie}).status_code == 200


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\nb\0", "a\x1b[31m", "\u202eann", "\ud800"])
def test_names_are_printable_and_short(team: Team, name: str) -> None:
    with pytest.raises(UserError, match="^name: "):
        token_for(team, name)
    with pytest.raises(UserError, match='^role: there is no "king"'):
        token_for(team, "ann", role="king")


def test_what_is_done_to_people_stands_in_the_audit_log(team: Team) -> None:
    ann = team.member("ann")
    ann.put("/api/me/password", password="correct horse battery")
    with team.tool.database.reading() as connection:
        rows = connection.execute(select(audit).order_by(audit.c.id)).all()
    assert [row.action for row in rows] == ["invite", "sign_in", "password"]
    assert rows[1].address == "testclient" and "password" not in json.dumps(rows[2].detail)


def test_failed_tries_to_sign_in_stand_in_the_audit_log(team: Team) -> None:
    ann = team.member("ann")
    ann.put("/api/me/password", password="correct horse battery")
    for body in ({"token": "x" * 32}, {"name": "ann", "password": "wrong"}, {"name": "nobody", "password": "wrong"}):
        assert sign_in(team, **body) == 401
    failed = select(audit).where(audit.c.action == "sign_in_failed").order_by(audit.c.id)
    with team.tool.database.reading() as connection:
        rows = connection.execute(failed).all()
    assert [(row.person_id, row.address, row.detail) for row in rows] == [
        (None, "testclient", None), (None, "testclient", {"person": ann.me["person"]["id"]}), (None, "testclient", None)
    ]  # fmt: skip


def test_nobody_learns_by_the_clock_who_has_a_password() -> None:
    hashed = passwords.hashed("correct horse battery")
    assert passwords.matches(hashed, "correct horse battery")
    assert not passwords.matches(hashed, "correct horse") and not passwords.matches(None, "no password is this one")
    assert not passwords.matches("no hash at all", "correct horse battery")


def test_two_servers_on_one_host_have_sessions_of_their_own(team: Team, tmp_path: Path) -> None:
    ann = team.member("ann")
    others = make_team(make_workspace(tmp_path / "other", 1), f"sqlite:///{tmp_path / 'other.db'}")
    app = make_app(others.tool, frozenset({"127.0.0.1:8001"}))
    token = token_for(others, "bo")
    answer = TestClient(app, base_url="http://127.0.0.1:8001").post("/api/sign-in", json={"token": token})
    assert answer.headers["set-cookie"].startswith("curate_session_8001=")
    ann.client.cookies.set("curate_session_8001", answer.cookies["curate_session_8001"])
    assert ann.get("/api/me")["person"]["name"] == "ann"
    others.tool.close()
