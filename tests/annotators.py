"""Annotators who vote over real HTTP, and a server of their own to vote on, for tests and benchmarks.

What they sent and what was acknowledged is compared with the database's rows, as Jepsen's total-queue checker does.
"""

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from annotation_ui.accounts.people import invite
from annotation_ui.clock import system_clock
from annotation_ui.database.engine import Database
from annotation_ui.database.tables import items, people, slots, votes
from annotation_ui.settings import database_url
from annotation_ui.tool import open_tool
from curation.recipe import load_recipe

ASKED = 3
"""Votes that an image is to get."""
SERVE = """
import sys
from annotation_ui.server import Address, serve
from curation.recipe import load_recipe
serve(load_recipe(sys.argv[1]), Address(port=int(sys.argv[2])))
"""


IDLE = 3.0
"""Seconds after which somebody who is given nothing has done enough."""


class Server:
    """A server in a process of its own, which may be killed and started again on the same port."""

    def __init__(self, recipe_file: Path, **environment: str) -> None:
        self.recipe_file, self.environment = recipe_file, environment
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[str] | None = None
        self.start_seconds = 0.0
        self.lead_link = ""

    def start(self) -> "Server":
        """Starts the server, and returns once it announces its address."""
        began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(self.recipe_file), str(self.port)],
            stdout=subprocess.PIPE, text=True, env=os.environ | self.environment,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://" in line, line
        self.lead_link = line.rsplit(" ", 1)[-1].strip()
        self.start_seconds = time.monotonic() - began
        return self

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """Kills the server without warning."""
        os.kill(self.pid, signal.SIGKILL)
        self._ended()

    def stop(self) -> None:
        """Ends the server as Ctrl-C does."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self._ended()

    def _ended(self) -> None:
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=15)
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()

    def cpu_seconds(self) -> float:
        """User and system time of the process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss(self) -> int:
        """Resident bytes of the process and of the processes that it has started."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (self.pid, *children))
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def serving(recipe_file: Path, **environment: str) -> Iterator[Server]:
    """Starts a server for the block."""
    server = Server(recipe_file, **environment)
    try:
        yield server.start()
    finally:
        server.stop()


@dataclass
class Sent:
    """A vote that was sent, perhaps several times."""

    item: int
    level: int
    acknowledged: int | None = None
    """The revision that was acknowledged; None if no answer has come."""
    refused: str = ""


class Client:
    """A signed-in browser, as far as the API is concerned; a broken connection is made anew."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None
        self.headers = {"Content-Type": "application/json"}
        signed = self.send("POST", "/api/sign-in", {"token": token})[1]
        self.headers["X-CSRF-Token"] = signed["csrf"]
        self.project = signed["projects"][0]["id"]

    def send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Sends a request; raises OSError or http.client.HTTPException if no answer comes."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            data = None if body is None else json.dumps(body)
            self._connection.request(method, path, data, self.headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            raise
        if cookie := response.getheader("Set-Cookie"):
            self.headers["Cookie"] = cookie.split(";")[0]
        return response.status, json.loads(content) if content[:1] in (b"{", b"[") else content


@dataclass
class Annotator:
    """Claims and votes until nothing is left; a vote without an answer is sent again with the same key."""

    port: int
    token: str
    seed: int
    wanted: int = 4
    patience: float = 60
    sent: dict[str, Sent] = field(default_factory=dict)
    cycles: list[float] = field(default_factory=list)
    retried: int = 0
    repeat: float = 0.0
    """Share of the votes that are sent once more although they were acknowledged."""

    def run(self, stop: threading.Event) -> None:
        """Votes until nothing is left for this person."""
        chance = random.Random(self.seed)
        client = self._persistently(lambda: Client(self.port, self.token))
        base = f"/api/projects/{client.project}"
        idle = 0.0
        while not stop.is_set() and idle < IDLE:  # what is left then is held by others, who finish it
            began = time.perf_counter()
            status, claimed = self._persistently(lambda: client.send("POST", f"{base}/claim", {"wanted": self.wanted}))
            assert status == 200, claimed
            if not claimed["items"]:
                if claimed["state"] == "nothing" and not claimed["left"]:
                    return
                time.sleep(0.05)
                idle += 0.05
                continue
            idle = 0.0
            self._vote(client, base, claimed["items"][0], chance)
            self.cycles.append(time.perf_counter() - began)

    def _vote(self, client: Client, base: str, item: dict[str, Any], chance: random.Random) -> None:
        key, level = uuid.UUID(int=chance.getrandbits(128)).hex, chance.randint(1, 5)
        sent = self.sent[key] = Sent(item["id"], level)
        body = {"item": item["id"], "lease": item["lease"], "request": key, "revision": item["revision"]}
        body |= {"level": level, "shown_ms": 900, "decided_ms": 900, "hidden_ms": 0, "device": "keyboard"}
        for _ in range(2 if chance.random() < self.repeat else 1):
            status, answer = self._persistently(lambda: client.send("POST", f"{base}/votes", body))
            if status == 200:
                assert sent.acknowledged in (None, answer["revision"]), "the same key got another answer"
                sent.acknowledged = answer["revision"]
            else:
                sent.refused = answer["error"]["code"]

    def _persistently(self, request: Any) -> Any:
        """Sends a request until an answer comes, as the page's outbox does."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return request()
            except (OSError, http.client.HTTPException):
                self.retried += 1
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


@dataclass
class Tally:
    """What was sent, beside what the database holds."""

    attempted: int
    acknowledged: int
    lost: int
    """Acknowledged, but not stored as they were sent."""
    unexpected: int
    """Stored, but never sent."""
    duplicated: int
    """Stored more than once, or more than the votes that were asked."""
    recovered: int
    """Stored, though no answer reached the annotator."""
    complete: int
    """Images with exactly the votes that are asked."""

    @property
    def right(self) -> bool:
        """Whether nothing is lost, unexpected or doubled."""
        return not (self.lost or self.unexpected or self.duplicated)


def tally(database: Database, annotators: list[Annotator], asked: int = ASKED) -> Tally:
    """Compares what the annotators sent with the database.

    Args:
        database: the database.
        annotators: everybody who voted.
        asked: votes that each image was to get, whatever the database says now.
    """
    sent = {key: vote for annotator in annotators for key, vote in annotator.sent.items()}
    with database.reading() as connection:
        stored = {row.request: row for row in connection.execute(select(votes).where(votes.c.request.is_not(None)))}
        standing = connection.execute(select(slots.c.item_id, slots.c.person_id).where(slots.c.state == "voted")).all()
        images = connection.execute(select(items.c.id).where(items.c.kind == "image")).scalars().all()
    per_item = Counter(row.item_id for row in standing)
    per_person = Counter((row.item_id, row.person_id) for row in stored.values() if row.revision == 1)
    acknowledged = {key: vote for key, vote in sent.items() if vote.acknowledged is not None}
    lost = sum(
        key not in stored or (stored[key].item_id, stored[key].level) != (vote.item, vote.level)
        for key, vote in acknowledged.items()
    )
    return Tally(
        attempted=len(sent),
        acknowledged=len(acknowledged),
        lost=lost,
        unexpected=len(stored.keys() - sent.keys()),
        duplicated=sum(n > 1 for n in per_person.values()) + sum(per_item[item] > asked for item in images),
        recovered=len((stored.keys() & sent.keys()) - acknowledged.keys()),
        complete=sum(per_item[item] == asked for item in images),
    )


def invited(recipe_file: Path, count: int) -> list[str]:
    """Invites annotators; returns the tokens of their links."""
    with contextlib.closing(open_tool(load_recipe(recipe_file))) as tool:
        return [
            tool.database.write(lambda c, n=n: invite(c, system_clock, f"annotator {n}")[1])
            for n in range(1, count + 1)
        ]


def add_items(recipe_file: Path, count: int, asked: int = ASKED) -> None:
    """Adds items without pictures to the first project, for what looks at none."""
    chance = random.Random(count)
    with contextlib.closing(open_tool(load_recipe(recipe_file))) as tool:
        project = next(iter(tool.tasks))
        for start in range(0, count, 5000):
            rows = [
                {"project_id": project, "key": f"made/{n // 1000:05}/{n:09}", "asked": asked,
                 "shuffle": chance.randrange(2**31), "place": {"sha256": f"{n:064}", "width": 640, "height": 480}}
                for n in range(start, min(count, start + 5000))
            ]  # fmt: skip
            tool.database.write(lambda c, rows=rows: c.execute(insert(items), rows))


def all_vote(annotators: list[Annotator], stop: threading.Event | None = None) -> float:
    """Lets all annotators vote at once; returns the seconds that it took."""
    stop = stop or threading.Event()
    threads = [threading.Thread(target=annotator.run, args=(stop,)) for annotator in annotators]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def database_of(recipe_file: Path) -> Database:
    """Opens the database of a recipe beside its server."""
    return Database(database_url(load_recipe(recipe_file)))


def people_of(database: Database) -> dict[str, int]:
    """Returns the ids of people by name."""
    return dict(database.read(lambda c: [(row.name, row.id) for row in c.execute(select(people))]))
