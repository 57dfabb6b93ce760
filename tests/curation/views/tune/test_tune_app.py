"""The questions the page asks, and who may ask them."""

import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from curation.recipe import load_recipe
from curation.selection.stage import Selection
from curation.views.tune.app import BODY, guard_app, make_app
from curation.views.tune.tuner import Tuner
from curation.workspace import Workspace
from curation.workspace.files import read_table, write_table
from tests import bench

TOKEN, PORT = "a-token", 4321
AT = {"predicate": "sharp", "number": 0}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures in two shards, a file that is none, and a recipe with comments."""
    folder = tmp_path_factory.mktemp("app")
    for shard in range(2):
        members = {f"{n}.jpg": bench.encoded(bench.picture(n, (200 + 30 * n, 220))) for n in range(6)}
        bench.write_tar(folder / "raw" / f"{shard:05d}.tar", {"not.jpg": b"<html>"} | members)
    made = bench.recipe(folder, select={"where": {"size": "width >= 200", "sharp": "sharpness >= 1"}})
    bench.index(made)
    bench.score(made)
    (folder / "recipe.yaml").write_text(
        (folder / "recipe.yaml").read_text().replace("sharpness >= 1\n", "sharpness >= 1   # crisp\n")
    )
    Selection(bench.opened(load_recipe(folder / "recipe.yaml"))).write()
    return folder


@pytest.fixture
def file(scored: Path) -> Any:
    path = scored / "recipe.yaml"
    before = path.read_bytes()
    yield path
    path.write_bytes(before)


def opened(file: Path) -> TestClient:
    client = TestClient(
        guard_app(make_app(Tuner(file, bench.opened(load_recipe(file)))), TOKEN, PORT),
        base_url=f"http://127.0.0.1:{PORT}",
    )
    assert client.get(f"/?token={TOKEN}").status_code == 200
    return client


@pytest.fixture(scope="module")
def client(scored: Path) -> TestClient:
    """For questions that change nothing."""
    return opened(scored / "recipe.yaml")


def values(*given: tuple[str, int, float]) -> list[dict[str, Any]]:
    return [{"predicate": p, "number": n, "value": v} for p, n, v in given]


def test_without_the_token_nothing_is_told(client: TestClient) -> None:
    stranger = TestClient(client.app, base_url=f"http://127.0.0.1:{PORT}")
    for path in ("/", "/?token=", "/?token=wrong", "/?token=é", "/app.js", "/api/state", "/picture/0/160", "/nothing"):
        assert stranger.get(path).status_code == 403, path
    assert stranger.post("/api/move", json={}).status_code == 403
    assert stranger.get(f"/api/state?token={TOKEN}").status_code == 403  # on the page's own address only
    stranger.cookies.set(f"curate_tune_{PORT}", "wrong")
    assert stranger.get("/api/state").status_code == 403


def test_the_token_becomes_a_strict_cookie_and_the_page_may_load_nothing_else(client: TestClient) -> None:
    redirect = client.get(f"/?token={TOKEN}", follow_redirects=False)
    assert redirect.status_code == 303 and redirect.headers["location"] == "/"  # no token in the browser's history
    cookie = redirect.headers["set-cookie"]
    answer = client.get("/")
    assert "<title>curate tune" in answer.text
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
    assert client.get("/api/state").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"}, {"host": "127.0.0.1"}, {"host": f"127.0.0.1:{PORT + 1}"},
        {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": f"http://localhost:{PORT}"},
        {"origin": f"https://127.0.0.1:{PORT}"},
    ],
)  # fmt: skip
def test_foreign_hosts_and_origins_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    assert client.get("/api/state", headers=headers).status_code == 403
    assert client.post("/api/move", json={}, headers=headers).status_code == 403


def test_a_change_is_json_sent_by_post(client: TestClient) -> None:
    assert client.get("/api/write").status_code == 405
    assert client.get("/api/write").json() == {"error": "Method Not Allowed"}
    assert client.get("/nothing").json() == {"error": "Not Found"}
    assert "error" in client.post("/api/move", content=b"\xff", headers={"content-type": "application/json"}).json()
    body = b'{"values": [], "diff": []}'
    assert client.post("/api/write", content=body, headers={"content-type": "text/plain"}).status_code == 415
    assert client.post("/api/write", data={"values": "[]"}).status_code == 415


@pytest.mark.parametrize(
    "one",
    [
        {"predicate": "sharp", "number": 0, "value": "1 or true"}, {"predicate": "sharp", "number": 0, "value": "1"},
        {"predicate": "sharp", "number": 0},
        {"predicate": "sharp", "number": 0, "value": 1, "sql": "true"}, {"predicate": 1, "number": 0, "value": 1},
    ],
)  # fmt: skip
def test_only_numbers_are_taken(client: TestClient, one: dict[str, Any]) -> None:
    assert client.post("/api/move", json={"values": [one]}).status_code == 422
    raw = '{"values": [{"predicate": "sharp", "number": 0, "value": NaN}]}'
    assert client.post("/api/move", content=raw, headers={"content-type": "application/json"}).status_code == 422


def test_what_is_not_in_the_recipe_is_named(client: TestClient) -> None:
    answer = client.post("/api/move", json={"values": values(("blurred", 0, 1))})
    assert answer.status_code == 400 and answer.json() == {"error": "select.where.blurred: there is no threshold 0"}
    assert client.post("/api/move", json={"at": {"predicate": "sharp", "number": 7}}).status_code == 400
    assert client.post("/api/histogram", json={}).json()["error"] == "at: which threshold?"
    raw = r'{"values": [{"predicate": "\ud800", "number": 0, "value": 1}]}'
    answer = client.post("/api/move", content=raw, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422) and answer.json()["error"]


def test_the_state_has_what_is_saved_and_what_the_last_select_found(client: TestClient) -> None:
    state = client.get("/api/state").json()
    assert state["saved"]["input"] == 14 and state["saved"]["failed"] == 2 and state["saved"]["passing"] == 12
    assert state["last"] == {"duplicates": 6, "balanced": 0, "kept": 6, "current": True}
    sharp = state["predicates"][1]
    assert sharp["sql"] == "sharpness >= 1" and sharp["signals"] == ["photo"] and not sharp["overridden"]
    assert sharp["thresholds"][0]["operator"] == ">=" and sharp["thresholds"][0]["value"] == 1
    assert sharp["thresholds"][0]["low"] > 60  # all values are far from it


def test_a_move_counts_and_shows_images_by_their_keys(client: TestClient) -> None:
    answer = client.post(
        "/api/move", json={"values": values(("size", 0, 230)), "at": {"predicate": "size", "number": 0}}
    )
    told = answer.json()
    assert told["funnel"]["dropped"]["size"] == 2 and told["funnel"]["passing"] == 10
    assert [n["value"] for n in told["failing"]] == [200, 200]
    rows = [n["row"] for n in told["failing"]]
    keys = client.post("/api/keys", json={"rows": rows}).json()["keys"]
    assert sorted(keys) == ["c/00000/0", "c/00001/0"]  # the file that is no image is no row
    story = client.get(f"/api/image/{rows[0]}").json()
    assert story["key"] == keys[0] and story["sample"]["width"] == 200 and story["signals"]["photo"]["sharpness"] > 1
    assert isinstance(story["signals"]["photo"]["phash"], str)
    picture = client.get(f"/picture/{rows[0]}/160")
    assert picture.headers["content-type"] == "image/jpeg" and picture.content[:2] == b"\xff\xd8"
    assert client.get(f"/picture/{rows[0]}/5000").status_code == 404
    for path in ("/api/image/99", "/picture/99/160", "/picture/-1/160"):
        assert client.get(path).status_code == 404
    assert client.post("/api/keys", json={"rows": [99]}).json() == {"error": "there is no image 99"}


def test_an_image_that_is_gone_is_said(client: TestClient, scored: Path) -> None:
    tar = scored / "raw" / "00001.tar"
    tar.rename(tar.with_suffix(".away"))
    try:
        assert client.get("/picture/11/160").json()["error"] == "the image is gone or cannot be decoded"
    finally:
        tar.with_suffix(".away").rename(tar)


def test_writing_shows_the_lines_first_and_keeps_the_comments(file: Path) -> None:
    client = opened(file)
    before, wanted = file.read_text(), values(("sharp", 0, 12.5))
    diff = client.post("/api/diff", json={"values": wanted}).json()["diff"]
    assert "+    sharp: sharpness >= 12.5   # crisp" in diff and file.read_text() == before
    other = client.post("/api/write", json={"values": wanted, "diff": []})
    assert other.status_code == 400 and "not the lines that were shown" in other.json()["error"]
    state = client.post("/api/write", json={"values": wanted, "diff": diff}).json()
    assert file.read_text() == before.replace("sharpness >= 1 ", "sharpness >= 12.5 ")
    assert state["predicates"][1]["thresholds"][0]["value"] == 12.5 and state["last"]["current"] is False
    assert state["saved"] == client.post("/api/move", json={"at": AT}).json()["funnel"]
    assert load_recipe(file).select.where["sharp"] == state["predicates"][1]["sql"] == "sharpness >= 12.5"
    again = values(("sharp", 0, 1))
    diff = client.post("/api/diff", json={"values": again}).json()["diff"]
    client.post("/api/write", json={"values": again, "diff": diff})
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("sharp", "value"),
    [
        ("sharpness >= 8::FLOAT and width <> 7", -5), ("sharpness >= -1::FLOAT and width <> 7", 5),
        ("sharpness >= 8::FLOAT and caption is distinct from 'x'", -5),
    ],
)  # fmt: skip
def test_after_writing_the_same_table_answers(file: Path, sharp: str, value: float) -> None:
    """DuckDB writes `8::FLOAT` as it reads it, `-5::FLOAT` not: the new text alone would ask for other columns."""
    file.write_text(file.read_text().replace("sharpness >= 1 ", f"{sharp} "))
    client = opened(file)
    wanted = values(("sharp", 0, value))
    diff = client.post("/api/diff", json={"values": wanted}).json()["diff"]
    state = client.post("/api/write", json={"values": wanted, "diff": diff}).json()
    assert [t["value"] for t in state["predicates"][1]["thresholds"]] == [value]
    for moves in (values(), values(("sharp", 0, 1e6)), values(("size", 0, 250), ("sharp", 0, 2))):
        told = client.post("/api/move", json={"values": moves, "at": AT}).json()
        assert told["funnel"] == client.post("/api/move", json={"values": moves}).json()["funnel"]
    again = opened(file)
    assert again.get("/api/state").json()["saved"] == state["saved"]


def test_a_workspace_that_changes_meanwhile_is_said(file: Path, tmp_path: Path) -> None:
    recipe = load_recipe(file)
    copied = tmp_path / "recipe.yaml"
    shutil.copytree(recipe.workspace, tmp_path / "work")
    copied.write_text(file.read_text().replace("path: ./raw", f"path: {file.parent}/raw"))
    client = opened(copied)
    questions = (("/api/image/0", None), ("/picture/0/160", None), ("/api/keys", {"rows": [0]}))

    def answers() -> list[tuple[int, str]]:
        told = [client.get(path) if body is None else client.post(path, json=body) for path, body in questions]
        return [(a.status_code, "" if a.is_success else a.json()["error"]) for a in told]

    assert answers() == [(200, "")] * 3
    workspace = Workspace(load_recipe(copied).workspace)
    samples, wide = workspace.samples("c", "00000"), workspace.wide("c", "00000")
    table = read_table(samples)
    write_table(samples, table.take(list(range(table.num_rows))[::-1]))  # indexed anew, in another order
    said = "has changed since this page was opened; start `curate tune` again"
    assert answers() == [(400, f"{samples} {said}")] * 3
    assert client.get("/api/image/11").status_code == 200  # of the other shard
    shutil.rmtree(workspace.root)
    assert answers() == [(400, f"{wide} {said}")] * 3
    assert client.get("/picture/11/160").status_code == 400
    assert client.post("/api/move", json={"at": AT}).status_code == 200


def test_a_recipe_that_changed_on_disk_is_not_written(file: Path) -> None:
    client = opened(file)
    wanted = values(("sharp", 0, 2))
    diff = client.post("/api/diff", json={"values": wanted}).json()["diff"]
    file.write_text(file.read_text() + "\n# mine\n")
    answer = client.post("/api/write", json={"values": wanted, "diff": diff})
    assert answer.status_code == 400 and "changed on disk since it was loaded" in answer.json()["error"]
    assert file.read_text().endswith("# mine\n")


def test_an_override_is_shown_but_not_written(file: Path) -> None:
    tuner = Tuner(file, bench.opened(load_recipe(file, ["select.where.sharp=sharpness >= 9"])))
    client = TestClient(guard_app(make_app(tuner), TOKEN, PORT), base_url=f"http://localhost:{PORT}")
    client.get(f"/?token={TOKEN}")
    assert [p["overridden"] for p in client.get("/api/state").json()["predicates"]] == [False, True]
    answer = client.post("/api/diff", json={"values": values(("sharp", 0, 2))})
    assert answer.status_code == 400 and "sharp was given by --set" in answer.json()["error"]
    assert client.post("/api/diff", json={"values": values(("size", 0, 210))}).status_code == 200


def test_a_body_has_a_length_and_a_limit(client: TestClient) -> None:
    whole = b'{"values": []' + b" " * (BODY - 14) + b"}"
    as_json = {"Content-Type": "application/json"}
    assert len(whole) == BODY and client.post("/api/move", content=whole, headers=as_json).status_code == 200
    too_long = client.post("/api/move", content=whole + b" ", headers=as_json)
    assert too_long.status_code == 413 and "at most 2,000,000 bytes" in too_long.json()["error"]
    in_pieces = client.post("/api/move", content=iter([b"{}"]), headers=as_json)  # of a length that nobody knows before
    assert in_pieces.status_code == 413
    for length in ("9" * 5_000, "-1", "²"):
        told = as_json | {"Content-Length": length.encode()}
        assert client.post("/api/move", content=b"{}", headers=told).status_code == 413


def test_the_server_itself_reads_no_endless_body(file: Path) -> None:
    """Through the server, as the limit rests on a length that it holds the body to."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        app = guard_app(make_app(Tuner(file, bench.opened(load_recipe(file)))), TOKEN, port)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as sent:
                head = f"POST /api/move HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: curate_tune_{port}={TOKEN}\r\n"
                kind = "Content-Type: application/json\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
                sent.sendall((head + kind).encode())
                assert sent.recv(100).startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 "))
        finally:
            server.should_exit = True
            thread.join()
