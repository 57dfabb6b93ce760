"""What `explain` tells of votes and decisions, and the report counts of them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curation.annotation.levels import decide_levels
from curation.recipe import Recipe
from curation.selection.stage import Selection
from curation.views.explain import explain
from curation.views.report.fates import Fates
from curation.views.report.pictures import Gallery
from curation.views.report.voting import voting
from curation.workspace import Workspace
from curation.workspace.files import write_table
from curation.workspace.schemas import DECISIONS, VOTES
from tests import bench


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    """Three images: a tie that was adjudicated, a withdrawn vote, and one that a safety review found unsafe."""
    bench.write_tar(tmp_path / "raw" / "00000.tar", {f"{n}.jpg": bench.encoded(bench.picture(n)) for n in range(3)})
    recipe = bench.recipe(tmp_path)
    bench.index(recipe)
    workspace = Workspace(recipe.workspace)
    votes = [vote(0, "ann", 3, decided_ms=3210, shown_ms=3000, device="phone"), vote(0, "bo", 4), vote(0, "cy", 5)]
    votes += [vote(1, "bo", None, revision=2), vote(1, "ann", 4), vote(1, "bo", 2), vote(2, "ann", 1)]
    write_table(workspace.votes, pa.Table.from_pylist(votes, schema=VOTES))
    decisions = [decision(0, 4, "adjudication", note="sharp, but dull"), decision(2, 1, "safety_review")]
    write_table(workspace.decisions, pa.Table.from_pylist(decisions, schema=DECISIONS))
    decide_levels(workspace, recipe.annotation.votes)
    return recipe


def vote(image: int, annotator: str, level: int | None, revision: int = 1, **values: Any) -> dict[str, Any]:
    own = {"key": f"c/00000/{image}", "annotator": annotator, "level": level, "revision": revision, "round": 1}
    return own | values


def decision(image: int, level: int, kind: str, **values: Any) -> dict[str, Any]:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return {"key": f"c/00000/{image}", "level": level, "kind": kind, "annotator": "dee", "at": at} | values


def test_votes_and_the_decision_above_them_are_told(made: Recipe) -> None:
    assert explain(bench.opened(made), "c/00000/0")["votes"] == {
        "level": 4, "status": "decided", "decided_by": "adjudication", "votes": 3, "agreement": 0.0,
        "ann, round 1": "Level 3, after 3.2 s, image visible for 3.0 s, on phone",
        "bo, round 1": "Level 4", "cy, round 1": "Level 5",
        "decision 1, adjudication": "Level 4, by dee: sharp, but dull",
    }  # fmt: skip


def test_a_withdrawn_vote_is_told_as_withdrawn(made: Recipe) -> None:
    told = explain(bench.opened(made), "c/00000/1")["votes"]
    assert told == {"status": "incomplete", "votes": 1, "ann, round 1": "Level 4", "bo, round 1": "withdrawn"}


def test_an_image_whose_only_vote_is_withdrawn_still_has_its_story(made: Recipe) -> None:
    workspace = Workspace(made.workspace)
    write_table(workspace.votes, pa.Table.from_pylist([vote(1, "ann", None)], schema=VOTES))
    decide_levels(workspace, 3)
    assert explain(bench.opened(made), "c/00000/1")["votes"] == {"ann, round 1": "withdrawn"}


def test_the_report_counts_decided_levels_and_shows_nothing_unsafe(made: Recipe) -> None:
    bench.score(made)
    Selection(bench.opened(made)).write()
    selection = Selection(bench.opened(made))
    fates = Fates(selection)
    found = voting(fates, Gallery(bench.opened(made), selection.shards, selection.files, fates.place))
    assert found is not None and (found.images, found.votes) == (3, 5)
    assert found.outcomes == [("Level 4", 1), ("Level 1", 1), ("incomplete", 1)]
    assert found.agreement == 0 and found.annotators == [("ann", 3), ("bo", 3), ("cy", 1)]
    assert [sheet.title for sheet in found.sheets] == ["Level 4"]
