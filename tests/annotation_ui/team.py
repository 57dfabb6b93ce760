"""A small workspace of drawn pictures, and people who are signed in to its annotation, for tests of the server."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
from starlette.testclient import TestClient

from annotation_ui.accounts.people import invite
from annotation_ui.app import make_app
from annotation_ui.database.engine import Database
from annotation_ui.database.migrate import migrate
from annotation_ui.tool import Tool
from curation.recipe import Recipe
from curation.selection.stage import Selection
from curation.workspace import Workspace
from curation.workspace.files import read_table, write_table
from tests import bench

MINUTE = 60_000
HOST = "127.0.0.1:8000"


@dataclass
class Clock:
    """A time that only moves when it is told to, in milliseconds since 1970."""

    now: int = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


class Member:
    """Somebody who is signed in; answers are JSON, and a status other than 200 is returned beside it."""

    def __init__(self, app: Any, token: str, address: str = "testclient") -> None:
        self.client = TestClient(app, base_url=f"http://{HOST}", raise_server_exceptions=True, client=(address, 50000))
        signed = self.client.post("/api/sign-in", json={"token": token})
        assert signed.status_code == 200, signed.text
        self.me = signed.json()
        self.client.headers["X-CSRF-Token"] = self.me["csrf"]
        self.project = self.me["projects"][0]["id"]

    def get(self, path: str, status: int = 200) -> Any:
        """Asks below the first project, or for an absolute path; returns the answer's JSON."""
        return self._checked(self.client.get(self._address(path)), status)

    def post(self, path: str, status: int = 200, /, **body: Any) -> Any:
        """Sends JSON below the first project, or to an absolute path; returns the answer's JSON."""
        return self._checked(self.client.post(self._address(path), json=body), status)

    def put(self, path: str, status: int = 200, /, **body: Any) -> Any:
        """As `post`, by PUT."""
        return self._checked(self.client.put(self._address(path), json=body), status)

    def claim(self, wanted: int = 1) -> list[dict[str, Any]]:
        """Returns the items that this person holds after a claim."""
        items: list[dict[str, Any]] = self.post("claim", wanted=wanted)["items"]
        return items

    def vote(self, item: dict[str, Any], level: int, status: int = 200, **more: Any) -> Any:
        """Votes on an item."""
        body = {"item": item["id"], "lease": item["lease"], "request": uuid.uuid4().hex, "revision": item["revision"]}
        return self.post("votes", status, **body | {"level": level} | more)

    def _address(self, path: str) -> str:
        return path if path.startswith("/") else f"/api/projects/{self.project}/{path}"

    @staticmethod
    def _checked(answer: Any, status: int) -> Any:
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json()


@dataclass
class Team:
    """A server's application and the people on it."""

    tool: Tool
    app: Any
    clock: Clock

    def member(self, name: str, role: str = "annotator") -> Member:
        """Invites somebody and lets them sign in."""
        token = self.tool.database.write(lambda c: invite(c, self.clock, name, role))[1]
        return Member(self.app, token)


def make_workspace(folder: Path, images: int = 4, unsafe: Sequence[float] = (), **sections: Any) -> Recipe:
    """Makes a workspace whose images are indexed and selected; `unsafe` are scores of the first of them."""
    members = {f"{n:03}.jpg": bench.encoded(bench.picture(n, (160, 120))) for n in range(images)}
    bench.write_tar(folder / "raw" / "00000.tar", members)
    recipe = bench.recipe(folder, select={"where": {"size": "min_side >= 64"}}, **sections)
    select_again(recipe)
    if unsafe:
        workspace = Workspace(recipe.workspace)
        keys = read_table(workspace.samples("c", "00000"), columns=["key"])["key"]
        scores = pa.array([*unsafe, *[0.0] * (images - len(unsafe))], pa.float32())
        write_table(workspace.signal("safety", "c", "00000"), pa.table({"key": keys, "unsafe": scores}))
    return recipe


def select_again(recipe: Recipe) -> None:
    """Indexes and selects as the recipe has it now."""
    bench.index(recipe)
    bench.score(recipe)
    Selection(bench.opened(recipe)).write()


def make_team(recipe: Recipe, database_url: str, seed: int = 0) -> Team:
    """Opens the annotation of a recipe in a database, with a clock of its own, and takes in what there is."""
    clock, database = Clock(), Database(database_url)
    migrate(database)
    tool = Tool(recipe, database, clock, Random(seed))
    tool.take_in()
    return Team(tool, make_app(tool, frozenset({HOST})), clock)
