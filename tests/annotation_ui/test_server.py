"""Servers in processes of their own: starting, dying under load, several on one database, a full disk."""

import contextlib
import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from annotation_ui.server import Address, serve
from annotation_ui.worker import PictureWorker, Unavailable, changes_in
from curation.errors import UserError
from curation.recipe import load_recipe
from tests import bench
from tests.annotation_ui.team import make_team, make_workspace
from tests.annotators import Annotator, Client, Server, add_items, all_vote, database_of, invited, serving, tally
from tests.databases import Cluster

RECIPE = "workspace: ./work\ncorpora: [{name: made, path: ./raw}]\n"


@pytest.fixture(params=["sqlite", "postgresql"])
def recipe_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A recipe whose queue is empty yet."""
    (tmp_path / "raw").mkdir()
    own = ""
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("cluster")
        own = f'annotation: {{database: "{cluster.url(cluster.make())}"}}\n'
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE + own)
    return file


def annotators(recipe_file: Path, ports: list[int], count: int, **options: float) -> list[Annotator]:
    tokens = invited(recipe_file, count)
    return [Annotator(ports[n % len(ports)], token, n, **options) for n, token in enumerate(tokens)]  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.faults
def test_a_server_that_is_killed_under_load_loses_nothing_and_doubles_nothing(recipe_file: Path) -> None:
    add_items(recipe_file, 80)
    server = Server(recipe_file).start()
    team = annotators(recipe_file, [server.port], 6, repeat=0.2)
    voting = threading.Thread(target=all_vote, args=(team,))
    voting.start()
    for _ in range(3):
        voting.join(0.4)
        server.kill()
        server.start()
    voting.join(120)
    server.stop()
    found = tally(database_of(recipe_file), team)
    assert found.right and found.complete == 80 and found.attempted == found.acknowledged == 240, found
    assert sum(annotator.retried for annotator in team) > 0


@pytest.mark.slow
@pytest.mark.faults
def test_several_servers_share_one_queue(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    recipe_file = tmp_path / "recipe.yaml"
    recipe_file.write_text(RECIPE + f'annotation: {{database: "{cluster.url(cluster.make())}"}}\n')
    add_items(recipe_file, 60)
    with serving(recipe_file) as first, serving(recipe_file) as second:
        team = annotators(recipe_file, [first.port, second.port], 8)
        all_vote(team)
    found = tally(database_of(recipe_file), team)
    assert found.right and found.complete == 60 and found.acknowledged == 180, found


@pytest.mark.slow
def test_a_server_opens_on_the_selection_and_leaves_no_process_behind(tmp_path: Path) -> None:
    recipe = make_workspace(tmp_path, 3)
    with serving(tmp_path / "recipe.yaml") as server:
        client = Client(server.port, server.lead_link.rsplit("=", 1)[1])
        _, claimed = client.send("POST", f"/api/projects/{client.project}/claim", {"wanted": 3})
        assert len(claimed["items"]) == 3
        noted = (tmp_path / "work" / "annotation" / "address").read_text()
        assert noted == f"http://127.0.0.1:{server.port}\n"  # for the links of `curate annotate invite`
        status, jpeg = client.send("GET", claimed["items"][0]["pictures"][0]["preview"])
        assert status == 200 and jpeg[:2] == b"\xff\xd8"
        kept = list((tmp_path / "work" / "annotation" / "previews").rglob("*.jpg"))
        assert [path.read_bytes() for path in kept] == [jpeg]
        children = psutil.Process(server.pid).children(recursive=True)
        assert children
        server.kill()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive
    assert recipe.workspace == str(tmp_path / "work")


def exchanged(port: int, *parts: bytes) -> bytes:
    """Sends bytes, and returns what is answered until the connection is closed or quiet."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(1)
        with contextlib.suppress(OSError):
            for part in parts:
                connection.sendall(part)
        with contextlib.suppress(OSError):
            while part := connection.recv(65_536):
                answer += part
    return answer


