"""Tasks that ask scores, through the application: what the page is given, and what it must answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from annotation_ui.accounts.people import invite
from annotation_ui.app import make_app
from annotation_ui.transfer.export import export
from curation.annotation.rating import RATING_CRITERIA
from curation.workspace import Workspace
from tests import bench, voted


class Page:
    """A page that is signed in."""

    def __init__(self, client: TestClient, token: str) -> None:
        self.client = client
        self.csrf = client.post("/api/sign-in", json={"token": token}).json()["csrf"]

    def post(self, path: str, **body: Any) -> Any:
        return self.client.post(path, json=body, headers={"X-CSRF-Token": self.csrf})


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A page for the rating of three images of one prompt."""
    lines = [f"a cat,{n}.png,model-{n}\n" for n in range(3)]
    (tmp_path / "list.csv").write_text("prompt,image,model\n" + "".join(lines))
    for n in range(3):
        (tmp_path / f"{n}.png").write_bytes(bench.encoded(bench.picture(n, (64, 48)), "PNG"))
    made = voted.workspace(tmp_path, annotation={"ratings": "list.csv"})
    with voted.opened(made) as tool:
        _, token = tool.database.write(lambda c: invite(c, tool.clock, "Ann"))
        with TestClient(make_app(tool), base_url="http://127.0.0.1") as client:
            found = Page(client, token)
            found.tool = tool  # type: ignore[attr-defined]
            yield found


def test_all_parts_of_an_item_are_scored_once(page: Page) -> None:
    tool = page.tool  # type: ignore[attr-defined]
    project = next(p for p in page.client.get("/api/me").json()["projects"] if p["task"] == "rating")
    asked = project["declaration"]["criteria"]
    assert [(c["name"], c["needs_prompt"]) for c in asked] == [
        ("visual_appeal", False), ("text_faithfulness", True), ("overall_satisfaction", True)]  # fmt: skip
    assert all(criterion["ends"][end][language] for criterion in asked for end in "15" for language in ("en", "zh"))
    base = f"/api/projects/{project['id']}"
    (item,) = page.post(f"{base}/claim", wanted=2).json()["items"]
    assert "model" not in str(item) and item["prompt"] == "a cat" and len(item["pictures"]) == len(item["parts"]) == 3
    for picture in item["pictures"]:
        assert page.client.get(picture["preview"]).content[:2] == b"\xff\xd8"
    scores = dict.fromkeys(RATING_CRITERIA, 4)
    whole = {part["id"]: scores for part in item["parts"]}
    first, *others = item["parts"]
    wrong: list[dict[str, Any]] = [
        {part["id"]: scores for part in others},
        whole | {"another": scores},
        whole | {first["id"]: {"visual_appeal": 4}},
        whole | {first["id"]: scores | {"visual_appeal": 6}},
        whole | {first["id"]: scores | {"taste": 3}},
        {},
    ]
    ballot = {"item": item["id"], "lease": item["lease"], "revision": 0}
    for number, answer in enumerate(wrong):
        said = page.post(f"{base}/votes", **ballot, request=f"request-{number}", answer=answer)
        assert said.status_code == 422, answer
    assert page.post(f"{base}/votes", **ballot, request="request-x", level=3).status_code == 422
    assert page.post(f"{base}/votes", **ballot, request="request-y", answer=whole).json()["revision"] == 1
    export(tool.database, tool.clock, tool.recipe)
    rows = bench.rows(Workspace(tool.recipe.workspace).ratings)
    assert {(row["model"], row["visual_appeal"], row["annotator"]) for row in rows} == {
        (f"model-{n}", 4, "Ann") for n in range(3)
    }
