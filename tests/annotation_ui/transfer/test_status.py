"""The counts by which a lead sees how far the votes have come."""

from pathlib import Path

import pytest

from annotation_ui.database.opening import open_database, shown_address
from annotation_ui.transfer.status import status_of
from curation.errors import UserError
from curation.recipe import Recipe
from tests import voted


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    return voted.workspace(tmp_path)


def test_counts_of_items_votes_people_and_of_what_waits(made: Recipe) -> None:
    def level(key: str, name: str) -> int:
        if key == "c/00000/0":
            return {"Ann": 2, "Bea": 3, "Cyd": 4}[name]
        return 1 if key == "c/00000/1" and name == "Bea" else 5

    with voted.opened(made) as tool:
        voted.vote_all(tool, ["Ann", "Bea", "Cyd"], level)
        voted.settle_all(tool)
        voted.person(tool, "Dot")
        status = status_of(tool.database, shown_address(made))
    (project,) = status.projects
    assert project.statuses == {"decided": 4, "safety_review": 1, "tie": 1} and project.items == 6
    assert (project.ties, project.safety_reviews, project.people) == (1, 1, 3)
    assert (project.votes_cast, project.votes_asked, project.gold) == (18, 18, 0)
    assert status.people == {"annotator": 4} and status.database.endswith("annotation/votes.sqlite")
    assert status.lines()[1:] == [
        "people: 4 annotators",
        "levels: 6 items: 4 decided, 1 safety review, 1 tie; 18 of 18 votes by 3 people",
    ]


def test_the_address_shows_no_password(made: Recipe) -> None:
    for url in ("postgresql://u:s3cret@host/team", "postgresql://u@host/team?password=s3cret"):
        annotation = made.annotation.model_copy(update={"database": url})
        shown = shown_address(made.model_copy(update={"annotation": annotation}))
        assert "s3cret" not in shown and "host/team" in shown


def test_where_nobody_votes_yet_nothing_is_made(made: Recipe) -> None:
    with pytest.raises(UserError, match="nobody votes here yet; begin with `curate annotate serve RECIPE`"):
        open_database(made, create=False)
    assert not (Path(made.workspace) / "annotation").exists()