@pytest.mark.slow
def test_a_head_without_end_is_not_collected_and_long_bodies_are_read(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    with serving(tmp_path / "recipe.yaml") as server:
        memory = psutil.Process(server.pid).memory_info().rss
        assert b" 400 " in exchanged(server.port, b"GET / HTTP/1.1\r\nX: ", *[b"a" * 1_000_000] * 50)
        assert psutil.Process(server.pid).memory_info().rss < memory + 20_000_000
        assert b" 400 " in exchanged(server.port, b"GET / HTTP/1.1\r\n", *[b"X: a\r\n" * 10_000] * 5)
        host = f"Host: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n".encode()
        body = b'{"page": "' + b"a" * 1_900_000 + b'"}'
        long = b"POST /tune/nothing HTTP/1.1\r\n" + host + b"Origin: http://127.0.0.1:%d\r\n" % server.port
        long += b"Content-Length: %d\r\n\r\n" % len(body) + body
        short = b"GET /api/me HTTP/1.1\r\n" + host + b"\r\n"
        answer = exchanged(server.port, long + short)
        assert b" 404 Not Found" in answer and b" 401 Unauthorized" in answer and b" 400 " not in answer


@pytest.mark.slow
def test_a_full_disk_refuses_votes_loudly_and_goes_on_afterwards(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    recipe_file = tmp_path / "recipe.yaml"
    recipe_file.write_text(RECIPE)
    add_items(recipe_file, 200)
    with serving(recipe_file) as server:
        client = Client(server.port, server.lead_link.rsplit("=", 1)[1])
        base = f"/api/projects/{client.project}"
        _, claimed = client.send("POST", f"{base}/claim", {"wanted": 2})
        votes = [
            {"item": item["id"], "lease": item["lease"], "request": f"request{number}", "level": 4}
            for number, item in enumerate(claimed["items"])
        ]
        assert client.send("POST", f"{base}/votes", votes[0])[0] == 200
        process = psutil.Process(server.pid)
        process.rlimit(psutil.RLIMIT_FSIZE, (1, psutil.RLIM_INFINITY))  # no file takes a second byte
        status, refused = client.send("POST", f"{base}/votes", votes[1])
        assert (status, refused["error"]["code"]) == (507, "storage")
        assert client.send("POST", f"{base}/claim", {"wanted": 5})[0] == 507
        process.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
        assert client.send("POST", f"{base}/votes", votes[1])[0] == 200
    database = database_of(recipe_file)
    with database.reading() as connection:
        stored = [row[0] for row in connection.execute(text("select request from votes order by 1"))]
        assert connection.execute(text("pragma integrity_check")).scalar_one() == "ok"
    assert stored == ["request0", "request1"]


def test_where_a_server_cannot_listen_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"^--port {port}: cannot be used: Address already in use; give another$"):
            serve(recipe, Address(port=port))
    for host in ("nowhere.invalid", "203.0.113.1"):
        with pytest.raises(UserError, match=f"^--host {host}: is no address of this machine"):
            serve(recipe, Address(host, port=0, url="https://a.example.org"))
    with pytest.raises(UserError, match="^--host 0.0.0.0: say by --url how people reach it"):
        serve(recipe, Address(host="0.0.0.0", port=0))
    for url in ("annotate.example.org", "ftp://a", "https://a/b", "https://a?b", "https://u:p@a", "http://a:99999"):
        with pytest.raises(UserError, match="^--url .*: expected an address such as https://"):
            serve(recipe, Address(port=0, url=url))
    for url in ("mysql://a/b", "no address", "postgresql+nothing://a"):
        odd = recipe.model_copy(update={"annotation": recipe.annotation.model_copy(update={"database": url})})
        with pytest.raises(UserError, match="^annotation.database"):
            serve(odd, Address(port=0))
    assert not list(tmp_path.rglob("*.sqlite"))


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[PictureWorker]:
    worker = PictureWorker(make_workspace(tmp_path, 2))
    yield worker
    worker.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Annotate.Example.org", "annotate.example.org"),
        ("https://a.example.org:443/", "a.example.org"),
        ("http://a.example.org", "a.example.org:80"),
        ("http://标注.example.org:8080", "xn--iwvo2i.example.org:8080"),
    ],
)
def test_a_public_address_is_known_as_browsers_name_it(tmp_path: Path, url: str, host: str) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    apps: list[Any] = []
    recipe = load_recipe(tmp_path / "recipe.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uvicorn.Server.run", lambda server, sockets: apps.append(server.config.app))
        serve(recipe, Address(port=0, url=url), announce=lambda line: None)
    scheme = url.split(":")[0]
    for name, status in ((host, 401), (host.upper(), 401), ("127.0.0.1", 421)):
        headers = {"Host": name, "Origin": f"{scheme}://{name}"}
        assert TestClient(apps[0]).get("/api/me", headers=headers).status_code == status


@pytest.mark.slow
def test_a_worker_that_was_killed_while_it_had_nothing_to_do_is_replaced(worker: PictureWorker, tmp_path: Path) -> None:
    data = bench.encoded(bench.picture(1, (32, 32)))
    (tmp_path / "one.jpg").write_bytes(data)
    place = {"file": str(tmp_path / "one.jpg"), "sha256": hashlib.sha256(data).hexdigest()}
    assert worker.jpeg(place, "full")[:2] == b"\xff\xd8"
    _kill_children(0.3)
    time.sleep(0.3)  # the pool notices
    assert worker.jpeg(place, "full")[:2] == b"\xff\xd8"


def test_an_error_that_nobody_foresaw_does_not_end_what_keeps_the_queue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_team(make_workspace(tmp_path, 1), f"sqlite:///{tmp_path / 'votes.db'}")
    stopped = threading.Event()
    with made.tool.database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE items RENAME TO gone"))
    keeping = threading.Thread(target=made.tool.keep_up, args=(stopped,))
    keeping.start()
    assert made.tool.filled.wait(10)
    assert keeping.is_alive()
    stopped.set()
    keeping.join(10)
    made.tool.close()
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "no such table: items" in told


@pytest.mark.slow
def test_a_decoder_that_crashes_costs_one_picture(worker: PictureWorker, tmp_path: Path) -> None:
    from curation.workspace import Workspace
    from curation.workspace.files import read_table

    rows = read_table(Workspace(tmp_path / "work").samples("c", "00000")).to_pylist()
    places = [
        {"corpus": "c", "shard": "00000", **{k: row[k] for k in ("member", "offset", "length", "sha256")}}
        for row in rows
    ]
    assert worker.jpeg(places[0], "preview")[:2] == b"\xff\xd8"
    killing = threading.Thread(target=_kill_children, args=(3.0,))
    killing.start()
    fifo = tmp_path / "waits"
    os.mkfifo(fifo)
    with pytest.raises(Unavailable, match="its decoder crashed"):
        worker.jpeg({"file": str(fifo), "sha256": "0" * 64}, "preview")
    killing.join()
    assert worker.jpeg(places[1], "full")[:2] == b"\xff\xd8"


def _kill_children(seconds: float) -> None:
    """Kills every process that is started here in the next seconds, as a decoder's crash would."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for child in psutil.Process().children():
            if "spawn_main" in " ".join(child.cmdline()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        time.sleep(0.2)


def test_what_the_queue_is_filled_from_is_seen_to_change(tmp_path: Path) -> None:
    make_workspace(tmp_path, 2)
    root = tmp_path / "work"
    before = changes_in(root)
    assert changes_in(root) == before and len(before) >= 2
    (root / "votes.parquet").write_bytes(b"x")
    assert changes_in(root) != before
    assert changes_in(tmp_path / "nothing") == ()
